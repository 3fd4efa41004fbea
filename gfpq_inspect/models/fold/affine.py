"""The arithmetic of folding: a layer that computes `scale * x + shift` a channel goes into the weights before it.

Everything is double precision and rounded once, at the end, so that a folded weight is within half a unit in the last
place of the exact product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Affine:
    """y = scale * x + shift, one entry a channel.

    Attributes:
        scale: float64 [channels].
        shift: float64 [channels].
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def identity(cls, channels: int) -> Affine:
        """Return y = x."""
        return cls(np.ones(channels), np.zeros(channels))

    def times(self, factor: NDArray[Any] | float) -> Affine:
        """Return this, then a multiplication."""
        with np.errstate(all="ignore"):
            return Affine(self.scale * factor, self.shift * factor)

    def over(self, divisor: NDArray[Any] | float) -> Affine:
        """Return this, then a division."""
        with np.errstate(all="ignore"):
            return Affine(self.scale / divisor, self.shift / divisor)

    def plus(self, summand: NDArray[Any] | float) -> Affine:
        """Return this, then an addition."""
        return Affine(self.scale, self.shift + summand)

    def normalised(
        self, mean: NDArray[np.float32], variance: NDArray[np.float32], factor: np.float32, epsilon: np.float32
    ) -> Affine:
        """Return this, then Caffe's BatchNorm: (x - mean) / sqrt(variance + eps).

        Stored sums are divided by the stored factor, a factor of 0 counts as no sums (spec: Caffe, section 6.3). Mean
        and deviation are worked out in float32, as Caffe does, so that folding starts from the numbers that it uses.
        """
        average, deviation = batch_norm_constants(mean, variance, factor, epsilon)
        return self.plus(-average.astype(np.float64)).over(deviation.astype(np.float64))

    @property
    def is_finite(self) -> bool:
        """Whether no channel is infinite or NaN."""
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())


def batch_norm_constants(
    mean: NDArray[np.float32], variance: NDArray[np.float32], factor: np.float32, epsilon: np.float32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what Caffe's BatchNorm subtracts and divides by, from its three blobs and eps; all float32."""
    with np.errstate(all="ignore"):
        scale = np.float32(0) if factor == 0 else np.float32(1) / np.float32(factor)
        return mean * scale, np.sqrt(variance * scale + epsilon, dtype=np.float32)


def fold_weight(
    weight: NDArray[Any], scale: NDArray[np.float64], *, axis: int = 0, group: int | None = None
) -> NDArray[Any]:
    """Multiply each output channel of a kernel by its factor.

    Args:
        weight: The kernel.
        scale: float64 [output channels].
        axis: Axis of the output channels; ignored with `group`.
        group: For a transposed convolution its number of groups. The kernel is then (I, O / group, k...): input
            channels of group g reach the output channels g * O / group to (g + 1) * O / group.

    Returns:
        The kernel in its own shape and type, rounded once.
    """
    with np.errstate(all="ignore"):
        if group is None:
            along = [1] * weight.ndim
            along[axis] = -1
            return (weight.astype(np.float64) * scale.reshape(along)).astype(weight.dtype)
        inputs, outputs = weight.shape[:2]
        grouped = weight.astype(np.float64).reshape(group, inputs // group, outputs, *weight.shape[2:])
        factors = scale.reshape(group, 1, outputs, *[1] * (weight.ndim - 2))
        return (grouped * factors).reshape(weight.shape).astype(weight.dtype)


def fold_bias(bias: NDArray[Any] | float, affine: Affine, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return scale * bias + shift, rounded once to `dtype`."""
    with np.errstate(all="ignore"):
        summand = bias.astype(np.float64) if isinstance(bias, np.ndarray) else bias
        return np.asarray(affine.scale * summand + affine.shift).astype(dtype)
