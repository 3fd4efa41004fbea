"""The operator that PyTorch records: quantize and dequantize forward, the gradient straight through backward.

It is a registered operator, `gfpq_inspect::quantize_dequantize`, so that autograd, autocast, torch.compile and
torch.export see one opaque step with known shapes instead of a call into foreign code. It never works in place:
autograd may still need what it reads.
"""

from __future__ import annotations

import struct
import warnings
from typing import Any, NamedTuple

import torch

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import Mode, gfpq_of, kernels
from gfpq_inspect.tune.torch_quant import tensors
from gfpq_inspect.tune.torch_quant.tensors import Tensor

UNSET = -(2**31)
"""Stands for a coefficient where there is none yet; smaller than every coefficient, so UPDATE needs no case."""


class State(NamedTuple):
    """What a quantization point remembers, as numbers.

    In tensors it is int64 [4], which neither `.half()` nor `.bfloat16()` of a model rounds.

    Attributes:
        delta: The coefficient, or `UNSET`.
        batches: Tensors seen, empty ones left out.
        nonfinite: Infinities and NaN seen.
        largest: Largest finite magnitude seen.
    """

    delta: int = UNSET
    batches: int = 0
    nonfinite: int = 0
    largest: float = 0.0

    @classmethod
    def of(cls, tensor: Tensor) -> State:
        """Read a tensor."""
        delta, batches, nonfinite, bits = tensor.tolist()
        return cls(delta, batches, nonfinite, struct.unpack("<d", struct.pack("<q", bits))[0])

    def tensor(self) -> Tensor:
        """Write a tensor on the CPU; the magnitude as the bits of a double."""
        (bits,) = struct.unpack("<q", struct.pack("<d", self.largest))
        return torch.tensor([self.delta, self.batches, self.nonfinite, bits], dtype=torch.int64)


class NoCoefficientWarning(UserWarning):
    """A tensor was to be quantized with a stored coefficient, and there was none."""


class Quantized(NamedTuple):
    """What a call gives.

    Attributes:
        values: The tensor on the grid, in its own shape and type.
        state: What is to be remembered, int64 [4] as `State` says.
    """

    values: Tensor
    state: Tensor


_SCHEMA = "(Tensor values, Tensor state, int mode, int bits, str nonfinite, str where) -> (Tensor, Tensor)"


@torch.library.custom_op("gfpq_inspect::quantize_dequantize", mutates_args=(), schema=_SCHEMA)
def _quantize_dequantize(  # noqa: PLR0917  (the schema has no keywords)
    values: Tensor, state: Tensor, mode: int, bits: int, nonfinite: str, where: str
) -> tuple[Tensor, Tensor]:
    tensors.check(values, where)
    found = tensors.extremes(values)
    count = found.nan_count + found.infinity_count
    if count and nonfinite == "error":
        raise QuantizationError(
            f"{where}{count} of {values.numel()} elements are not finite ({found.nan_count} NaN, "
            f"{found.infinity_count} infinite); did training diverge? Lower the learning rate, or quantize with "
            "nonfinite='count' to saturate infinities and take NaN for 0."
        )
    only_infinities = found.largest == 0.0 and found.infinity_count > 0
    own = kernels.coefficient_of(float("inf") if only_infinities else found.largest, bits)
    held = State.of(state)
    if mode == Mode.APPLY_ONLY and held.delta == UNSET:
        warnings.warn(
            f"{where}no coefficient is stored yet, so each batch sets its own; run batches in training mode first.",
            NoCoefficientWarning,
            stacklevel=2,
        )
    delta = {Mode.INIT: own, Mode.UPDATE: max(held.delta, own), Mode.APPLY_ONLY: held.delta}[Mode(mode)]
    out = tensors.apply(values, bits, own if delta == UNSET else delta, torch.empty_like(values))
    after = State(delta, held.batches + 1, held.nonfinite + count, max(held.largest, found.largest))
    return out, (after if values.numel() else held).tensor().to(state.device)


@_quantize_dequantize.register_fake
def _shapes(values: Tensor, state: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(values), torch.empty_like(state)


def _mark(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001 (PyTorch calls it so)
    ctx.mark_non_differentiable(output[1])


def _straight_through(ctx: Any, gradient: Tensor, state: Tensor) -> tuple[Tensor, None, None, None, None, None]:  # noqa: ARG001 (PyTorch calls it so)
    """Pass the gradient on unchanged, also where values saturate or underflow, as the Quant layer for Caffe does."""
    return gradient, None, None, None, None, None


_quantize_dequantize.register_autograd(_straight_through, setup_context=_mark)


def quantize(
    values: Tensor,
    state: Tensor,
    mode: Mode | int,
    bits: int = 8,
    *,
    nonfinite: str = "error",
    where: str = "",
) -> Quantized:
    """Quantize and dequantize with a coefficient that lies in a tensor, on which nothing here branches.

    Args:
        values: Floating-point tensor, any shape and strides, on the CPU or a CUDA GPU.
        state: int64 [4], as `State` says; not changed.
        mode: INIT takes the coefficient from the data, UPDATE the larger of that and the stored one, APPLY_ONLY the
            stored one (and that of the data, with a warning, where none is stored).
        bits: 8 or 16.
        nonfinite: 'error' refuses infinities and NaN; 'count' saturates infinities, takes NaN for 0 and says how many.
        where: Start of messages, such as "layer 'conv1': ".

    Returns:
        The result and what was found.

    Raises:
        QuantizationError: Bad bits or mode, no floating-point numbers, or something is not finite.
        MissingExtraError: On a GPU without CuPy.
    """
    gfpq_of(bits)
    if mode not in (0, 1, 2):
        raise QuantizationError(f"the mode is 0 (INIT), 1 (UPDATE) or 2 (APPLY_ONLY), not {mode!r}.")
    if nonfinite not in ("error", "count"):
        raise QuantizationError(f"nonfinite is 'error' or 'count', not {nonfinite!r}.")
    return Quantized(*_quantize_dequantize(values, state, int(mode), bits, nonfinite, where))


def fake_quantize(values: Tensor, bits: int = 8, delta: int | None = None, *, where: str = "") -> Tensor:
    """Round every element to the grid, bit for bit as the vendor's library does; the gradient goes straight through.

    Args:
        values: Floating-point tensor; float16 and bfloat16 are computed in float32 and rounded back.
        bits: 8 or 16.
        delta: Coefficient; taken from the data (INIT) when None.
        where: Start of messages, such as "layer 'conv1': ".

    Returns:
        A new tensor of the same shape, type and device.

    Raises:
        QuantizationError: Bad bits, no floating-point numbers, or something is not finite.
        MissingExtraError: On a GPU without CuPy.
    """
    mode = Mode.INIT if delta is None else Mode.APPLY_ONLY
    state = State() if delta is None else State(delta)
    return quantize(values, state.tensor(), mode, bits, where=where).values
