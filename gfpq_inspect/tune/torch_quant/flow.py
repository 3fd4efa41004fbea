"""Which normalization reads exactly what a convolution or inner product gives, by the model's own forward."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import fx, nn

from gfpq_inspect.tune.torch_quant.layers import WEIGHTED

NORMALIZATIONS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Modules that are folded into the one before."""


class Pair(NamedTuple):
    """A module and the normalization that follows it.

    Attributes:
        base: Name of the convolution or inner product.
        norm: Name of the normalization.
        proven: True when it was read off forward; False when the two only stand one after the other in a module whose
            forward cannot be traced.
    """

    base: str
    norm: str
    proven: bool


class _Tracer(fx.Tracer):
    """Goes into every module but the ones that matter here, also where they were subclassed."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*WEIGHTED, *NORMALIZATIONS)) or super().is_leaf_module(m, module_qualified_name)


def pairs(model: nn.Module) -> list[Pair]:
    """Find them.

    The forward of the model is traced; where it cannot be (its way depends on the data), those of its parts are.
    What is left after that are modules that stand one after the other in a part of which nothing else is known.

    Args:
        model: The model; its forward runs on a copy, so that nothing in it changes.

    Returns:
        The pairs; no module is in two of them.
    """
    names = {id(module): name for name, module in model.named_modules()}
    found: list[Pair] = []
    refused: set[str] = set()
    _search(model, names, found, refused)
    for kind in ("base", "norm"):
        counts: dict[str, set[Pair]] = {}
        for pair in found:
            counts.setdefault(getattr(pair, kind), set()).add(pair)
        refused |= {name for name, all_of in counts.items() if len({(one.base, one.norm) for one in all_of}) > 1}
    unique = {(pair.base, pair.norm): pair for pair in sorted(found, key=lambda one: one.proven)}
    order = {name: index for index, name in enumerate(names.values())}
    kept = [pair for pair in unique.values() if not {pair.base, pair.norm} & refused]
    return sorted(kept, key=lambda pair: order[pair.base])


def _search(module: nn.Module, names: dict[int, str], found: list[Pair], refused: set[str]) -> None:
    if not any(isinstance(child, NORMALIZATIONS) for child in module.modules()):
        return
    traced = _trace(module)
    if traced is not None:
        _read(module, traced, names, found, refused)
        return
    previous: nn.Module | None = None
    for child in module.children():
        if isinstance(child, NORMALIZATIONS) and isinstance(previous, WEIGHTED):
            found.append(Pair(names[id(previous)], names[id(child)], proven=False))
        _search(child, names, found, refused)
        previous = child


def _trace(module: nn.Module) -> fx.Graph | None:
    """The graph of a module's forward, or None where tracing fails, for whatever reason."""
    if isinstance(module, (*WEIGHTED, *NORMALIZATIONS, nn.ModuleList, nn.ModuleDict)):
        return None
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    with _quiet():
        try:
            return _Tracer().trace(copy.deepcopy(module, shared))
        except Exception:
            return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A forward that prints or warns would do it about placeholders."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _read(module: nn.Module, graph: fx.Graph, names: dict[int, str], found: list[Pair], refused: set[str]) -> None:
    """Read the pairs off a graph.

    A pair holds when every call of the base goes into the normalization and nowhere else, and every call of the
    normalization reads such a call.
    """
    inside = dict(module.named_modules(remove_duplicate=False))
    by_identity = {id(one): one for one in inside.values()}
    calls: dict[int, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_module" and node.target in inside:
            calls.setdefault(id(inside[node.target]), []).append(node)
        elif node.op == "get_attr":  # a weight that is read by itself is not only that of a module
            owner = inside.get(str(node.target).rpartition(".")[0])
            refused |= {names[id(owner)]} if isinstance(owner, (*WEIGHTED, *NORMALIZATIONS)) else set()
    for identity, nodes in calls.items():
        if not isinstance(by_identity[identity], NORMALIZATIONS):
            continue
        sources = [_source(node, inside) for node in nodes]
        bases = {id(inside[str(source.target)]) for source in sources if source is not None}
        if None in sources or len(bases) != 1:
            refused.add(names[identity])
            continue
        (base,) = bases
        if len(calls[base]) == len(nodes):
            found.append(Pair(names[base], names[identity], proven=True))


def _source(node: fx.Node, inside: dict[str, nn.Module]) -> fx.Node | None:
    """The call of a base that a normalization alone reads, through modules that change nothing."""
    reader = node
    while True:
        before = reader.args[0] if reader.args else reader.kwargs.get("input")
        if not isinstance(before, fx.Node) or before.op != "call_module" or set(before.users) != {reader}:
            return None
        module = inside.get(str(before.target))
        if isinstance(module, WEIGHTED):
            return before
        if not isinstance(module, nn.Identity):
            return None
        reader = before
