"""Output files of the commands that change networks: never an input, written together or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from gfpq_inspect.errors import OutputError, UsageError
from gfpq_inspect.files import check_writable, write_atomically


def check_not_input(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over an input, whatever the paths look like.

    Raises:
        UsageError: An output is an input.
    """
    read = [path for path in inputs if path.exists()]
    for output in outputs:
        if any(output.exists() and output.samefile(path) for path in read):
            raise UsageError(f"{output}: is an input, which stays as it is; choose another name for the output")


def output_paths(prefix: Path, suffixes: Iterable[str], inputs: Iterable[Path], *, overwrite: bool) -> dict[str, Path]:
    """Return where a command writes, after making sure, before any work, that it may.

    Args:
        prefix: What the user gave; dots in it are kept.
        suffixes: One an output.
        inputs: Files that were read.
        overwrite: Whether existing files may be replaced.

    Raises:
        UsageError: An output is an input.
        OutputError: One of them cannot be written.
    """
    paths = {suffix: prefix.with_name(prefix.name + suffix) for suffix in suffixes}
    check_not_input(paths.values(), inputs)
    for path in paths.values():
        check_writable(path, overwrite=overwrite)
    return paths


def write_together(files: Mapping[Path, bytes | str], *, overwrite: bool) -> None:
    """Write several files; if one cannot be written, those that did not exist before are taken away again.

    Args:
        files: Content by path.
        overwrite: Whether existing files may be replaced.

    Raises:
        OutputError: One of them cannot be written.
    """
    for path in files:
        check_writable(path, overwrite=overwrite)
    new: list[Path] = []
    for path, content in files.items():
        existed = path.exists()
        try:
            write_atomically(path, content, overwrite=overwrite)
        except OutputError:
            for done in new:
                done.unlink(missing_ok=True)
            raise
        if not existed:
            new.append(path)
