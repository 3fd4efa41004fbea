"""The GPU's arithmetic and its kernels, compiled for the host, agree with the scalar reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import BUILDS, build_library, find_cmake, locked, run


def built(target: str) -> Path:
    """A program of the library's build that is not built by default."""
    build_library("library", "-DGFPQ_CUDA=OFF")
    folder = BUILDS / "library"
    with locked(folder):
        run(find_cmake(), "--build", folder / "build", "--target", target)
    return folder / "build" / "library" / target


@pytest.mark.parametrize("against", ["reference", "kernel"])
def test_sample_of_all_patterns(against: str) -> None:
    options = ["--reference"] if against == "reference" else []
    done = run(built("gfpq_device_twin"), *options, "--threads", "2")
    assert done.stdout.splitlines() == ["0 differences"]


def test_kernels_with_a_thread_for_each_thread() -> None:
    """Tiles, unaligned ends, reductions and sums, the kernels' threads being threads of the host."""
    assert run(built("gfpq_kernels_on_host")).stdout.splitlines() == ["0 differences"]
