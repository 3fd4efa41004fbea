"""Where tensors live while the PyTorch engine runs, and the kernels that work on them there.

On 'cuda' quantization and the sums of similarity come from the CUDA kernels, which read PyTorch's memory in PyTorch's
stream; on 'cpu' from the native ones. Both give the same bits of quantized data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from gfpq_inspect.errors import UsageError
from gfpq_inspect.quantize import cuda_kernels, kernels

Tensor = torch.Tensor

_NUMPY_KINDS = "biuf"


class TorchDevice:
    """A device.

    Args:
        name: 'cpu', 'cuda' or 'cuda:N'.

    Raises:
        UsageError: PyTorch finds no such device.
        MissingExtraError: CuPy, which runs the kernels on a GPU, is not installed.
        QuantizationError: CuPy finds no GPU.
    """

    def __init__(self, name: str) -> None:
        self.on_gpu = name.startswith("cuda")
        if self.on_gpu and not torch.cuda.is_available():
            raise UsageError(
                f"PyTorch {torch.__version__} finds no CUDA GPU; check the driver with nvidia-smi and that this "
                "PyTorch was built for CUDA, or leave --device away."
            )
        try:
            self.device = torch.device(name)
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"PyTorch has no device {name!r} ({_first_line(error)}); give cpu or cuda.") from error
        if self.on_gpu:
            cuda_kernels.cupy()
            # Products of numbers cut to 10 bits, and algorithms chosen by racing them, would differ from run to run.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True
        else:
            torch.set_num_threads(1)  # workers take whole batches, as in the other engine

    @property
    def text(self) -> str:
        """For the report."""
        return torch.cuda.get_device_name(self.device) if self.on_gpu else "the CPU"

    def take(self, value: Any) -> Any:
        """An array as a tensor here; anything that PyTorch has no type for stays what it is."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in _NUMPY_KINDS or value.dtype.itemsize > 8:
            return value
        if value.dtype.kind == "u" and value.dtype.itemsize > 1:
            return value
        array = value if value.flags.writeable else value.copy()
        return torch.from_numpy(np.ascontiguousarray(array).reshape(value.shape)).to(self.device)

    def apply(self, tensor: Tensor, bits: int, delta: int) -> Tensor:
        """Quantize and dequantize a contiguous float32 or float64 tensor with a given coefficient."""
        if tensor.numel() == 0 or not self.on_gpu:
            return torch.from_numpy(kernels.apply(tensor.cpu().numpy(), bits, delta)).to(tensor.device)
        out = torch.empty_like(tensor)
        with self._stream():
            source, target = (cuda_kernels.cupy().from_dlpack(array) for array in (tensor, out))
            cuda_kernels.apply(source, bits, delta, out=target)
        return out

    def largest_magnitude(self, tensor: Tensor) -> tuple[float, int]:
        """Largest finite magnitude, and how many elements are not finite."""
        if tensor.numel() == 0 or not self.on_gpu:
            magnitude, nonfinite = kernels.largest_magnitude(tensor.cpu().numpy())
            return magnitude, nonfinite
        with self._stream():
            found = cuda_kernels.extremes(cuda_kernels.cupy().from_dlpack(tensor))
        return found.largest, found.nan_count + found.infinity_count

    def room_bytes(self) -> int:
        """What the live tensors of a batch may take of the GPU's memory: several workers and libraries use it too."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(free) // 8

    def similarity(self, reference: Tensor, lanes: Sequence[Tensor]) -> tuple[Any, Any]:
        """Sums of contiguous tensors [samples, elements], as `kernels.similarity` gives them; of CuPy on a GPU."""
        if reference.numel() == 0 or not self.on_gpu:
            return kernels.similarity(reference.cpu().numpy(), [lane.cpu().numpy() for lane in lanes])
        with self._stream():
            numeric = cuda_kernels.cupy()
            arrays = [numeric.from_dlpack(tensor) for tensor in (reference, *lanes)]
            return cuda_kernels.similarity(arrays[0], arrays[1:])

    @contextmanager
    def _stream(self) -> Iterator[None]:
        """PyTorch's current stream as CuPy's."""
        numeric = cuda_kernels.cupy()
        stream = torch.cuda.current_stream(self.device)
        with numeric.cuda.Device(stream.device_index), cuda_kernels.stream(stream.cuda_stream):
            yield


def on_host(value: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def is_floating(value: Any) -> bool:
    """Whether it is a tensor that scores have a meaning for."""
    return isinstance(value, Tensor) and value.is_floating_point()


def as_floating(tensor: Tensor) -> Tensor:
    """The tensor in a width that the kernels read, contiguous: half precision becomes float32."""
    wide = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return wide.contiguous()


def parts(tensor: Tensor, samples: int) -> list[Tensor]:
    """Each sample's part; the whole where axis 0 does not count samples."""
    if samples > 1 and tensor.dim() and tensor.shape[0] % samples == 0:
        return list(torch.split(tensor, tensor.shape[0] // samples))
    return [tensor]


def stacked(tensor: Tensor, samples: int) -> Tensor:
    """One row a sample: [samples, ...], or [1, ...] where axis 0 does not count samples."""
    counts = samples > 1 and tensor.dim() > 0 and tensor.shape[0] % samples == 0
    return tensor.reshape(samples if counts else 1, tensor.numel() // (samples if counts else 1))


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
