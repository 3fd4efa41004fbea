"""Writing files so that nothing is lost: whole or not at all, and never over another file unasked."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from gfpq_inspect.errors import OutputError


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Find out before hours of work whether a file may be written.

    Args:
        path: The file to be written later.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        OutputError: It exists and may not be replaced, or its folder is missing or read-only.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name, or --force to replace it")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}; create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is read-only; choose another one")


def write_atomically(path: Path, data: bytes | str, *, overwrite: bool) -> None:
    """Write a file whole, or leave what was there.

    Args:
        path: The file.
        data: Its content; text is encoded as UTF-8.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        OutputError: See `check_writable`, or the disk refused.
    """
    check_writable(path, overwrite=overwrite)
    content = data.encode("utf-8") if isinstance(data, str) else data
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; a result is as readable as any file the user creates.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        os.replace(temporary, path)  # noqa: PTH105  (atomic on every platform, and says so)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise OutputError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
