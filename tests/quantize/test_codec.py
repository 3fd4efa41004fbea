"""The functions that users call: results, types, strides, modes, and what is refused."""

from __future__ import annotations

import os
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gfpq_inspect import _native
from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import (
    Codes,
    GfpqParam,
    Mode,
    coefficient,
    dequantize,
    gfpq_of,
    kernels,
    quantize,
    quantize_dequantize,
)

from . import foreign

GUIDE_OUTPUT = [0, 1, 2, 2.9536524, 4, 4.967431, 5.907305, 7.0250087, 8, 8.724062]
GUIDE_BLOCK = bytes.fromhex("60628269b3ffffffc5c727cc3a38d833")


def test_the_sample_of_the_guide() -> None:
    param = GfpqParam()
    result = quantize_dequantize(np.arange(10, dtype=np.float32), bits=8, param=param)
    assert result.tolist() == np.array(GUIDE_OUTPUT, np.float32).tolist()
    assert param.delta == coefficient(np.arange(10.0)) == -77
    assert param.pack() == GUIDE_BLOCK


def test_modes_read_and_store_the_coefficient() -> None:
    param = GfpqParam()
    small, large = np.array([1.0, 2.0]), np.array([1.0, 64.0])
    quantize_dequantize(small, param=param)
    assert param.delta == -111
    quantize_dequantize(large, mode=Mode.UPDATE, param=param)
    assert param.delta == -31
    quantize_dequantize(small, mode=Mode.UPDATE, param=param)
    assert param.delta == -31
    assert quantize_dequantize(large * 4, mode=Mode.APPLY_ONLY, param=param).tolist() == [4.0, 64.0]
    quantize_dequantize(small, mode=Mode.INIT, param=param)
    assert param.delta == -111
    assert quantize_dequantize(small, mode=2, param=GfpqParam(5000)).tolist() == [0.0, 0.0]


def test_result_has_the_type_and_shape_of_the_input() -> None:
    for dtype in (np.float16, np.float32, np.float64, ">f4", ">f8"):
        array = np.linspace(-3, 3, 24).astype(dtype).reshape(2, 3, 4)
        result = quantize_dequantize(array)
        assert result.dtype == array.dtype
        assert result.shape == array.shape
        expected = quantize_dequantize(array.astype(np.float32))
        np.testing.assert_array_equal(result.astype(np.float32), expected.astype(dtype).astype(np.float32))
    assert quantize_dequantize(np.float32(9)) == pytest.approx(8.724062)
    assert quantize_dequantize(np.array(9.0)).shape == ()
    assert quantize_dequantize(np.empty((0, 3), np.float32)).shape == (0, 3)


def test_strides_make_no_difference_and_inputs_stay() -> None:
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((6, 8, 10)).astype(np.float32)
    before = whole.copy()
    for view in (whole.transpose(2, 0, 1), whole[::2, ::-1, 1:7:2], whole[:, 3], np.broadcast_to(whole[0], (4, 8, 10))):
        expected = quantize_dequantize(np.ascontiguousarray(view))
        np.testing.assert_array_equal(quantize_dequantize(view), expected)
        target = np.zeros((*view.shape[:-1], view.shape[-1] * 2), np.float32)[..., ::2]
        assert quantize_dequantize(view, out=target) is target
        np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(whole, before)


def test_out_may_be_the_input_or_overlap_it() -> None:
    rng = np.random.default_rng(1)
    array = rng.standard_normal(1000).astype(np.float32)
    expected = quantize_dequantize(array)
    address = array.ctypes.data
    assert quantize_dequantize(array, out=array) is array
    assert array.ctypes.data == address
    np.testing.assert_array_equal(array, expected)
    memory = rng.standard_normal(1001).astype(np.float32)
    expected = quantize_dequantize(memory[:-1].copy())
    quantize_dequantize(memory[:-1], out=memory[1:])
    np.testing.assert_array_equal(memory[1:], expected)


def test_out_of_another_type_is_rounded_to_it() -> None:
    array = np.linspace(0, 9, 50, dtype=np.float32)
    half = np.empty(50, np.float16)
    quantize_dequantize(array, out=half)
    np.testing.assert_array_equal(half, quantize_dequantize(array).astype(np.float16))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty(3, np.float32), "shape"),
        (np.empty(4, np.int32), "int32"),
        ([0.0] * 4, "list"),
        (np.broadcast_to(np.float32(0), 4), "read-only"),
    ],
)
def test_an_out_that_does_not_fit_is_refused_before_anything_changes(out: object, message: str) -> None:
    param = GfpqParam(3)
    with pytest.raises(QuantizationError, match=message):
        quantize_dequantize(np.ones(4, np.float32), param=param, out=out)  # type: ignore[arg-type]  # on purpose
    assert param == GfpqParam(3)


