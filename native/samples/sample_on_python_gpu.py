"""The GFPQ library on GPU memory from Python, with nothing but ctypes.

The GPU's memory comes from the driver, so neither CuPy nor PyTorch is needed. An array of either works as well: pass
its address (`array.data.ptr`, `tensor.data_ptr()`), and the address of its stream.

    python3 sample_on_python_gpu.py [path of libgfpq_gpu.so or gfpq_gpu.dll]
"""

import ctypes
import datetime
import os
import sys
from pathlib import Path

GFPQ_MODE_INIT = 0
GFPQ_BIT_WIDTH_8BIT = 8


class GFPQ_PARAM_ST(ctypes.Structure):  # noqa: N801  (the library's own name)
    """A mode and 16 bytes."""

    _fields_ = [("mode", ctypes.c_int), ("buf", ctypes.c_byte * 16)]


class Gpu:
    """Memory and a stream of the first GPU, through the CUDA driver."""

    def __init__(self):
        self.driver = ctypes.cdll.LoadLibrary("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        self.call("cuInit", 0)
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        context = ctypes.c_void_p()
        # The primary context is the one that the library's CUDA runtime uses, too.
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(self.stream), 0)

    def call(self, name, *arguments):
        """Call the driver; leave with its error code if it says no."""
        code = getattr(self.driver, name)(*arguments)
        if code != 0:
            sys.exit(f"{name} failed({code}): is there an NVIDIA GPU with a driver?")

    def copy_in(self, data):
        """The address of a copy of `data` on the GPU."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(ctypes.sizeof(data)))
        self.call("cuMemcpyHtoD_v2", address, data, ctypes.c_size_t(ctypes.sizeof(data)))
        return address

    def copy_out(self, address, data):
        """Fill `data` from the GPU, once the stream has done its work."""
        self.call("cuStreamSynchronize", self.stream)
        self.call("cuMemcpyDtoH_v2", data, address, ctypes.c_size_t(ctypes.sizeof(data)))


def find_library(name):
    """The path on the command line, else the library beside this folder."""
    if len(sys.argv) > 1:
        return sys.argv[1]
    file_name = name + ".dll" if os.name == "nt" else "lib" + name + ".so"
    return str(Path(__file__).resolve().parent.parent / "lib" / file_name)


def show(title, numbers):
    """One line of numbers."""
    print(title, " ".join(f"{number:.10f}" for number in numbers))


def main():
    """Quantize 0 ... 9 on the GPU and show what became of them."""
    library = ctypes.cdll.LoadLibrary(find_library("gfpq_gpu"))
    try:
        gpu = Gpu()
    except OSError as error:
        sys.exit(f"the CUDA driver is not installed: {error}")
    data = (ctypes.c_float * 10)(*range(10))
    expected = (ctypes.c_float * 10)(
        0, 1, 2, 2.9536523819, 4, 4.9674310684, 5.9073047638, 7.0250086784, 8, 8.7240619659
    )
    param = GFPQ_PARAM_ST()
    param.mode = GFPQ_MODE_INIT
    cublas_handle = ctypes.c_void_p()  # accepted, but not needed

    show("Origin data:", data)
    address = gpu.copy_in(data)
    begin = datetime.datetime.now()
    ret = library.HI_GFPQ_QuantAndDeQuant_GPU_PY(
        ctypes.c_void_p(address.value), len(data), GFPQ_BIT_WIDTH_8BIT, ctypes.byref(param), gpu.stream, cublas_handle
    )
    end = datetime.datetime.now()
    gpu.copy_out(address, data)
    show("QuantAndDeQuant:", data)
    show("Data expected:", expected)
    print("HI_GFPQ_QuantAndDeQuant PY time:" + str(end - begin))
    if ret != 0:
        print(f"HI_GFPQ_QuantAndDeQuant failed(0x{ret & 0xFFFFFFFF:x})")
        return 1
    if list(data) != list(expected):
        print("HI_GFPQ_QuantAndDeQuant returned other numbers than expected")
        return 1
    print("HI_GFPQ_QuantAndDeQuant success")
    print("GFPQ_PARAM:", " ".join(hex(abs(byte)) for byte in param.buf))
    return 0


if __name__ == "__main__":
    sys.exit(main())
