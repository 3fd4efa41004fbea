"""One weight in two forms: quantized for forward and backward, the float master for the step."""

from __future__ import annotations

import math
import warnings

import torch

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import gfpq_of, kernels
from gfpq_inspect.tune.torch_quant import tensors
from gfpq_inspect.tune.torch_quant.tensors import Tensor


class MasterWarning(UserWarning):
    """Weights were changed while they stood quantized in the model: the float master did not get the change."""


class WeightSwap:
    """Puts a weight's quantized values into its parameter, and the float master back.

    The parameter object stays the same, and so does its memory; optimizers, hooks and gradients never notice. Copies
    and pickles with the model.

    Args:
        name: Name of the layer, for messages.
        bits: 8 or 16.

    Attributes:
        name: Name of the layer.
        bits: Bit width.
        delta: Coefficient of the last quantization; None before the first.
    """

    def __init__(self, name: str, bits: int) -> None:
        gfpq_of(bits)
        self.name = name
        self.bits = bits
        self.delta: int | None = None
        self._master: Tensor | None = None

    @property
    def is_quantized(self) -> bool:
        """Whether the parameter holds quantized values now."""
        return self._master is not None

    def check(self, weight: Tensor) -> None:
        """Refuse a weight that cannot be quantized.

        Raises:
            QuantizationError: Something is not finite, or no floating-point numbers.
        """
        where = f"layer '{self.name}': " if self.name else ""
        tensors.check(weight, where)
        found = tensors.extremes(weight)
        count = found.nan_count + found.infinity_count
        if count:
            raise QuantizationError(
                f"{where}{count} of its {weight.numel()} weights are not finite; did training diverge? Lower the "
                "learning rate, and go on from the last good checkpoint."
            )

    def quantize(self, weight: Tensor) -> None:
        """Remember the float weight and put quantized values in its place; nothing to do where they stand already.

        Args:
            weight: The parameter.

        Raises:
            QuantizationError: As `check`; nothing is changed then.
        """
        if self._master is not None and self._is_ours(weight):
            return
        self.check(weight)
        if self._master is not None:
            self._warn()
        master = weight.detach().clone()
        self.delta = coefficient(master, self.bits)
        tensors.apply(master, self.bits, self.delta, weight.data)
        self._master = master

    def restore(self, weight: Tensor) -> None:
        """Put the float master back; gradients stay.

        A weight that was changed while it stood quantized keeps the change, with a warning.

        Args:
            weight: The parameter.
        """
        if self._master is None:
            return
        if self._is_ours(weight):
            weight.data.copy_(self._master)
        else:
            self._warn()
        self._master = None

    def rounded(self, weight: Tensor) -> Tensor:
        """What `quantize` would put into the parameter, as a new tensor."""
        self.check(weight)
        source = weight.detach()
        return tensors.apply(source, self.bits, coefficient(source, self.bits), torch.empty_like(source))

    def _is_ours(self, weight: Tensor) -> bool:
        """Whether the parameter still holds what was put there, on whatever device and in whatever type it is now."""
        master, delta = self._master, self.delta
        if master is None or delta is None or master.shape != weight.shape:
            return False
        values = tensors.apply(master, self.bits, delta, torch.empty_like(master))
        return torch.equal(values.to(weight.device, weight.dtype), weight.detach())

    def _warn(self) -> None:
        warnings.warn(
            f"layer '{self.name}': its weights were changed while they stood quantized in the model; the changed ones "
            "count as the float weights now, and steps smaller than the grid are lost. Put the float master back "
            "before optimizer.step() (unquant_weight, or leave the `with`).",
            MasterWarning,
            stacklevel=4,
        )


def coefficient(weight: Tensor, bits: int) -> int:
    """The coefficient of a weight: INIT's, but one that lies on the grid already keeps the grid that it lies on.

    INIT might take the top of such a tensor for the step below, since a top rounded to float32 may lie a hair below its
    grid point (spec: nnie, S1).
    """
    found = tensors.extremes(weight)
    own = kernels.coefficient_of(found.largest, bits)
    if found.largest == 0.0:
        return own
    grid = gfpq_of(bits)
    steps = grid.steps_per_octave * math.log2(found.largest)
    kept = round(steps) - grid.highest_code
    if kept != own + 1 or round(steps) - steps > kernels.GRID_TOLERANCE or kept > grid.highest_coefficient:
        return own
    values = tensors.apply(weight, bits, kept, torch.empty_like(weight))
    return kept if torch.equal(values, weight.detach()) else own
