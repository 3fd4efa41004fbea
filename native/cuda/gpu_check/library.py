"""The libraries, called through ctypes as any user would call them."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUCCESS = 0
GENERIC, BAD_FORMAT, BAD_PARAMETERS = (code - 2**32 for code in (0xFFFF0000, 0xFFFF0005, 0xFFFF0006))
INIT, UPDATE, APPLY_ONLY = 0, 1, 2


class Parameter(ctypes.Structure):
    """GFPQ_PARAM_ST."""

    _fields_ = (("mode", ctypes.c_uint), ("buf", ctypes.c_ubyte * 16))

    @classmethod
    def of(cls, mode: int, block: bytes = bytes(16)) -> Parameter:
        """A block with a mode."""
        return cls(mode, (ctypes.c_ubyte * 16)(*block))

    @property
    def delta(self) -> int:
        """The coefficient in the block."""
        return int.from_bytes(bytes(self.buf)[4:8], "little", signed=True)


def block_of(delta: int) -> bytes:
    """A block that holds a coefficient."""
    mask = 0xFFFFFFFF
    n = ~delta & mask
    first = ((n << 3) | (n << 11) | (n << 21) | (n << 27)) & mask
    words = (first, delta & mask, first ^ 0xA5A5A5A5, ~(first ^ 0xA5A5A5A5) & mask)
    return b"".join(word.to_bytes(4, "little") for word in words)


@dataclass(frozen=True)
class Libraries:
    """The libraries that are compared.

    Attributes:
        gpu: libgfpq_gpu.
        fast: libgfpq with the fastest kernel of the machine.
        reference: libgfpq with the scalar reference.
    """

    gpu: Library
    fast: Library
    reference: Library


class Library:
    """libgfpq or libgfpq_gpu.

    Args:
        path: The shared library.
        instruction_set: Kernel of the CPU to force. A library decides once: another choice needs another copy of it.
    """

    def __init__(self, path: Path, instruction_set: str | None = None) -> None:
        if instruction_set is not None:
            os.environ["GFPQ_INSTRUCTION_SET"] = instruction_set
            copy = Path(tempfile.mkdtemp()) / f"{instruction_set}.so"
            shutil.copy(path, copy)
            path = copy
        handle = ctypes.CDLL(str(path))
        pointer, number = ctypes.c_void_p, ctypes.c_uint
        cpu, gpu = (pointer, number, number, pointer), (pointer, number, number, pointer, pointer, pointer)
        self._cpu = {4: handle["_Z23HI_GFPQ_QuantAndDeQuantPfjjP14_GFPQ_PARAM_ST"],
                     8: handle["_Z23HI_GFPQ_QuantAndDeQuantPdjjP14_GFPQ_PARAM_ST"]}  # fmt: skip
        self._gpu = {4: handle["_Z27HI_GFPQ_QuantAndDeQuant_GPUPfjjP14_GFPQ_PARAM_STPvS2_"],
                     8: handle["_Z27HI_GFPQ_QuantAndDeQuant_GPUPdjjP14_GFPQ_PARAM_STPvS2_"]}  # fmt: skip
        for functions, arguments in ((self._cpu, cpu), (self._gpu, gpu)):
            for function in functions.values():
                function.argtypes, function.restype = arguments, ctypes.c_int
        self.gpu_py = handle.HI_GFPQ_QuantAndDeQuant_GPU_PY
        self.gpu_py.argtypes = gpu
        if instruction_set is not None:
            one = ctypes.c_float(1)
            self.cpu(ctypes.addressof(one), 1, 8, None)  # decides now
            del os.environ["GFPQ_INSTRUCTION_SET"]

    def cpu(self, pointer: int, count: int, bits: int, parameter: Parameter | None, *, size: int = 4) -> int:
        """Call the CPU function for float32 (4) or float64 (8)."""
        reference = None if parameter is None else ctypes.addressof(parameter)
        return int(self._cpu[size](pointer, count, bits, reference))

    def gpu(
        self, pointer: int, count: int, bits: int, parameter: Parameter | None, *, size: int = 4, stream: int = 0
    ) -> int:
        """Call the GPU function for float32 (4) or float64 (8)."""
        reference = None if parameter is None else ctypes.addressof(parameter)
        return int(self._gpu[size](pointer, count, bits, reference, stream, None))


@contextmanager
def console() -> Iterator[list[str]]:
    """Collects the lines that the library writes to standard error."""
    lines: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += file.read().decode().splitlines()
