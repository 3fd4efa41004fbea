"""Scores of a tensor against its reference: one table of definitions, and the formulas (spec: metrics, 1 to 3).

Columns, help texts and tests read `METRICS`. All formulas work on the sums that `quantize.kernels.similarity` gives, so
that a tensor is read once and sums of different samples can be added.

Below, x is the reference, y the lane compared with it, d = y - x; n counts the finite pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.result import Scores, Spread, Status
from gfpq_inspect.quantize.kernels import MERGE_RULES, SUM_FIELDS

TINY_ELEMENTS = 64
"""Below this many values a cosine says little: no score a sample, and TINY when the pool is that small."""

Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One score.

    Attributes:
        name: Field of `Scores`.
        unit: '-', 'dB', or 'of the tensor'.
        better: 'higher', 'lower', 'near 1', 'near 0' or '-'.
        formula: In x, y, d and n as above.
        undefined_when: When the value is null, and with which status.
        help: What it tells, and what it does not.
    """

    name: str
    unit: str
    better: str
    formula: str
    undefined_when: str
    help: str


METRICS: tuple[Metric, ...] = (
    Metric(
        "cosine",
        "-",
        "higher",
        "sum(x y) / (sqrt(sum x^2) sqrt(sum y^2)), held to [-1, 1]",
        "no finite pair; 1 where both are all zero, 0 where exactly one is",
        "The angle between the tensors. 0.98 is 13.8 dB, 0.99 is 16.9 dB, 0.999 is 27.0 dB where the error is "
        "orthogonal to the signal. It does not see a gain: read norm_ratio and gain beside it.",
    ),
    Metric(
        "sqnr_db",
        "dB",
        "higher",
        "10 log10(sum x^2 / sum d^2), no mean removed",
        "exact (EXACT), or the reference is all zero (REF_ZERO)",
        "Signal against error. One 8-bit GFPQ rounding of a Gaussian tensor costs about 38 dB; rounding inside the "
        "range alone never falls below 33.1 dB.",
    ),
    Metric(
        "rel_l2",
        "-",
        "lower",
        "sqrt(sum d^2 / sum x^2)",
        "the reference is all zero (REF_ZERO)",
        "Length of the error as a share of the length of the reference.",
    ),
    Metric(
        "norm_ratio",
        "-",
        "near 1",
        "sqrt(sum y^2 / sum x^2)",
        "the reference is all zero (REF_ZERO)",
        "Length of the lane's tensor over that of the reference; a gain that the cosine does not see.",
    ),
    Metric("max_abs_error", "of the tensor", "lower", "max |d|", "no finite pair", "The largest single deviation."),
    Metric("mae", "of the tensor", "lower", "sum |d| / n", "no finite pair", "The mean deviation."),
    Metric(
        "rmse",
        "of the tensor",
        "lower",
        "sqrt(sum d^2 / n)",
        "no finite pair",
        "The root of the mean squared deviation; larger than mae where few values deviate much.",
    ),
    Metric(
        "mean_error",
        "of the tensor",
        "near 0",
        "sum d / n",
        "no finite pair",
        "The bias: a shift of the whole tensor that later layers may amplify.",
    ),
    Metric(
        "gain",
        "-",
        "near 1",
        "least squares y = gain x + offset + r",
        "the reference is constant (CONSTANT)",
        "What the tensor was multiplied by.",
    ),
    Metric(
        "offset",
        "of the tensor",
        "near 0",
        "least squares y = gain x + offset + r",
        "the reference is constant (CONSTANT)",
        "What was added after the gain.",
    ),
    Metric(
        "residual_db",
        "dB",
        "higher",
        "10 log10(gain^2 sum (x - mean x)^2 / sum r^2)",
        "the reference is constant (CONSTANT), or r = 0 (EXACT_AFFINE)",
        "What is left of the error once a gain and an offset are taken out: high here with a low SQNR means a wrong "
        "scale or shift, not lost precision.",
    ),
    Metric(
        "equal_share",
        "-",
        "higher",
        "equal elements / elements",
        "floating-point tensors",
        "For integer, boolean and index tensors (NOT_FLOAT), where no other score has a meaning.",
    ),
)
"""All scores of `Scores`, in the order of the reports."""

_INDEX = {name: index for index, name in enumerate(SUM_FIELDS)}
_MAXIMA = [_INDEX[name] for name, rule in MERGE_RULES.items() if rule == "max"]
_MINIMA = [_INDEX[name] for name, rule in MERGE_RULES.items() if rule == "min"]
_FIRST = _INDEX["first_nonfinite"]

# A residual smaller than this share of the error is none: float32 values of an exact gain differ by more than that.
_RESIDUAL_RESOLUTION = 1e-9


def field_of(sums: Sums, name: str) -> Sums:
    """One field of sums [..., F] as an array [...]."""
    values: Sums = sums[..., _INDEX[name]]
    return values


