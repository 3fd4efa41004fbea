"""A readable twin of the native similarity kernel, in NumPy: what the sums should be, computed the plain way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.quantize.kernels import SUM_FIELDS


def similarity(reference: NDArray[Any], lanes: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sums a sample and lane [N, K, F], and the products between the lanes' errors [N, K, K]."""
    samples, count = reference.shape[0], len(lanes)
    sums = np.zeros((samples, count, len(SUM_FIELDS)))
    products = np.zeros((samples, count, count))
    for sample in range(samples):
        x = reference[sample].ravel()
        errors, finite_pairs = [], []
        for index, lane in enumerate(lanes):
            y = lane[sample].ravel()
            finite = np.isfinite(x) & np.isfinite(y)
            values = _pair_sums(x[finite].astype(np.float64), y[finite].astype(np.float64))
            bad = np.flatnonzero(~finite)
            integer = np.uint32 if x.dtype == np.float32 else np.uint64
            values |= {
                "nonfinite_x": (~np.isfinite(x)).sum(),
                "nonfinite_y": (~np.isfinite(y)).sum(),
                "first_nonfinite": bad[0] if bad.size else -1,
                "unequal_bits": (x.view(integer) != y.view(integer)).sum(),
            }
            sums[sample, index] = [values[name] for name in SUM_FIELDS]
            with np.errstate(invalid="ignore"):
                errors.append(y.astype(np.float64) - x.astype(np.float64))
            finite_pairs.append(finite)
        for i in range(count):
            for j in range(count):
                both = finite_pairs[i] & finite_pairs[j]
                products[sample, i, j] = np.dot(errors[i][both], errors[j][both])
    return sums, products


def _pair_sums(x: NDArray[Any], y: NDArray[Any]) -> dict[str, Any]:
    d = y - x
    return {
        "count": x.size,
        "sum_x": x.sum(),
        "sum_y": y.sum(),
        "sum_xx": (x * x).sum(),
        "sum_yy": (y * y).sum(),
        "sum_xy": (x * y).sum(),
        "sum_d": d.sum(),
        "sum_dd": (d * d).sum(),
        "sum_abs_d": np.abs(d).sum(),
        "max_abs_d": np.abs(d).max(initial=0.0),
        "max_abs_x": np.abs(x).max(initial=0.0),
        "max_abs_y": np.abs(y).max(initial=0.0),
        "min_x": x.min(initial=np.inf),
        "max_x": x.max(initial=-np.inf),
        "min_y": y.min(initial=np.inf),
        "max_y": y.max(initial=-np.inf),
    }
