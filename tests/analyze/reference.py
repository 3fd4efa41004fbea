"""Readable twins of the native kernels, in NumPy: what the numbers should be, computed the plain way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SUM_FIELDS = (
    "count",
    "sum_x",
    "sum_y",
    "sum_xx",
    "sum_yy",
    "sum_xy",
    "sum_d",
    "sum_dd",
    "sum_abs_d",
    "max_abs_d",
    "min_x",
    "max_x",
    "different",
    "nonfinite_x",
    "nonfinite_y",
    "first_nonfinite",
)


def similarity(reference: NDArray, lanes: Sequence[NDArray]) -> tuple[NDArray, NDArray]:
    """Sums a sample and lane, and the products between the lanes' errors."""
    samples, count = reference.shape[0], len(lanes)
    sums = np.zeros((samples, count, len(SUM_FIELDS)))
    products = np.zeros((samples, count, count))
    for sample in range(samples):
        x = reference[sample].ravel().astype(np.float64)
        ys = [lane[sample].ravel().astype(np.float64) for lane in lanes]
        errors = []
        for index, y in enumerate(ys):
            finite = np.isfinite(x) & np.isfinite(y)
            xf, yf = x[finite], y[finite]
            d = yf - xf
            bad = np.flatnonzero(~finite)
            raw_x = reference[sample].ravel()
            raw_y = lanes[index][sample].ravel()
            integer = np.uint32 if raw_x.dtype == np.float32 else np.uint64
            values = {
                "count": xf.size,
                "sum_x": xf.sum(),
                "sum_y": yf.sum(),
                "sum_xx": (xf * xf).sum(),
                "sum_yy": (yf * yf).sum(),
                "sum_xy": (xf * yf).sum(),
                "sum_d": d.sum(),
                "sum_dd": (d * d).sum(),
                "sum_abs_d": np.abs(d).sum(),
                "max_abs_d": np.abs(d).max(initial=0.0),
                "min_x": xf.min(initial=np.inf),
                "max_x": xf.max(initial=-np.inf),
                "different": (raw_x.view(integer) != raw_y.view(integer)).sum(),
                "nonfinite_x": (~np.isfinite(x)).sum(),
                "nonfinite_y": (~np.isfinite(y)).sum(),
                "first_nonfinite": bad[0] if bad.size else -1,
            }
            sums[sample, index] = [values[name] for name in SUM_FIELDS]
            errors.append(np.where(finite, y - x, 0.0) if bad.size else y - x)
        products[sample] = [[float(np.dot(a, b)) for b in errors] for a in errors]
    return sums, products


def _steps(bits: int) -> tuple[int, int, int]:
    return (16, 127, 511) if bits == 8 else (128, 1407, 4095)


def largest_magnitude(array: NDArray) -> tuple[float, int]:
    """Largest finite magnitude, and how many elements are not finite."""
    finite = np.isfinite(array)
    return float(np.abs(array[finite]).max(initial=0.0)), int((~finite).sum())


def coefficient_of(magnitude: float, bits: int) -> int:
    """Coefficient of a tensor whose largest magnitude is given (spec: gfpq, section 2)."""
    steps, top, limit = _steps(bits)
    value = np.floor(steps * np.log2(magnitude or 1e-6)) - top
    return int(np.clip(value, -limit, limit))


def apply(array: NDArray, bits: int, delta: int, out: NDArray | None = None) -> NDArray:
    """Quantize and dequantize (spec: gfpq, section 3)."""
    steps, top, _ = _steps(bits)
    x = array.astype(np.float64)
    magnitude = np.abs(np.where(np.isnan(x), 0, x))
    with np.errstate(divide="ignore"):
        logarithm = steps * np.log2(magnitude)
    code = np.floor(np.clip(logarithm, -1e6, 1e6) + 0.5) - delta
    lowest = np.where(x < 0, 1, 0)
    value = 2.0 ** ((delta + np.clip(code, lowest, top)) / steps)
    zero = magnitude <= 2.0 ** ((delta + lowest) / steps) / 2
    result = np.where(zero, 0.0, np.sign(np.where(np.isnan(x), 0, x)) * value).astype(array.dtype)
    if out is not None:
        out[...] = result
        return out
    return result


def on_grid(array: NDArray, bits: int) -> bool:
    """Whether every non-zero value is a grid value and the span fits."""
    steps, top, _ = _steps(bits)
    values = np.abs(array[array != 0].astype(np.float64))
    if not values.size:
        return True
    u = steps * np.log2(values)
    return bool(np.abs(u - np.round(u)).max() < 1e-4 and np.round(u).max() - np.round(u).min() <= top)


def code_statistics(array: NDArray, bits: int, delta: int) -> dict[str, int]:
    """Counts of what the grid does to a tensor."""
    steps, top, _ = _steps(bits)
    finite = array[np.isfinite(array)].astype(np.float64)
    magnitude = np.abs(finite)
    highest, above = 2.0 ** ((delta + top) / steps), 2.0 ** ((delta + top + 1) / steps)
    return {
        "count": finite.size,
        "nonzero": int((finite != 0).sum()),
        "snapped": int(((magnitude > highest) & (magnitude < above)).sum()),
        "beyond": int((magnitude >= above).sum()),
        "flushed": int(((finite != 0) & (apply(finite, bits, delta) == 0)).sum()),
        "nonfinite": array.size - finite.size,
    }
