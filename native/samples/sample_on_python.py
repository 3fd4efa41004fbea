"""The GFPQ library from Python, with nothing but ctypes.

    python3 sample_on_python.py [path of libgfpq.so or gfpq.dll]
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
    """Quantize 0 ... 9 and show what became of them."""
    library = ctypes.cdll.LoadLibrary(find_library("gfpq"))
    data = (ctypes.c_float * 10)(*range(10))
    expected = (ctypes.c_float * 10)(
        0, 1, 2, 2.9536523819, 4, 4.9674310684, 5.9073047638, 7.0250086784, 8, 8.7240619659
    )
    param = GFPQ_PARAM_ST()
    param.mode = GFPQ_MODE_INIT

    show("Origin data:", data)
    begin = datetime.datetime.now()
    ret = library.HI_GFPQ_QuantAndDeQuant_PY(data, len(data), GFPQ_BIT_WIDTH_8BIT, ctypes.byref(param))
    end = datetime.datetime.now()
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
