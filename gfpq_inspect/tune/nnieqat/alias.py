"""`import nnieqat` in this process means our package, in all spellings that nnieqat's releases had."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

NAME = "nnieqat"
_OURS = "gfpq_inspect.tune.nnieqat"
_MODULES = {
    "": _OURS,
    "quantize": f"{_OURS}.hooks",
    "gpu": _OURS,
    "gpu.quantize": f"{_OURS}.hooks",
    "cuda10": _OURS,
    "cuda10.quantize": f"{_OURS}.hooks",
    "modules": f"{_OURS}.modules",
    "modules.conv": f"{_OURS}.modules",
    "modules.linear": f"{_OURS}.modules",
    "modules.pooling": f"{_OURS}.modules",
}


def install() -> None:
    """Serve the name from now on; once is enough, twice does no harm."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        name, _, rest = fullname.partition(".")
        if name != NAME or rest not in _MODULES:
            return None
        return ModuleSpec(fullname, _Loader(), is_package=rest in ("", "gpu", "cuda10", "modules"))


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        del spec
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put our module in the place of the new one; the import system takes what stands there afterwards."""
        _, _, rest = module.__name__.partition(".")
        sys.modules[module.__name__] = importlib.import_module(_MODULES[rest])
