"""Images read in another order of channels: the mean stays where it was."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.analyze.findings.reordered import reordered


@pytest.mark.parametrize(
    ("mean", "scale"),
    [("104,117,123", "none"), ("104,117,123", "0.5,0.25,2"), ("127.5", "0.0078125"), ("none", "0.5,1,2")],
)
def test_as_if_read_in_that_order(mean: str, scale: str) -> None:
    raw = np.random.default_rng(0).uniform(0, 255, (1, 3, 4, 5)).astype(np.float32)
    subtract = np.array([float(part) for part in mean.split(",")] if mean != "none" else [0.0]).reshape(1, -1, 1, 1)
    multiply = np.array([float(part) for part in scale.split(",")] if scale != "none" else [1.0]).reshape(1, -1, 1, 1)
    order = (2, 0, 1)
    read = ((raw - subtract) * multiply).astype(np.float32)
    expected = (raw[:, list(order)] - subtract) * multiply
    found = reordered(read, order, {"mean": mean, "scale": scale})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("steps", [{}, {"mean": "mean.npy", "scale": "none"}, {"mean": "1,2", "scale": "0,1,1"}])
def test_what_is_not_known_moves_with_its_channel(steps: dict[str, str]) -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    np.testing.assert_array_equal(reordered(image, (2, 1, 0), steps), image[:, ::-1])
