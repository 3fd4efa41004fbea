"""Scores against the definitions of the specification, worked out in double from the tensors themselves."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze.metrics import METRICS, Pool, added_in_order, cosines, equality_of, scores_of, sqnrs_db
from gfpq_inspect.analyze.result import Scores, Spread, Status
from gfpq_inspect.quantize import kernels

from .reference import similarity as plain_similarity

F32 = NDArray[np.float32]


def score(x: NDArray, y: NDArray) -> Scores:
    """Scores of one tensor of one sample."""
    sums, _ = kernels.similarity(np.ascontiguousarray(x)[None], [np.ascontiguousarray(y)[None]])
    return scores_of(sums[0, 0])


def gaussian(count: int = 4096, seed: int = 0) -> F32:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def test_every_score_is_in_the_table() -> None:
    listed = {metric.name for metric in METRICS}
    numbers = {field.name for field in fields(Scores) if field.type == "float | None"}
    assert numbers == listed
    assert all(metric.help and metric.formula and metric.undefined_when for metric in METRICS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_follow_their_formulas(dtype: type) -> None:
    x = gaussian().astype(dtype)
    y = (x * 1.1 + 0.05 + 0.1 * gaussian(seed=1)).astype(dtype)
    a, b = x.astype(np.float64), y.astype(np.float64)
    d = b - a
    found = score(x, y)
    assert found.status is Status.OK
    assert found.flags == ()
    assert found.count == 4096
    assert found.cosine == pytest.approx(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), rel=1e-12)
    assert found.sqnr_db == pytest.approx(10 * math.log10((a @ a) / (d @ d)), rel=1e-12)
    assert found.rel_l2 == pytest.approx(np.linalg.norm(d) / np.linalg.norm(a), rel=1e-12)
    assert found.norm_ratio == pytest.approx(np.linalg.norm(b) / np.linalg.norm(a), rel=1e-12)
    assert found.max_abs_error == pytest.approx(np.abs(d).max(), rel=1e-12)
    assert found.mae == pytest.approx(np.abs(d).mean(), rel=1e-12)
    assert found.rmse == pytest.approx(math.sqrt((d @ d) / d.size), rel=1e-12)
    assert found.mean_error == pytest.approx(d.mean(), rel=1e-12)
    gain, offset = np.polyfit(a, b, 1)
    residual = b - (gain * a + offset)
    spread = a - a.mean()
    assert found.gain == pytest.approx(gain, rel=1e-10)
    assert found.offset == pytest.approx(offset, rel=1e-8)
    assert found.residual_db == pytest.approx(
        10 * math.log10(gain**2 * (spread @ spread) / (residual @ residual)), rel=1e-9
    )


def test_exact() -> None:
    x = gaussian()
    found = score(x, x.copy())
    assert found.status is Status.EXACT
    assert found.cosine == 1.0
    assert found.sqnr_db is None
    assert found.rel_l2 == 0.0
    assert found.norm_ratio == 1.0


def test_exact_but_for_the_sign_of_a_zero() -> None:
    x = gaussian()
    x[7] = 0.0
    y = x.copy()
    y[7] = -0.0
    assert score(x, y).status is Status.EXACT


def test_both_zero_is_one_by_convention() -> None:
    x = np.zeros(100, dtype=np.float32)
    found = score(x, x)
    assert found.status is Status.EXACT
    assert Status.BOTH_ZERO in found.flags
    assert found.cosine == 1.0
    assert (found.sqnr_db, found.rel_l2, found.norm_ratio, found.gain) == (None, None, None, None)
    signed = score(x, -x)
    assert signed.status is Status.BOTH_ZERO
    assert signed.cosine == 1.0


@pytest.mark.parametrize(("swap", "status"), [(False, Status.REF_ZERO), (True, Status.TEST_ZERO)])
def test_one_side_zero_is_zero(swap: bool, status: Status) -> None:
    x, y = np.zeros(100, dtype=np.float32), gaussian(100)
    found = score(y, x) if swap else score(x, y)
    assert found.status is status
    assert found.cosine == 0.0
    if status is Status.REF_ZERO:
        assert (found.sqnr_db, found.rel_l2, found.norm_ratio) == (None, None, None)
    else:
        assert found.sqnr_db == pytest.approx(0.0)
        assert found.norm_ratio == 0.0


def test_zero_is_not_what_squares_lose() -> None:
    """Squares of small doubles are zero; the tensor is not."""
    x = np.full(100, 1e-200)
    x[0] = 2e-200
    found = score(x, x * 1.5)
    assert found.status not in (Status.BOTH_ZERO, Status.REF_ZERO, Status.TEST_ZERO)
    assert found.cosine is None or found.cosine == pytest.approx(1.0)


def test_nonfinite_is_counted_and_the_rest_is_scored() -> None:
    x = gaussian()
    y = x + np.float32(0.01) * gaussian(seed=3)
    whole = score(x, y)
    x[[10, 20]] = np.nan
    y[[20, 30, 40]] = [np.inf, -np.inf, np.nan]
    found = score(x, y)
    assert found.status is Status.NONFINITE
    assert found.nonfinite_reference == 2
    assert found.nonfinite_test == 3
    assert found.first_nonfinite == 10
    assert found.count == 4096 - 4
    assert found.cosine == pytest.approx(whole.cosine, abs=1e-4)
    assert "2 in the reference and 3 in the lane, the first at index 10" in found.reason


def test_nothing_finite() -> None:
    x = np.full(100, np.nan, dtype=np.float32)
    found = score(x, x)
    assert found.status is Status.NONFINITE
    assert found.count == 0
    assert (found.cosine, found.sqnr_db, found.rmse, found.mean_error) == (None, None, None, None)


def test_constant_reference_has_no_gain() -> None:
    x = np.full(100, 3.0, dtype=np.float32)
    found = score(x, x + np.float32(0.5))
    assert found.status is Status.CONSTANT
    assert (found.gain, found.offset, found.residual_db) == (None, None, None)
    assert found.cosine == pytest.approx(1.0)
    assert found.mean_error == pytest.approx(0.5)


@pytest.mark.parametrize(("gain", "offset"), [(2.0, 0.0), (1.0, 0.25), (0.5, -1.0), (1.1, 3.0)])
def test_a_gain_and_an_offset_leave_no_residual(gain: float, offset: float) -> None:
    x = gaussian()
    y = (gain * x.astype(np.float64) + offset).astype(np.float32)
    found = score(x, y)
    assert found.gain == pytest.approx(gain, rel=1e-5)
    assert found.offset == pytest.approx(offset, abs=1e-5)
    assert found.residual_db is None
    assert Status.EXACT_AFFINE in found.flags


def test_gain_is_seen_where_cosine_is_blind() -> None:
    x = gaussian()
    found = score(x, 2 * x)
    assert found.cosine == pytest.approx(1.0)
    assert found.sqnr_db == pytest.approx(0.0)
    assert found.norm_ratio == pytest.approx(2.0)


def test_tiny() -> None:
    x = gaussian(63)
    found = score(x, x + np.float32(0.1))
    assert found.status is Status.TINY
    assert "63 values" in found.reason
    assert score(gaussian(64), gaussian(64, seed=5)).status is Status.OK


def test_status_is_the_first_that_applies_and_flags_the_rest() -> None:
    x = np.zeros(10, dtype=np.float32)
    y = x.copy()
    y[3] = np.nan
    y[4] = 1.0
    found = score(x, y)
    assert found.status is Status.REF_ZERO
    assert found.flags == (Status.NONFINITE, Status.TINY)


@pytest.mark.parametrize("cosine", [0.98, 0.99, 0.999, 0.9999])
def test_cosine_in_decibel_where_the_error_is_orthogonal(cosine: float) -> None:
    x = gaussian(100_000).astype(np.float64)
    noise = gaussian(100_000, seed=9).astype(np.float64)
    noise -= x * (noise @ x) / (x @ x)
    # An orthogonal error of relative length e turns the tensor by atan(e).
    noise *= math.tan(math.acos(cosine)) * np.linalg.norm(x) / np.linalg.norm(noise)
    found = score(x, x + noise)
    assert found.cosine == pytest.approx(cosine, abs=1e-6)
    expected = {0.98: 13.8, 0.99: 16.9, 0.999: 27.0, 0.9999: 37.0}[cosine]
    assert found.sqnr_db == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_gives_the_sums_of_its_readable_twin(dtype: type) -> None:
    random = np.random.default_rng(4)
    x = random.standard_normal((5, 7, 33)).astype(dtype)
    lanes = [(x + s * random.standard_normal(x.shape)).astype(dtype) for s in (0.1, 0.2, 0.0)]
    lanes[0][1, 2, 3] = np.inf
    lanes[1][1, 2, 4] = np.nan
    x[2, 0, 0] = -np.inf
    sums, products = kernels.similarity(x, lanes)
    plain_sums, plain_products = plain_similarity(x, lanes)
    np.testing.assert_allclose(sums, plain_sums, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(products, plain_products, rtol=1e-12, atol=1e-9)


def test_pooled_scores_are_those_of_the_joined_tensors() -> None:
    random = np.random.default_rng(2)
    x = random.standard_normal((6, 500)).astype(np.float32)
    y = (x + 0.1 * random.standard_normal(x.shape)).astype(np.float32)
    sums, _ = kernels.similarity(x, [y])
    pool = Pool(1, 1)
    pool.add(sums[:, None])
    joined = score(x.ravel(), y.ravel())
    pooled = scores_of(pool.sums[0, 0])
    for metric in METRICS[:-1]:
        assert getattr(pooled, metric.name) == pytest.approx(getattr(joined, metric.name), rel=1e-12), metric.name


def test_pool_does_not_depend_on_batches() -> None:
    random = np.random.default_rng(3)
    x = random.standard_normal((37, 300)).astype(np.float32)
    y = x + np.float32(1e-3) * random.standard_normal(x.shape).astype(np.float32)
    y[20, 5] = np.nan
    y[30, 2] = np.nan
    sums, _ = kernels.similarity(x, [y])
    results = []
    for size in (1, 2, 5, 37):
        pool = Pool(1, 1)
        for first in range(0, 37, size):
            pool.add(sums[first : first + size, None])
        results.append(pool.sums.copy())
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    assert scores_of(results[0][0, 0]).first_nonfinite == 5


def test_vectors_of_scores_agree_with_single_ones() -> None:
    x = np.stack([gaussian(100), np.zeros(100, np.float32), gaussian(100), np.full(100, np.nan, np.float32)])
    y = np.stack([gaussian(100, 8), np.zeros(100, np.float32), x[2], np.full(100, np.nan, np.float32)])
    sums, _ = kernels.similarity(x, [y])
    np.testing.assert_allclose(
        cosines(sums)[:, 0], [scores_of(row[0]).cosine if i < 3 else np.nan for i, row in enumerate(sums)]
    )
    assert cosines(sums)[1, 0] == 1.0
    np.testing.assert_array_equal(np.isnan(sqnrs_db(sums)[:, 0]), [False, True, True, True])


def test_equality_of_index_tensors() -> None:
    sums = np.zeros(len(kernels.SUM_FIELDS))
    sums[kernels.SUM_FIELDS.index("count")] = 8
    sums[kernels.SUM_FIELDS.index("unequal_bits")] = 2
    found = equality_of(sums, "int64 against int64")
    assert found.status is Status.NOT_FLOAT
    assert found.equal_share == 0.75
    assert found.cosine is None


def test_spreads_are_handed_on() -> None:
    spread = Spread(0.99, 0.98, "a.jpg", 0.985)
    sums, _ = kernels.similarity(gaussian()[None], [gaussian(seed=1)[None]])
    assert scores_of(sums[0, 0], spread).cosine_spread is spread


@pytest.mark.parametrize("shape", [(129, 7, 3, 17), (300, 1), (18, 2), (1, 5), (5, 0, 3)])
@pytest.mark.parametrize("known", [False, True])
def test_samples_are_added_one_after_another(shape: tuple[int, ...], known: bool) -> None:
    draw = np.random.default_rng(3)
    samples = draw.standard_normal(shape) * 10.0 ** draw.integers(-12, 12, shape)
    samples.reshape(len(samples), -1)[:, :1] = -0.0
    before = draw.standard_normal(shape[1:]) if known else None
    expected = before
    for sample in samples:
        expected = sample.copy() if expected is None else expected + sample
    assert expected is not None
    assert added_in_order(before, samples).tobytes() == expected.tobytes()
