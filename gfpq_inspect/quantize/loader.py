"""Which libgfpq the system's loader would take, when that is not the one of this package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OtherLibrary:
    """A library of the same name that programs would load instead of ours.

    Attributes:
        path: The file.
        because: What makes the loader look there: an environment variable, or 'the system's library folders'.
    """

    path: Path
    because: str


def find_on_loader_path(name: str, ours: Path) -> OtherLibrary | None:
    """Look for a library in the order in which the loader does.

    Args:
        name: 'libgfpq' or 'libgfpq_gpu'.
        ours: The folder of our libraries; finding it ends the search.

    Returns:
        The first library of that name that is not ours, or None.
    """
    if sys.platform == "win32":
        return _in_folders(os.environ.get("PATH", ""), (f"{name.removeprefix('lib')}.dll",), ours, "PATH")
    names = (f"{name}.so.1", f"{name}.so")
    for word in os.environ.get("LD_PRELOAD", "").replace(":", " ").split():
        path = Path(word)
        if path.name.startswith(f"{name}.so") and path.is_file() and not _is_ours(path, ours):
            return OtherLibrary(path, "LD_PRELOAD")
    listed = os.environ.get("LD_LIBRARY_PATH", "")
    found = _in_folders(listed, names, ours, "LD_LIBRARY_PATH")
    if found is not None or any(_same_folder(Path(folder), ours) for folder in listed.split(os.pathsep) if folder):
        return found
    return _in_cache(names, ours)


def _in_folders(folders: str, names: tuple[str, ...], ours: Path, because: str) -> OtherLibrary | None:
    for folder in (Path(text) for text in folders.split(os.pathsep) if text):
        if _same_folder(folder, ours):
            return None
        for name in names:
            path = folder / name
            if path.is_file() and not _is_ours(path, ours):
                return OtherLibrary(path, because)
    return None


def _in_cache(names: tuple[str, ...], ours: Path) -> OtherLibrary | None:
    program = shutil.which("ldconfig", path=os.pathsep.join([os.environ.get("PATH", ""), "/sbin", "/usr/sbin"]))
    if program is None:
        return None
    done = subprocess.run([program, "-p"], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        name, _, rest = line.strip().partition(" ")
        path = Path(rest.rpartition("=> ")[2])
        if name in names and path.is_file() and not _is_ours(path, ours):
            return OtherLibrary(path, "the system's library folders")
    return None


def _same_folder(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _is_ours(path: Path, ours: Path) -> bool:
    """True for our own file, links and copies of it included."""
    mine = ours / path.name
    if path.resolve().parent == ours.resolve():
        return True
    return mine.is_file() and mine.read_bytes() == path.read_bytes()
