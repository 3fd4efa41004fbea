"""Whether the optimised layers give the numbers of the model's own nodes: looked at on one sample, not believed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.steps import Step

Array = NDArray[Any]

_TOLERANCE = 1e-4
"""Of the largest magnitude: kernels that add in another order stay a hundred times below, a wrong layer does not."""
_FLOOR = 1e-6
"""Absolute: ONNX Runtime's own approximations of logistic functions are no better."""


def first_difference(layers: Iterable[tuple[Step, dict[str, Array], list[Array]]], plain: LayeredEngine) -> str | None:
    """The first optimised layer that gives other numbers than the model's own nodes, in one clause, or None.

    Args:
        layers: Every step with what it read and what it gave, for one sample.
        plain: An engine that runs the model's own nodes.
    """
    for step, read, given in layers:
        if not step.replaced:
            continue
        for found, expected in zip(given, plain.run_layer(step, read, 1), strict=True):
            if not _agree(found, expected):
                return f"the optimised layer '{step.layer.name}' gives other numbers than the model's own"
    return None


def _agree(found: Array, expected: Array) -> bool:
    if not isinstance(expected, np.ndarray) or not np.issubdtype(expected.dtype, np.floating):
        return bool(np.array_equal(found, expected))
    if found.shape != expected.shape:
        return False
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)):
        return False
    if not finite.any():
        return True
    one, other = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    return bool(np.abs(one - other).max() <= _TOLERANCE * np.abs(other).max() + _FLOOR)
