"""The GPU path without a GPU: what is said when something is missing, and the numbers that the host prepares.

native/cuda/check_gpu.py tests the rest on a machine with a GPU.
"""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest

from gfpq_inspect import _native
from gfpq_inspect.errors import MissingExtraError, QuantizationError
from gfpq_inspect.quantize import GfpqParam, coefficient, cuda, cuda_kernels, dequantize, quantize, quantize_dequantize
from gfpq_inspect.quantize.formats import gfpq_of

from . import foreign


@pytest.fixture(autouse=True)
def forget_cupy() -> Iterator[None]:
    """CuPy is looked for anew in each test."""
    cuda_kernels.cupy.cache_clear()
    yield
    cuda_kernels.cupy.cache_clear()


def without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


def with_cupy(monkeypatch: pytest.MonkeyPatch, devices: int | Exception) -> None:
    """A CuPy that finds this many GPUs, or fails to look for them."""

    def count() -> int:
        if isinstance(devices, Exception):
            raise devices
        return devices

    module = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=count)))
    monkeypatch.setitem(sys.modules, "cupy", module)


def on_gpu(values: list[float]) -> foreign.Tensor:
    return foreign.Tensor(np.array(values, np.float32), location=2)


def test_importing_needs_neither_cupy_nor_a_gpu() -> None:
    program = "import sys; sys.modules['cupy'] = None; import gfpq_inspect.quantize.cuda as c; print(c.is_available())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("function", [quantize_dequantize, quantize, coefficient, cuda.quantize_dequantize])
def test_without_cupy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, function: object) -> None:
    without_cupy(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"pip install 'gfpq-inspect\[cuda\]'") as caught:
        function(on_gpu([1, 2]))  # type: ignore[operator]  # one of four functions
    assert caught.value.extra == "cuda"


def test_decoding_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cupy(monkeypatch)
    codes = foreign.Tensor(np.zeros(3, np.uint8), location=2)
    with pytest.raises(MissingExtraError):
        dequantize(codes, GfpqParam(0))  # type: ignore[arg-type]  # a tensor of another library


def test_without_a_gpu_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cupy(monkeypatch, 0)
    assert not cuda.is_available()
    with pytest.raises(QuantizationError, match="has no CUDA GPU; quantize on the CPU"):
        quantize_dequantize(on_gpu([1, 2]))


def test_without_a_driver_the_error_says_what_cuda_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cupy(monkeypatch, RuntimeError("CUDA driver version is insufficient"))
    with pytest.raises(QuantizationError, match=r"no CUDA GPU can be used \(CUDA driver version is insufficient\)"):
        cuda.coefficient(on_gpu([1, 2]))


def test_arguments_are_checked_before_a_gpu_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cupy(monkeypatch)
    with pytest.raises(QuantizationError, match="mode"):
        cuda.quantize_dequantize(on_gpu([1]), mode=3)
    with pytest.raises(QuantizationError, match="UPDATE needs a param"):
        cuda.quantize_dequantize(on_gpu([1]), mode=1)
    with pytest.raises(QuantizationError, match="nonfinite"):
        cuda.quantize_dequantize(on_gpu([1]), nonfinite="ignore")
    with pytest.raises(QuantizationError, match="needs a param, where"):
        cuda.quantize_dequantize(on_gpu([1]), nonfinite="count")


@pytest.mark.parametrize(("bits", "delta"), [(8, -77), (8, 511), (8, -511), (16, -1407), (16, 4095), (16, -4095)])
def test_borders_are_those_of_the_reference(bits: int, delta: int) -> None:
    """The host's table and the reference agree on the first number of each code, to the last bit."""
    highest = gfpq_of(bits).highest_code
    borders, values = cuda_kernels.spell_out(bits, delta, delta + highest)
    for numbers, expected in ((borders[1:], values[1:]), (np.nextafter(borders[1:], 0), values[:-1])):
        result = np.empty_like(numbers)
        _native.apply_reference(np.ascontiguousarray(numbers), result, bits, delta)
        assert result.tolist() == expected.tolist()


def test_borders_outside_of_float64() -> None:
    borders, values = cuda_kernels.spell_out(8, 20000, 20003)
    assert borders.tolist() == values.tolist() == [np.inf] * 4
    borders, values = cuda_kernels.spell_out(8, -20003, -20000)
    assert borders.tolist() == [5e-324] * 4
    assert values.tolist() == [0.0] * 4


def test_source_is_one_text_without_includes() -> None:
    text = cuda_kernels.source(GFPQ_BLOCK=512)
    assert text.startswith("#define GFPQ_BLOCK 512\n")
    assert '#include "' not in text
    for name in ("gfpq_apply_float32_8", "gfpq_coefficient_float32_16", "gfpq_apply_table_float64_16"):
        assert name in text
    assert "#define GFPQ_LANE_NAMES y0, y1\n" in cuda_kernels.similarity_source(2, "float64")