def test_codes_are_those_of_the_chip() -> None:
    codes, param = quantize(np.array([0.0, -0.0, 1.0, 8.724062, -8.724062, 2.0 ** (-77 / 16), -(2.0 ** (-76 / 16))]))
    assert codes.dtype == np.uint8
    top = 16 * 3 + 77
    assert codes.tolist() == [0x80, 0x80, 77, 127, 0x80 | 127, 0x00, 0x81] or codes.tolist()[3] == top + 2
    codes16, _ = quantize(np.array([0.0, 1.0, -1.0]), bits=16)
    assert codes16.dtype == np.uint16
    assert codes16.tolist() == [0x8000, 1407, 0x8000 | 1407]
    assert param.delta == -77


@settings(deadline=None, max_examples=60)
@given(
    array=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(max_dims=3, max_side=9),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    bits=st.sampled_from([8, 16]),
)
def test_codes_and_values_agree_and_round_trip(array: np.ndarray, bits: int) -> None:
    codes, param = quantize(array, bits)
    values = dequantize(codes, param, array.dtype.type)
    np.testing.assert_array_equal(values, quantize_dequantize(array, bits))
    again, _ = quantize(values, bits, Mode.APPLY_ONLY, param)
    np.testing.assert_array_equal(again, codes)


@pytest.mark.parametrize(("bits", "delta"), [(8, -77), (8, 511), (8, -511), (16, -1002), (16, 4095), (16, -4095)])
def test_every_code_round_trips(bits: int, delta: int) -> None:
    highest = gfpq_of(bits).highest_code
    sign = 0x80 if bits == 8 else 0x8000
    dtype = np.uint8 if bits == 8 else np.uint16
    codes = np.array([*range(highest + 1), *(sign | c for c in range(1, highest + 1)), sign], dtype)
    for value_type in (np.float32, np.float64):
        values = dequantize(codes, GfpqParam(delta), value_type)
        again, _ = quantize(values, bits, Mode.APPLY_ONLY, GfpqParam(delta))
        np.testing.assert_array_equal(again, codes)
        assert np.array_equal(quantize_dequantize(values, bits, 2, GfpqParam(delta)), values)


def test_codes_beyond_the_grid_still_follow_the_definition() -> None:
    """A coefficient far outside leaves the fast tables; code and value must still agree."""
    rng = np.random.default_rng(2)
    array = (rng.standard_normal(500) * 1e-37).astype(np.float32)
    for delta in (-2100, -2300, 2100, 100_000):
        codes, param = quantize(array, 8, Mode.APPLY_ONLY, GfpqParam(delta))
        np.testing.assert_array_equal(
            dequantize(codes, param), quantize_dequantize(array, 8, Mode.APPLY_ONLY, GfpqParam(delta))
        )


def test_patterns_that_are_no_code_are_refused() -> None:
    with pytest.raises(QuantizationError, match="2 of 3 patterns"):
        dequantize(np.array([1408, 5, 0xFFFF], np.uint16), GfpqParam(0))
    with pytest.raises(QuantizationError, match="int32"):
        dequantize(np.array([1], np.int32), GfpqParam(0))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(QuantizationError, match="no coefficient"):
        dequantize(np.array([1], np.uint8), GfpqParam())
    with pytest.raises(QuantizationError, match="float16"):
        dequantize(np.array([1], np.uint8), GfpqParam(0), np.float16)  # type: ignore[arg-type]  # on purpose


def test_what_is_not_finite_is_never_silent() -> None:
    array = np.array([1.0, np.nan, np.inf, -np.inf, -2.0], np.float32)
    with pytest.raises(QuantizationError, match=r"3 of 5 elements .* \(1 NaN, 2 infinite\)"):
        quantize_dequantize(array)
    for mode in Mode:
        with pytest.raises(QuantizationError, match="3 of 5"):
            quantize_dequantize(array, mode=mode, param=GfpqParam(0))
    with pytest.raises(QuantizationError, match="where the count is left"):
        quantize_dequantize(array, nonfinite="count")
    param = GfpqParam()
    result = quantize_dequantize(array, param=param, nonfinite="count")
    assert result.tolist() == [1.0, 0.0, 2.0, -2.0, -2.0]
    assert (param.delta, param.nonfinite, param.elements) == (-111, 3, 5)
    quantize_dequantize(np.ones(2), param=param)
    assert param.nonfinite == 0
    only = GfpqParam()
    quantize_dequantize(np.array([np.inf, 0.0]), param=only, nonfinite="count")
    assert only.delta == 511
    with pytest.raises(QuantizationError, match="'error' or 'count'"):
        coefficient(array, nonfinite="ignore")  # type: ignore[arg-type]  # on purpose


def test_all_zero_and_empty_tensors() -> None:
    param = GfpqParam()
    assert quantize_dequantize(np.zeros(3, np.float32), param=param).tolist() == [0.0, 0.0, 0.0]
    assert (param.delta, param.all_zero) == (-446, True)
    quantize_dequantize(np.empty(0, np.float32), param=param)
    assert param.delta == -446
    assert not np.signbit(quantize_dequantize(np.array([-0.0, -1e-9, 1.0]))[:2]).any()


