"""The fused similarity kernel against plain sums in extended precision, on friendly and on hostile data."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from gfpq_inspect import _native
from gfpq_inspect.quantize import kernels

INSTRUCTION_SETS = [n for n in ("baseline", "neon", "avx2", "avx512") if n in _native.instruction_sets()]
DERIVED = ("sum_y", "sum_xy")  # from the other sums, where the two energies are not too far apart
FLOAT_CHUNK = 24576  # chunks of so many float32 elements are summed in float32 first, within 1e-8
FIELD = {name: index for index, name in enumerate(kernels.SUM_FIELDS)}


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Forces one kernel, and goes back afterwards."""
    before = _native.instruction_set()
    assert _native.set_instruction_set(request.param)
    yield request.param
    assert _native.set_instruction_set(before)


def hostile_pairs() -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Pairs of tensors that spoil careless sums."""
    rng = np.random.default_rng(20190520)
    size = 100_003
    normal = rng.standard_normal(size)
    signs = np.where(np.arange(size) % 2 == 0, 1.0, -1.0)
    wide = np.exp(rng.uniform(-80, 80, size)) * signs
    constant = np.full(size, 0.1)
    pairs = {
        "gaussian": (normal, normal + 0.01 * rng.standard_normal(size)),
        "constant": (constant, np.full(size, 0.3)),
        "constant and one step beside it": (constant, np.nextafter(constant.astype(np.float32), np.float32(1))),
        "large offset and tiny noise": (1000 + 1e-3 * normal, 1000 + 1e-3 * rng.standard_normal(size)),
        "alternating signs": (signs * (1 + 1e-6 * normal), signs * (1 - 1e-6 * normal)),
        "huge dynamic range": (wide, wide * (1 + 0.02 * rng.standard_normal(size))),
        "around 1e30": (1e30 * normal, 1.02e30 * normal),
        "around 1e-30": (1e-30 * normal, 1.02e-30 * normal),
        "denormal": (1e-41 * normal, 1.1e-41 * normal),
        "all zero": (np.zeros(size), np.zeros(size)),
        "few distinct values": (rng.choice([1.1, -0.7, 3.3], size), rng.choice([1.1, -0.7, 3.3], size)),
        "nothing survives": (normal, 1e-12 * normal),
        "little survives": (normal, 2e-4 * rng.standard_normal(size)),
        "far too large": (normal, 3e6 * normal),
        "nowhere both": (normal * (signs > 0), normal * (signs < 0)),
    }
    return {name: (x.astype(np.float32), y.astype(np.float32)) for name, (x, y) in pairs.items()}


def exact_sums(x: NDArray[np.float32], y: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """Sums rounded once, and the sums of the magnitudes of their terms, which an error is measured by."""
    a = [float(v) for v in x]
    b = [float(v) for v in y]
    d = [q - p for p, q in zip(a, b, strict=True)]  # exact or nearly so: 53 bits
    terms = {
        "sum_x": a,
        "sum_y": b,
        "sum_xx": [v * v for v in a],
        "sum_yy": [v * v for v in b],
        "sum_xy": [p * q for p, q in zip(a, b, strict=True)],
        "sum_d": d,
        "sum_dd": [v * v for v in d],
        "sum_abs_d": [abs(v) for v in d],
    }
    sums = {name: (math.fsum(values), math.fsum(map(abs, values))) for name, values in terms.items()}
    # A product's own scale: what two parallel tensors of these energies would give.
    sums["sum_xy"] = (sums["sum_xy"][0], math.sqrt(sums["sum_xx"][0] * sums["sum_yy"][0]))
    return sums


@pytest.mark.parametrize("size", [FLOAT_CHUNK - 1, 100_003])
@pytest.mark.parametrize("name", list(hostile_pairs()))
def test_error_of_every_sum_is_below_1e_8(name: str, size: int, instruction_set: str) -> None:
    x, y = (tensor[:size] for tensor in hostile_pairs()[name])
    row = kernels.similarity(x[None], [y[None]])[0][0, 0]
    for field, (expected, scale) in exact_sums(x, y).items():
        bound = 1e-8 if x.size >= FLOAT_CHUNK else 1e-9 if field in DERIVED else 1e-12
        assert abs(row[FIELD[field]] - expected) <= bound * scale, field
    assert row[FIELD["count"]] == x.size
    assert row[FIELD["max_abs_d"]] == np.max(np.abs(y.astype(np.float64) - x))
    assert row[FIELD["max_abs_x"]] == np.max(np.abs(x))
    assert row[FIELD["max_abs_y"]] == np.max(np.abs(y))
    assert [row[FIELD[f]] for f in ("min_x", "max_x", "min_y", "max_y")] == [x.min(), x.max(), y.min(), y.max()]
    assert row[FIELD["unequal_bits"]] == np.count_nonzero(x.view(np.uint32) != y.view(np.uint32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(hostile_pairs()))
def test_identical_tensors_are_exactly_alike(name: str, dtype: type, instruction_set: str) -> None:
    x = hostile_pairs()[name][0].astype(dtype)
    row = kernels.similarity(x[None], [x[None].copy()])[0][0, 0]
    assert row[FIELD["sum_dd"]] == 0 == row[FIELD["sum_d"]] == row[FIELD["max_abs_d"]] == row[FIELD["unequal_bits"]]
    assert row[FIELD["sum_xx"]] == row[FIELD["sum_yy"]] == row[FIELD["sum_xy"]]
    if np.any(x):
        assert row[FIELD["sum_xy"]] / math.sqrt(row[FIELD["sum_xx"]] * row[FIELD["sum_yy"]]) == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_length_agrees_with_the_definition(dtype: type, instruction_set: str) -> None:
    rng = np.random.default_rng(3)
    for size in [*range(70), 511, 512, 513, 1023, 1040, 65535, 65536, 65537]:
        x = rng.standard_normal((2, size)).astype(dtype)
        lanes = [(x + rng.standard_normal(x.shape) * 10.0**-k).astype(dtype) for k in range(4)]
        sums, products = kernels.similarity(x, lanes)
        expected_sums, expected_products = kernels.similarity(x, lanes, by_definition=True)
        close = 1e-8 if dtype == np.float32 and size >= FLOAT_CHUNK else 1e-12
        np.testing.assert_allclose(sums, expected_sums, rtol=close, atol=close * size, err_msg=str(size))
        diagonal = np.sqrt(np.einsum("nii->ni", expected_products))
        bound = close * diagonal[:, :, None] * diagonal[:, None, :]
        assert np.all(np.abs(products - expected_products) <= bound), size


def test_what_is_not_finite_is_counted_and_left_out(instruction_set: str) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 2000)).astype(np.float32)
    lanes = [(x + 0.1).astype(np.float32) for _ in range(3)]
    x[1, 700] = np.nan
    x[1, 1500] = np.inf
    lanes[0][1, 300] = -np.inf
    lanes[2][1, 700] = np.nan
    lanes[2][2, 0] = np.nan
    sums, products = kernels.similarity(x, lanes)
    clean = np.isfinite(x)[None] & np.isfinite(np.stack(lanes))
    errors = np.where(clean, np.stack(lanes).astype(np.float64) - np.where(np.isfinite(x), x, 0), 0)
    errors[~clean] = 0
    assert sums[0, :, FIELD["nonfinite_x"]].tolist() == [0, 0, 0]
    assert sums[1, :, FIELD["nonfinite_x"]].tolist() == [2, 2, 2]
    assert sums[1, :, FIELD["nonfinite_y"]].tolist() == [1, 0, 1]
    assert sums[1, :, FIELD["first_nonfinite"]].tolist() == [300, 700, 700]
    assert sums[2, :, FIELD["first_nonfinite"]].tolist() == [-1, -1, 0]
    assert sums[1, :, FIELD["count"]].tolist() == [1997, 1998, 1998]
    np.testing.assert_allclose(sums[..., FIELD["sum_dd"]], np.sum(errors**2, axis=2).T, rtol=1e-12)
    np.testing.assert_allclose(products, np.einsum("ins,jns->nij", errors, errors), rtol=1e-12)
    for lane in range(3):
        good = clean[lane, 1]
        np.testing.assert_allclose(
            sums[1, lane, FIELD["sum_xx"]], np.sum(x[1, good].astype(np.float64) ** 2), rtol=1e-12
        )


def test_a_tensor_without_any_finite_pair(instruction_set: str) -> None:
    x = np.full((1, 40), np.nan, dtype=np.float32)
    row = kernels.similarity(x, [x.copy()])[0][0, 0]
    assert row[FIELD["count"]] == 0
    assert row[FIELD["unequal_bits"]] == 0
    assert (row[FIELD["min_x"]], row[FIELD["max_x"]]) == (math.inf, -math.inf)
    assert row[FIELD["max_abs_x"]] == 0


def test_neither_threads_nor_batches_change_a_bit(instruction_set: str) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((6, 3, 300, 301)).astype(np.float32)
    lanes = [(x + rng.standard_normal(x.shape) * 0.01).astype(np.float32) for _ in range(2)]
    results = []
    for threads in (1, 2, 3, 7):
        _native.set_threads(threads)
        results.append(kernels.similarity(x, lanes))
    _native.set_threads(0)
    for sums, products in results[1:]:
        assert sums.tobytes() == results[0][0].tobytes()
        assert products.tobytes() == results[0][1].tobytes()
    alone = [kernels.similarity(x[i : i + 1], [lane[i : i + 1] for lane in lanes])[0] for i in range(6)]
    assert np.concatenate(alone).tobytes() == results[0][0].tobytes()


def test_merging_rows() -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal((4, 50)).astype(np.float32)
    y = (x + 0.1).astype(np.float32)
    y[2, 7] = np.nan
    rows = kernels.similarity(x, [y])[0]
    pooled = kernels.pool_sums(rows)[0]
    whole = kernels.similarity(x.reshape(1, -1), [y.reshape(1, -1)])[0][0, 0]
    np.testing.assert_allclose(np.delete(pooled, FIELD["first_nonfinite"]), np.delete(whole, FIELD["first_nonfinite"]))
    assert pooled[FIELD["first_nonfinite"]] == 7
    empty = kernels.similarity(x[:1, :0], [y[:1, :0]])[0][0]
    assert kernels.merge_sums(rows[0], empty).tobytes() == rows[0].tobytes()
    with pytest.raises(ValueError, match="nothing"):
        kernels.pool_sums(rows[:0])


def test_misuse_is_refused() -> None:
    x = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="shape"):
        kernels.similarity(x, [np.zeros((3, 2), dtype=np.float32)])
    with pytest.raises(ValueError, match="lanes"):
        kernels.similarity(x, [])
    with pytest.raises(ValueError, match="lanes"):
        kernels.similarity(x, [x] * 17)
    with pytest.raises(ValueError, match="type"):
        kernels.similarity(x, [x.astype(np.float64)])  # type: ignore[list-item]  # on purpose
    with pytest.raises(ValueError, match="axis 0"):
        kernels.similarity(np.array(1.0), [np.array(1.0)])
