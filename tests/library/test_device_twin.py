"""The GPU's arithmetic, compiled for the host, agrees with the scalar reference."""

from __future__ import annotations

import pytest

from .conftest import BUILDS, build_library, find_cmake, locked, run


@pytest.mark.parametrize("against", ["reference", "kernel"])
def test_sample_of_all_patterns(against: str) -> None:
    build_library("library", "-DGFPQ_CUDA=OFF")
    folder = BUILDS / "library"
    with locked(folder):
        run(find_cmake(), "--build", folder / "build", "--target", "gfpq_device_twin")
    options = ["--reference"] if against == "reference" else []
    done = run(folder / "build" / "library" / "gfpq_device_twin", *options, "--threads", "2")
    assert done.stdout.splitlines() == ["0 differences"]