@pytest.mark.parametrize("array", [np.arange(3), np.array([True]), np.array([1 + 2j]), np.array(["a"])])
def test_only_floating_point_numbers_are_taken(array: np.ndarray) -> None:
    with pytest.raises(QuantizationError, match="floating-point"):
        quantize_dequantize(array)


def test_misuse_says_what_to_do() -> None:
    ones = np.ones(2)
    with pytest.raises(QuantizationError, match="bits=8 or bits=16"):
        quantize_dequantize(ones, bits=4)
    with pytest.raises(QuantizationError, match="APPLY_ONLY"):
        quantize_dequantize(ones, mode=7)
    with pytest.raises(QuantizationError, match="UPDATE needs a param"):
        quantize_dequantize(ones, mode=Mode.UPDATE)
    with pytest.raises(QuantizationError, match="INIT first"):
        quantize_dequantize(ones, mode=Mode.APPLY_ONLY, param=GfpqParam())
    with pytest.raises(QuantizationError, match=r"numpy\.asarray"):
        quantize_dequantize([1.0, 2.0])  # type: ignore[arg-type]  # on purpose


def test_arrays_of_other_libraries_are_shared_not_copied() -> None:
    rng = np.random.default_rng(3)
    memory = rng.standard_normal((4, 5)).astype(np.float32)
    expected = quantize_dequantize(memory)
    tensor = foreign.Tensor(memory)
    result = quantize_dequantize(tensor)
    assert isinstance(result, foreign.Tensor)
    np.testing.assert_array_equal(result.memory, expected)
    view, _ = _native.as_numpy(tensor, True)
    assert np.shares_memory(view, memory)
    assert quantize_dequantize(tensor, out=tensor) is tensor
    np.testing.assert_array_equal(memory, expected)
    strided = foreign.Tensor(rng.standard_normal((6, 6)).astype(np.float64)[::2, 1:].T)
    np.testing.assert_array_equal(quantize_dequantize(strided).memory, quantize_dequantize(strided.memory))


def test_memory_of_another_kind_of_gpu_is_not_touched() -> None:
    metal = foreign.Tensor(np.ones(3, np.float32), location=8)
    for function in (quantize_dequantize, quantize, coefficient):
        with pytest.raises(QuantizationError, match="a GPU that is not CUDA's"):
            function(metal)


def test_bfloat16_of_numpy() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.linspace(-9, 9, 37).astype(ml_dtypes.bfloat16)
    result = quantize_dequantize(array)
    assert result.dtype == array.dtype
    expected = quantize_dequantize(array.astype(np.float32)).astype(ml_dtypes.bfloat16)
    assert result.tobytes() == expected.tobytes()


def test_rounding_to_bfloat16_is_to_even_and_keeps_nan() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    from gfpq_inspect.quantize.arrays import _narrow_to_bfloat16

    rng = np.random.default_rng(4)
    values = rng.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([values, np.array([np.inf, -np.inf, 3.3895314e38, 1.00390625, 1.01171875], np.float32)])
    finite = values[~np.isnan(values)]
    assert _narrow_to_bfloat16(finite).tobytes() == finite.astype(ml_dtypes.bfloat16).tobytes()
    assert np.isnan(_narrow_to_bfloat16(np.full(2, np.nan, np.float32)).view(ml_dtypes.bfloat16)).all()


def test_pytorch_tensors() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tensor = torch.randn(3, 4, 5)
    expected = quantize_dequantize(tensor.numpy().copy())
    result = quantize_dequantize(tensor)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), expected)
    assert quantize_dequantize(tensor.permute(2, 0, 1)).shape == (5, 3, 4)
    half = tensor.to(torch.bfloat16)
    rounded = quantize_dequantize(half)
    assert rounded.dtype == torch.bfloat16
    by_hand = torch.from_numpy(quantize_dequantize(half.float().numpy())).to(torch.bfloat16)
    assert torch.equal(rounded, by_hand)
    assert quantize_dequantize(tensor.half()).dtype == torch.float16
    address = tensor.data_ptr()
    quantize_dequantize(tensor, out=tensor)
    assert tensor.data_ptr() == address
    np.testing.assert_array_equal(tensor.numpy(), expected)
    quantize_dequantize(half, out=half)
    assert torch.equal(half, rounded)
    # Rounding has no gradient: the result stands outside automatic differentiation.
    assert not quantize_dequantize(torch.ones(2, requires_grad=True)).requires_grad


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_the_interpreter_lock_is_released() -> None:
    array = np.ones(1 << 24, np.float32)
    kernels.apply(array, 8, -127, out=array)
    ticks = 0
    done = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.0002)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(10)  # only a released lock lets the other thread run now
    try:
        thread = threading.Thread(target=count)
        thread.start()
        _native.set_threads(1)
        for _ in range(10):
            _native.apply_reference(array[: 1 << 20], array[: 1 << 20], 8, -127)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        _native.set_threads(0)
        thread.join()
    assert ticks > 50


def test_codes_unpack_like_a_tuple() -> None:
    result = quantize(np.ones(2))
    assert isinstance(result, Codes)
    codes, param = result
    assert result.codes is codes
    assert result.param is param