def added_in_order(known: Sums | None, samples: Sums) -> Sums:
    """Add samples [N, ...] to what is known [...] one after another, so that batches of any size give the same bits.

    Args:
        known: The sum so far, or None to begin with the first sample.
        samples: At least one.
    """
    rows = np.ascontiguousarray(samples.reshape(len(samples), -1))
    rows = rows if known is None else np.concatenate([known.reshape(1, -1), rows])
    # Over the outer axis NumPy adds row to row, in order; it sums by halves only where that axis is the inner one,
    # as of a single column. Ten times as fast as all the sums on the way, and the same bits; -0 changes no number.
    total: Sums = (
        np.add.reduce(rows, axis=0, initial=-0.0) if rows.shape[1] > 1 else np.add.accumulate(rows, axis=0)[-1]
    )
    return total.reshape(samples.shape[1:])


class Pool:
    """Sums over samples, added one sample after another.

    The order of the additions is that of the samples whatever the batches were, so that no digit depends on the batch
    size or on the number of workers.

    Args:
        shape: Cells, as [rows, comparisons].
    """

    def __init__(self, *shape: int) -> None:
        self.sums: Sums = np.zeros((*shape, len(SUM_FIELDS)))
        self._empty = True

    def add(self, samples: Sums) -> None:
        """Add sums of samples in order, [N, rows, comparisons, F]."""
        stacked = samples if self._empty else np.concatenate([self.sums[None], samples])
        merged = added_in_order(None, stacked)
        merged[..., _MAXIMA] = stacked[..., _MAXIMA].max(axis=0)
        merged[..., _MINIMA] = stacked[..., _MINIMA].min(axis=0)
        # The index stays the one in the first sample that has a non-finite element.
        first = stacked[..., _FIRST]
        merged[..., _FIRST] = np.take_along_axis(first, (first >= 0).argmax(axis=0)[None], axis=0)[0]
        self.sums = merged
        self._empty = False


def cosines(sums: Sums) -> Sums:
    """Cosine of every cell [...]; NaN where there is no finite pair. The zero rule holds."""
    xx, yy, xy = field_of(sums, "sum_xx"), field_of(sums, "sum_yy"), field_of(sums, "sum_xy")
    x_zero, y_zero = field_of(sums, "max_abs_x") <= 0, field_of(sums, "max_abs_y") <= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.clip(xy / (np.sqrt(xx) * np.sqrt(yy)), -1.0, 1.0)
    values = np.where(x_zero | y_zero, np.where(x_zero & y_zero, 1.0, 0.0), values)
    values = np.where((field_of(sums, "max_abs_d") == 0) & ~x_zero, 1.0, values)
    undefined: Sums = np.where(field_of(sums, "count") == 0, np.nan, values)
    return undefined


