"""The quantizer on PyTorch's memory: the native kernels where a tensor lies on the CPU, the CUDA kernels on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gfpq_inspect import _native
from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import cuda_kernels, kernels
from gfpq_inspect.quantize.cuda_kernels import Extremes

Tensor = torch.Tensor

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What GFPQ quantizes. Halves are computed in float32; the result is rounded back."""


def check(tensor: Tensor, where: str = "") -> None:
    """Refuse what the kernels cannot read.

    Args:
        tensor: Any tensor.
        where: Start of the message, such as "layer 'conv1': ".

    Raises:
        QuantizationError: No floating-point numbers, not dense, or on a device other than CPU and CUDA.
    """
    if tensor.dtype not in FLOATING:
        raise QuantizationError(
            f"{where}GFPQ quantizes floating-point numbers, not {tensor.dtype}; convert with .float() where that is "
            "meant."
        )
    if tensor.layout is not torch.strided:
        raise QuantizationError(f"{where}GFPQ quantizes dense tensors, not {tensor.layout}; call .to_dense() first.")
    if tensor.device.type not in ("cpu", "cuda"):
        raise QuantizationError(
            f"{where}GFPQ has kernels for CPU and CUDA, the tensor lies on {tensor.device}; bring it to one of them."
        )


def extremes(tensor: Tensor) -> Extremes:
    """Largest finite magnitude of a tensor, and how many of its elements are not finite; read where they lie.

    Raises:
        MissingExtraError: On a GPU without CuPy.
    """
    elements = _wide(_in_memory_order(tensor.detach()))
    if not elements.is_cuda:
        largest, nan_count, infinity_count, _ = _native.largest_magnitude(elements.contiguous().numpy())
        return Extremes(largest, nan_count, infinity_count)
    with _stream(elements) as numeric:
        return cuda_kernels.extremes(numeric.from_dlpack(elements.contiguous()))


def apply(tensor: Tensor, bits: int, delta: int, out: Tensor) -> Tensor:
    """Quantize and dequantize with a given coefficient.

    Args:
        tensor: As `check` wants it.
        bits: 8 or 16.
        delta: Coefficient.
        out: Where the result goes: same shape, type and device; may be `tensor` itself.

    Returns:
        `out`.

    Raises:
        MissingExtraError: On a GPU without CuPy.
    """
    if tensor.numel() == 0:
        return out
    source, target = _in_memory_order(tensor.detach()), _in_memory_order(out.detach())
    if source.shape != target.shape or source.stride() != target.stride() or not target.is_contiguous():
        source, target = tensor.detach(), out.detach()
    elements = _wide(source).contiguous()
    direct = target.is_contiguous() and target.dtype == elements.dtype
    result = target if direct else torch.empty_like(elements)
    if elements.is_cuda:
        with _stream(elements) as numeric:
            cuda_kernels.apply(numeric.from_dlpack(elements), bits, delta, out=numeric.from_dlpack(result))
    else:
        kernels.apply(elements.numpy(), bits, delta, out=result.numpy())
    if not direct:
        target.copy_(result)
    return out


def _in_memory_order(tensor: Tensor) -> Tensor:
    """The axes in the order in which they lie in memory, so that channels_last is read as it is."""
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_contiguous():
        return tensor
    strides = tensor.stride()
    return tensor.permute(sorted(range(tensor.dim()), key=lambda axis: -strides[axis]))


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


@contextmanager
def _stream(tensor: Tensor) -> Iterator[Any]:
    """CuPy, with the tensor's device and PyTorch's stream on it current."""
    numeric = cuda_kernels.cupy()
    stream = torch.cuda.current_stream(tensor.device)
    with numeric.cuda.Device(tensor.device.index), cuda_kernels.stream(stream.cuda_stream):
        yield numeric
