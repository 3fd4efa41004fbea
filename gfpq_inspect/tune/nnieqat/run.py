"""Runs a script as `python SCRIPT ...` does, with `nnieqat` served."""

from __future__ import annotations

import builtins
import io
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, TracebackType

from gfpq_inspect.errors import MissingExtraError
from gfpq_inspect.tune.nnieqat import alias

USAGE = """usage: python -m gfpq_inspect.tune.nnieqat SCRIPT [ARGUMENT ...]

Runs a PyTorch training script in which `import nnieqat` means GFPQ's own quantizer: the script needs no changes and
no package of that name. Arguments, exit code and tracebacks are those of `python SCRIPT ...`."""


def main() -> None:
    """Run the script that the command line names; leaves through SystemExit where that is the script's way."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        (sys.stdout if words else sys.stderr).write(f"{USAGE}\n")
        sys.exit(0 if words else 2)
    if find_spec("torch") is None:
        sys.exit(_refuse(str(MissingExtraError("Training in PyTorch", "torch"))))
    path = Path(words[0])
    try:
        source = _read(path)
    except OSError as error:
        sys.exit(_refuse(f"can't open file '{path.absolute()}': [Errno {error.errno}] {error.strerror}"))
    _serve_children()
    alias.install()
    sys.excepthook = _ExceptHook(sys.excepthook)
    sys.argv = words
    _run(source, path)


def _refuse(message: str) -> int:
    sys.stderr.write(f"gfpq_inspect.tune.nnieqat: {message}\n")
    return 2


def _read(path: Path) -> bytes:
    if path.is_dir():
        path /= "__main__.py"
    with io.open_code(str(path.absolute())) as stream:
        return stream.read()


def _run(source: bytes, path: Path) -> None:
    """Execute the source as `__main__`."""
    script = path / "__main__.py" if path.is_dir() else path
    folder = path if path.is_dir() else path.resolve().parent
    if not sys.flags.safe_path:
        sys.path[0] = str(folder.absolute())  # where -m left the current folder
    module = ModuleType("__main__")
    file = str(script.absolute())
    module.__dict__.update(
        __file__=file,
        __builtins__=builtins,
        __cached__=None,
        __loader__=SourceFileLoader("__main__", file),
        __annotations__={},
    )
    sys.modules["__main__"] = module
    exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)


def _serve_children() -> None:
    """Let processes that the script spawns, which take over `sys.path`, import nnieqat as well."""
    folder = str(Path(__file__).with_name("in_children"))
    if folder not in sys.path:
        sys.path.append(folder)


class _ExceptHook:
    """Prints tracebacks without our own frames above the script's.

    Args:
        original: The hook before.
    """

    def __init__(self, original: Callable[..., object]) -> None:
        self._original = original

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_code.co_filename in _OUR_FILES:
            trace = trace.tb_next
        error.__traceback__ = trace
        self._original(kind, error, trace)


_OUR_FILES = ("<frozen runpy>", __file__, str(Path(__file__).with_name("__main__.py")))
