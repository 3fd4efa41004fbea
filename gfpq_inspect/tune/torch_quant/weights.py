"""All weights of a model, quantized for forward and backward, float for the step."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from gfpq_inspect.quantize import GfpqParam
from gfpq_inspect.tune.torch_quant.layers import has_weight_of_its_own, inner_model, quantized_layers
from gfpq_inspect.tune.torch_quant.swap import WeightSwap
from gfpq_inspect.tune.torch_quant.tensors import Tensor


class QuantizedWeights:
    """Swaps quantized weights in and the float master back.

    BatchNorm, biases and everything else are left alone, and so is the optimizer's history.

        weights = QuantizedWeights(model)
        with weights.quantized():
            criterion(model(images), labels).backward()
        optimizer.step()
        torch.save(weights.state_dict(), "quantized.pth")

    Args:
        model: Any model, wrapped in DataParallel or not.
        bits: 8 or 16; modules named *_hp get 16, modules named *_cpu stay float.
        layers: Names of the modules to quantize; by default all that NNIE quantizes.

    Attributes:
        names: Names of the modules whose weights are quantized, in order; of several that share a weight the first.
        skipped: Modules that NNIE would quantize and that stay float here, with the reason.

    Raises:
        QuantizationError: Bad bits, or a name that is none of such a module.
    """

    def __init__(self, model: nn.Module, bits: int = 8, layers: Collection[str] | None = None) -> None:
        self._model = inner_model(model)
        self.skipped: dict[str, str] = {}
        self._modules: dict[str, Any] = {}
        self._swaps: dict[str, WeightSwap] = {}
        seen: set[int] = set()
        for layer in quantized_layers(model, bits, layers, pooling=False):
            if not has_weight_of_its_own(layer.module):
                self.skipped[layer.name] = "its weight is computed from other parameters"
            elif id(layer.module.weight) not in seen:
                seen.add(id(layer.module.weight))
                self._modules[layer.name] = layer.module
                self._swaps[layer.name] = WeightSwap(layer.name, layer.bits)
        self.names = tuple(self._swaps)

    @property
    def active(self) -> bool:
        """Whether the model holds quantized weights now."""
        return any(swap.is_quantized for swap in self._swaps.values())

    def quantize(self) -> None:
        """Remember the float weights and put quantized ones in their place.

        Raises:
            QuantizationError: A weight is not finite; says which. Nothing is changed then.
        """
        for name, swap in self._swaps.items():
            if not swap.is_quantized:
                swap.check(self._modules[name].weight)
        for name, swap in self._swaps.items():
            swap.quantize(self._modules[name].weight)

    def restore(self) -> None:
        """Put the float weights back; gradients stay."""
        for name, swap in self._swaps.items():
            swap.restore(self._modules[name].weight)

    @contextmanager
    def quantized(self) -> Iterator[None]:
        """Quantized weights inside a `with`, the float master after it, whatever happens.

        One inside another changes nothing.

        Raises:
            QuantizationError: A weight is not finite; says which.
        """
        outermost = not self.active
        self.quantize()
        try:
            yield
        finally:
            if outermost:
                self.restore()

    def state_dict(self) -> dict[str, Tensor]:
        """The model's state with quantized weights, for the export; the model keeps its float master.

        Raises:
            QuantizationError: A weight is not finite; says which.
        """
        with self.quantized():
            return {
                name: value.detach().clone() if isinstance(value, Tensor) else value
                for name, value in self._model.state_dict().items()
            }

    def params(self) -> dict[str, GfpqParam]:
        """The coefficients of the last quantization by module, as the mapper wants them; {} before the first."""
        return {name: GfpqParam(swap.delta) for name, swap in self._swaps.items() if swap.delta is not None}
