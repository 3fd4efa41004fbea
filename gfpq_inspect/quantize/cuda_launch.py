"""GPU kernels launched so that each is brought onto the GPU while the one before it still runs.

A kernel for this waits itself for the one before it (griddepcontrol.wait); then only the time between the end of one
kernel and the first instruction of the next goes. CUDA calls it programmatic dependent launch. CuPy does not offer it,
so the driver is called directly.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

Launch = Callable[[tuple[int, int], tuple[int], tuple[Any, ...]], None]
"""Takes the grid, the threads of a block, and the arguments: CuPy arrays and 64-bit integers."""

_PROGRAMMATIC_STREAM_SERIALIZATION = 6  # of CUlaunchAttributeID
_FIRST_CAPABILITY = 90
_FIRST_DRIVER = 12030  # before, launches like these could not be recorded in a graph


class _Attribute(ctypes.Structure):
    """CUlaunchAttribute; its value is a union of 64 bytes."""

    _fields_ = (("id", ctypes.c_uint), ("padding", ctypes.c_uint), ("value", ctypes.c_uint64 * 8))


class _Configuration(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("attribute_count", ctypes.c_uint),
    )


def overlapping(cupy: Any, kernel: Any) -> Launch:
    """A kernel's launch that overlaps with the kernel before it, where GPU and driver can.

    Args:
        cupy: The module.
        kernel: A cupy.RawKernel that executes griddepcontrol.wait before it reads or writes global memory.

    Returns:
        Queues the kernel on CuPy's current stream; raises CuPy's CUDADriverError where it cannot be launched.
    """
    attributes = (_Attribute * 1)()
    attributes[0].id = _PROGRAMMATIC_STREAM_SERIALIZATION
    attributes[0].value[0] = 1

    def launch(grid: tuple[int, int], block: tuple[int], arguments: tuple[Any, ...]) -> None:
        function = _launch_function(cupy, cupy.cuda.runtime.getDevice())
        if function is None:
            kernel(grid, block, arguments)
            return
        words = [item.data.ptr if isinstance(item, cupy.ndarray) else int(item) for item in arguments]
        values = (ctypes.c_uint64 * len(words))(*words)
        first = ctypes.addressof(values)
        parameters = (ctypes.c_void_p * len(words))(*range(first, first + 8 * len(words), 8))
        stream = cupy.cuda.get_current_stream().ptr
        shape = _Configuration((*grid, 1), (*block, 1, 1), 0, stream, attributes, 1)
        status = function(ctypes.byref(shape), kernel.kernel.ptr, parameters, None)
        if status != 0:
            raise cupy.cuda.driver.CUDADriverError(status)

    return launch


@cache
def _launch_function(cupy: Any, device: int) -> Callable[..., int] | None:
    """The driver's cuLaunchKernelEx; None where launches on this GPU cannot overlap."""
    if int(cupy.cuda.Device(device).compute_capability) < _FIRST_CAPABILITY:
        return None
    if cupy.cuda.runtime.driverGetVersion() < _FIRST_DRIVER:
        return None
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        function = driver.cuLaunchKernelEx
    except (OSError, AttributeError):  # no such library, or an old one
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    function.restype = ctypes.c_int
    return function
