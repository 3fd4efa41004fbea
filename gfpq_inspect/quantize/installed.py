"""Where the package keeps what is not Python: gfpq.hpp, the drop-in libraries, and the sources of the GPU kernels.

A wheel holds them inside the package. In a working tree that was not installed the sources stand under `native/`, and
there are no built libraries.
"""

from __future__ import annotations

from pathlib import Path

import gfpq_inspect

SIMILARITY_FILES = (
    "gfpq_similarity_fields.cuh",
    "gfpq_similarity_thread.cuh",
    "gfpq_similarity_join.cuh",
    "gfpq_similarity_careful.cuh",
    "gfpq_similarity.cuh",
)
"""The similarity kernel, in the order in which its files include each other."""

_KERNEL_FILES = ("gfpq_roots.cuh", "gfpq_device.cuh", "gfpq_kernels.cuh", *SIMILARITY_FILES)


def find_library_folder() -> Path | None:
    """The folder that holds include/gfpq.hpp and lib/libgfpq.so.1 (on Windows lib/gfpq.dll); None without them."""
    for folder in _package_folders():
        libraries = (folder / "lib" / name for name in ("libgfpq.so.1", "gfpq.dll", "libgfpq.1.dylib"))
        if (folder / "include" / "gfpq.hpp").is_file() and any(path.is_file() for path in libraries):
            return folder
    return None


def kernel_source(*names: str) -> str:
    """The text of GPU sources, in the order given, as one: files that they include must stand before them.

    Args:
        names: File names, such as 'gfpq_device.cuh'.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    folder = _kernel_folder()
    lines: list[str] = []
    for name in names:
        text = (folder / name).read_text(encoding="utf-8")
        lines += [line for line in text.splitlines() if not line.startswith(("#pragma once", '#include "'))]
    return "\n".join(lines) + "\n"


def _kernel_folder() -> Path:
    candidates = [folder / "include" / "gfpq_cuda" for folder in _package_folders()]
    candidates += [folder.parent / "native" / "cuda" for folder in _package_folders()]
    for folder in candidates:
        if all((folder / name).is_file() for name in _KERNEL_FILES):
            return folder
    places = " or ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(f"the sources of the GPU kernels are missing from {places}: install gfpq-inspect again")


def _package_folders() -> list[Path]:
    # An editable installation has two: the working tree and the folder with what was built.
    return [Path(folder) for folder in gfpq_inspect.__path__]
