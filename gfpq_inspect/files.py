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
    if is_stream(path):
        return
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name, or --force to replace it")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}; create it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is read-only; choose another one")


def is_stream(path: Path) -> bool:
    """Whether a path is a device or a pipe (/dev/stdout, a named pipe): written into, never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


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
    if is_stream(path):
        _write_into(path, content)
        return
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
        if overwrite:
            os.replace(temporary, path)  # noqa: PTH105  (atomic on every platform, and says so)
        else:
            _appear(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise OutputError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _appear(temporary: str, path: Path) -> None:
    """Give a file its name unless another program took it since it was looked for.

    Raises:
        OutputError: The name is taken.
        OSError: The disk refused.
    """
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise OutputError(f"{path}: exists by now; choose another name, or --force to replace it") from error
    except OSError:
        os.replace(temporary, path)  # noqa: PTH105  (a file system without links cannot refuse)
    else:
        Path(temporary).unlink()


def _write_into(path: Path, content: bytes) -> None:
    try:
        with path.open("wb") as stream:
            stream.write(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
