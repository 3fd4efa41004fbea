"""A quantization point as a module: what the Quant layer is to Caffe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from gfpq_inspect.tune.torch_quant.observers import Observer, UpdateObserver
from gfpq_inspect.tune.torch_quant.operator import quantize
from gfpq_inspect.tune.torch_quant.tensors import Tensor


class FakeQuantize(nn.Module):
    """Rounds what it reads to the grid; the gradient goes through unchanged.

    It can be called by itself, stand in a Sequential, or serve as `activation` and `weight` of a `torch.ao` QConfig
    (`FakeQuantize.with_args(...)`).

    Args:
        bits: 8 or 16.
        observer: Where the coefficient comes from; an `UpdateObserver` when None.
        nonfinite: 'error' refuses infinities and NaN; 'count' saturates infinities, takes NaN for 0, and adds their
            number to the observer's.
        name: Name of the layer, for messages.

    Attributes:
        enabled: False passes everything on as it is.

    Raises:
        QuantizationError: Bad bits.
    """

    def __init__(
        self, bits: int = 8, observer: Observer | None = None, *, nonfinite: str = "error", name: str = ""
    ) -> None:
        super().__init__()
        self.observer = observer if observer is not None else UpdateObserver(bits)
        self.nonfinite = nonfinite
        self.name = name
        self.enabled = True

    @property
    def bits(self) -> int:
        """Bit width."""
        return self.observer.bits

    def forward(self, values: Tensor) -> Tensor:
        """Quantize and dequantize.

        Args:
            values: Floating-point tensor, any shape.

        Returns:
            A new tensor of the same shape and type.

        Raises:
            QuantizationError: No floating-point numbers, or something is not finite.
        """
        if not self.enabled:
            return values
        observer = self.observer
        where = f"layer '{self.name}': " if self.name else ""
        done = quantize(values, observer.state, observer.mode, observer.bits, nonfinite=self.nonfinite, where=where)
        observer.absorb(done.state)
        return done.values

    @classmethod
    def with_args(cls, bits: int = 8, observer: type[Observer] = UpdateObserver) -> Callable[..., FakeQuantize]:
        """A maker of modules, as `torch.ao.quantization.QConfig` wants them."""
        return partial(_make, cls, bits, observer)

    def extra_repr(self) -> str:
        """For print(model)."""
        return "" if self.enabled else "disabled"


def _make(
    kind: type[FakeQuantize], bits: int, observer: type[Observer], *, factory_kwargs: dict[str, Any] | None = None
) -> FakeQuantize:
    """Make a module where `torch.ao` tells it its device."""
    return kind(observer=observer(bits)).to((factory_kwargs or {}).get("device"))
