"""What an ONNX operator is called with, as the functions of `torch_operators` and its neighbours see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Tensor = torch.Tensor

Function = Callable[["Call"], "Tensor | Sequence[Tensor]"]
"""An operator: the outputs of a call."""


class UnsupportedError(Exception):
    """A way of using an operator that has no counterpart here; the layer then runs on the CPU."""


@dataclass(frozen=True)
class Call:
    """One node with its inputs.

    Attributes:
        inputs: Tensors, None where an optional input is left away.
        known: The same as arrays where they are initializers: reading those needs no device.
        attributes: By name; text is str.
        opset: Version of ONNX's own operators.
        outputs: Number of outputs.
    """

    inputs: Sequence[Tensor | None]
    known: Sequence[NDArray[Any] | None]
    attributes: Mapping[str, Any]
    opset: int
    outputs: int

    def __getitem__(self, index: int) -> Tensor:
        """An input that must be there."""
        tensor = self.inputs[index]
        if tensor is None:
            raise UnsupportedError(f"input {index} is missing")
        return tensor

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def array(self, index: int) -> NDArray[Any]:
        """An input on the host."""
        known = self.known[index]
        return self[index].cpu().numpy() if known is None else known

    def integers(self, index: int, attribute: str | None = None) -> list[int] | None:
        """Whole numbers from an input or, in older versions, an attribute; None where neither is given."""
        if self.has(index):
            return [int(number) for number in np.ravel(self.array(index))]
        if attribute is not None and attribute in self.attributes:
            return [int(number) for number in self.attributes[attribute]]
        return None

    def number(self, index: int, attribute: str | None, default: float) -> float:
        """One number from an input or, in older versions, an attribute."""
        if self.has(index):
            return float(np.ravel(self.array(index))[0])
        return float(self.attributes.get(attribute, default)) if attribute is not None else default

    def option(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)