def sqnrs_db(sums: Sums) -> Sums:
    """SQNR of every cell [...] in dB; NaN where it is exact or has no signal."""
    xx, dd = field_of(sums, "sum_xx"), field_of(sums, "sum_dd")
    defined = (xx > 0) & (dd > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values: Sums = np.where(defined, 10.0 * (np.log10(xx) - np.log10(dd)), np.nan)
    return values


def norm_ratios(sums: Sums) -> Sums:
    """Norm ratio of every cell [...]; NaN where the reference is all zero."""
    xx, yy = field_of(sums, "sum_xx"), field_of(sums, "sum_yy")
    with np.errstate(divide="ignore", invalid="ignore"):
        values: Sums = np.where(xx > 0, np.sqrt(yy / xx), np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def scores_of(
    sums: Sums,
    cosine_spread: Spread | None = None,
    sqnr_db_spread: Spread | None = None,
    norm_ratio_spread: Spread | None = None,
) -> Scores:
    """All pooled scores of one tensor.

    Args:
        sums: Pooled sums [F].
        cosine_spread: Over samples, where samples are large enough to be judged alone.
        sqnr_db_spread: Likewise.
        norm_ratio_spread: Likewise.
    """
    s = {name: float(sums[index]) for name, index in _INDEX.items()}
    count = int(s["count"])
    statuses = _statuses(s, count)
    exact = statuses[0] is Status.EXACT
    x_zero, y_zero = s["max_abs_x"] <= 0, s["max_abs_y"] <= 0
    gain, offset, residual_db, exact_affine = _affine(s, count)
    if exact_affine and not exact:
        statuses = [*statuses, Status.EXACT_AFFINE]
    scores = Scores(
        status=statuses[0],
        reason=_reason(statuses, s, count),
        flags=tuple(statuses[1:]),
        count=count,
        nonfinite_reference=int(s["nonfinite_x"]),
        nonfinite_test=int(s["nonfinite_y"]),
        first_nonfinite=int(s["first_nonfinite"]) if s["nonfinite_x"] or s["nonfinite_y"] else None,
        cosine_spread=cosine_spread,
        sqnr_db_spread=sqnr_db_spread,
        norm_ratio_spread=norm_ratio_spread,
    )
    if not count:
        return scores
    signal = not x_zero
    return replace(
        scores,
        cosine=_finite(float(cosines(sums))),
        sqnr_db=_finite(float(sqnrs_db(sums))),
        rel_l2=_root_of_ratio(s["sum_dd"], s["sum_xx"]) if signal else None,
        norm_ratio=0.0 if signal and y_zero else _root_of_ratio(s["sum_yy"], s["sum_xx"]),
        max_abs_error=_finite(s["max_abs_d"]),
        mae=_finite(s["sum_abs_d"] / count),
        rmse=_finite(math.sqrt(s["sum_dd"] / count)),
        mean_error=_finite(s["sum_d"] / count),
        gain=gain,
        offset=offset,
        residual_db=residual_db,
    )


def equality_of(sums: Sums, reason: str) -> Scores:
    """The score of integer, boolean and index tensors: the share of equal elements."""
    count = int(field_of(sums, "count"))
    unequal = int(field_of(sums, "unequal_bits"))
    share = (count - unequal) / count if count else None
    return Scores(status=Status.NOT_FLOAT, reason=reason, count=count, equal_share=share)


def _root_of_ratio(part: float, whole: float) -> float | None:
    return _finite(math.sqrt(part / whole)) if whole > 0 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _statuses(s: dict[str, float], count: int) -> list[Status]:
    """All statuses that apply, the one to show first (spec: metrics, section 3)."""
    nonfinite = s["nonfinite_x"] > 0 or s["nonfinite_y"] > 0
    x_zero, y_zero = s["max_abs_x"] <= 0, s["max_abs_y"] <= 0
    equal = s["unequal_bits"] == 0 or (s["max_abs_d"] == 0 and not (x_zero and y_zero))  # or but for the sign of zeros
    applies = {
        Status.EXACT: not nonfinite and equal,
        Status.BOTH_ZERO: count > 0 and x_zero and y_zero,
        Status.REF_ZERO: count > 0 and x_zero and not y_zero,
        Status.TEST_ZERO: count > 0 and y_zero and not x_zero,
        Status.NONFINITE: nonfinite,
        Status.CONSTANT: count > 1 and s["min_x"] == s["max_x"] and not x_zero,
        Status.TINY: count < TINY_ELEMENTS,
    }
    return [status for status, holds in applies.items() if holds] or [Status.OK]


def _reason(statuses: list[Status], s: dict[str, float], count: int) -> str:
    texts = {
        Status.BOTH_ZERO: "both tensors are all zero; cosine 1 by convention",
        Status.REF_ZERO: "the reference is all zero, the lane is not",
        Status.TEST_ZERO: "the lane is all zero, the reference is not",
        Status.NONFINITE: f"{_nonfinite_text(s)}; the finite part is scored",
        Status.CONSTANT: "the reference holds one value only",
        Status.TINY: f"{count} values over all samples, fewer than {TINY_ELEMENTS}",
        Status.EXACT_AFFINE: "a gain and an offset explain the whole error",
    }
    return "; ".join(texts[status] for status in statuses if status in texts)


def _nonfinite_text(s: dict[str, float]) -> str:
    sides = []
    if s["nonfinite_x"]:
        sides.append(f"{int(s['nonfinite_x'])} in the reference")
    if s["nonfinite_y"]:
        sides.append(f"{int(s['nonfinite_y'])} in the lane")
    return f"non-finite values: {' and '.join(sides)}, the first at index {int(s['first_nonfinite'])}"


def _affine(s: dict[str, float], count: int) -> tuple[float | None, float | None, float | None, bool]:
    """Gain, offset, residual in dB, and whether nothing is left.

    Worked out on d = y - x, whose sums are small and so keep their digits: gain = 1 + cov(x, d) / var(x),
    sum r^2 = var(d) - cov(x, d)^2 / var(x), with var and cov as sums over the centred tensors.
    """
    if count < 2 or s["min_x"] == s["max_x"]:
        return None, None, None, False
    variance_x = s["sum_xx"] - s["sum_x"] ** 2 / count
    variance_d = max(s["sum_dd"] - s["sum_d"] ** 2 / count, 0.0)
    covariance = s["sum_xy"] - s["sum_xx"] - s["sum_x"] * s["sum_d"] / count
    if variance_x <= 0:
        return None, None, None, False
    gain = 1.0 + covariance / variance_x
    offset = (s["sum_d"] - (gain - 1.0) * s["sum_x"]) / count
    residual = variance_d - covariance**2 / variance_x
    if residual <= _RESIDUAL_RESOLUTION * s["sum_dd"]:
        return _finite(gain), _finite(offset), None, True
    ratio = gain**2 * variance_x / residual
    return _finite(gain), _finite(offset), _finite(10.0 * math.log10(ratio)) if ratio > 0 else None, False
