"""What `gfpq_inspect.tune` offers by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gfpq_inspect import tune


def test_every_name_leads_to_what_it_says() -> None:
    for name in tune.__all__:
        assert getattr(tune, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        _ = tune.nothing


def test_nothing_heavy_is_imported_with_the_room() -> None:
    code = "import sys, gfpq_inspect.tune; print(sorted({'onnx', 'onnxruntime', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
