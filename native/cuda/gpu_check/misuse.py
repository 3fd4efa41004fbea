"""What the library says to callers who mix up their memory, and on a GPU that it was not built for."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import cupy
import numpy as np

from .library import BAD_FORMAT, BAD_PARAMETERS, GENERIC, INIT, SUCCESS, Library, Parameter, block_of, console
from .report import Report

OTHER_GPU = """
import ctypes, sys
import cupy
library = ctypes.CDLL(sys.argv[1])
data = cupy.arange(10, dtype=cupy.float32)
function = library.HI_GFPQ_QuantAndDeQuant_GPU_PY
function.argtypes = (ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
code = function(data.data.ptr, 10, 8, None, None, None)
print(code, data.get().tolist() == list(range(10)))
"""


class Misuse:
    """The wrong calls.

    Args:
        report: Takes the findings.
        gpu: libgfpq_gpu.
    """

    def __init__(self, report: Report, gpu: Library) -> None:
        self.report, self.gpu = report, gpu

    def _expect(self, name: str, answer: tuple[int, int], lines: list[str], words: str, unchanged: bool) -> None:
        code, wanted = answer
        said = lines[0] if lines else ""
        passed = code == wanted and len(lines) == 1 and words in said and unchanged
        self.report.check("misuse", name, passed, f"{code & 0xFFFFFFFF:#x} {said}")

    def run(self) -> None:
        """Every documented error, with data and block unchanged."""
        host = np.array([1, -2, 3.3, 4], np.float32)
        device = cupy.asarray(host)
        pinned = cupy.cuda.alloc_pinned_memory(64)
        managed = cupy.cuda.malloc_managed(64)
        before = Parameter.of(INIT, block_of(7))

        def unchanged() -> bool:
            same = device.get().tolist() == host.tolist() == np.array([1, -2, 3.3, 4], np.float32).tolist()
            return same and bytes(parameter) == bytes(before)

        for name, pointer, bits, wanted, words in (
            ("CPU memory to a GPU function", host.ctypes.data, 8, BAD_PARAMETERS, "is CPU memory"),
            ("pinned CPU memory to a GPU function", pinned.ptr, 8, BAD_PARAMETERS, "is CPU memory"),
            ("an address that is no memory", 0x1000, 8, BAD_PARAMETERS, "is CPU memory"),
            ("NULL", 0, 8, BAD_PARAMETERS, "is NULL"),
            ("a width that does not exist", device.data.ptr, 12, BAD_FORMAT, "bit width 12"),
            ("an address that no float can have", device.data.ptr + 2, 8, BAD_PARAMETERS, "not a multiple of 4"),
        ):
            parameter = Parameter.of(INIT, block_of(7))
            with console() as lines:
                code = self.gpu.gpu(pointer, 3, bits, parameter)
            self._expect(name, (code, wanted), lines, words, unchanged())
        parameter = Parameter.of(INIT, block_of(7))
        with console() as lines:
            code = self.gpu.cpu(device.data.ptr, 4, 8, parameter)
        self._expect("GPU memory to a CPU function", (code, BAD_PARAMETERS), lines, "is GPU memory", unchanged())
        block = cupy.zeros(20, cupy.uint8)
        with console() as lines:
            code = int(self.gpu.gpu_py(device.data.ptr, 4, 8, ctypes.c_void_p(block.data.ptr), None, None))
        self._expect("a block in GPU memory", (code, BAD_PARAMETERS), lines, "parameter pointer", unchanged())
        with console() as lines:
            ctypes.memmove(managed.ptr, host.ctypes.data, 16)
            on_both = (self.gpu.gpu(managed.ptr, 4, 8, parameter), self.gpu.cpu(managed.ptr, 4, 8, parameter))
            cupy.cuda.Device().synchronize()
        self.report.check("misuse", "managed memory is good for both", on_both == (SUCCESS, SUCCESS) and not lines)

    def gpu_without_code(self, library: Path) -> None:
        """The library for another architecture says which GPU it met and what it holds."""
        done = subprocess.run(
            [sys.executable, "-c", OTHER_GPU, str(library)], capture_output=True, text=True, timeout=120, check=False
        )
        found = cupy.cuda.Device().compute_capability
        said = done.stderr.strip()
        self.report.texts["another GPU"] = said
        passed = f"sm_{found}" in said and "is built for sm_75" in said and len(said.splitlines()) == 1
        passed = passed and done.stdout.split() == [str(GENERIC), "True"]
        self.report.check("another GPU", "names what it found and what is built in", passed, said + done.stdout)
