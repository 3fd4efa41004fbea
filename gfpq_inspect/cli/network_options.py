"""Options of commands that read a network, and what they do with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from gfpq_inspect.errors import UsageError
from gfpq_inspect.models.model import Network

InputShapes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--input-shape", metavar="[NAME:]1,3,224,224", help="Shape of an input, once an input."),
]
AllowMissing: TypeAlias = Annotated[
    bool, typer.Option("--allow-missing", help="Fill missing weights as Caffe silently does, and say so.")
]
AllowUnknownFields: TypeAlias = Annotated[
    bool, typer.Option("--allow-unknown-fields", help="Ignore prototxt fields that are not known.")
]
KeepLosses: TypeAlias = Annotated[
    bool, typer.Option("--keep-losses", help="Keep losses and accuracies; labels become inputs.")
]
Phase: TypeAlias = Annotated[str, typer.Option("--phase", metavar="TEST|TRAIN", help="Which layers take part.")]
Stages: TypeAlias = Annotated[
    list[str] | None, typer.Option("--stage", metavar="NAME", help="A stage that layers' rules ask for; repeatable.")
]
Level: TypeAlias = Annotated[int, typer.Option("--level", help="The level that layers' rules compare with.")]


def open_files(
    net: Path,
    weights: Path | None,
    *,
    allow_missing: bool,
    allow_unknown_fields: bool,
    keep_losses: bool,
    phase: str,
    stages: Sequence[str] | None,
    level: int,
    shapes_only: bool = False,
) -> Network:
    """Open a network from one or two files, in either order.

    Args:
        net: A prototxt, weights, or an ONNX model.
        weights: The other file of a Caffe network, or None.
        allow_missing: See `open_network`; this and all further ones.
        allow_unknown_fields: See there.
        keep_losses: See there.
        phase: See there.
        stages: See there.
        level: See there.
        shapes_only: See there.

    Raises:
        ModelError: A file is missing or damaged.
        UsageError: Two files of a kind.
    """
    from gfpq_inspect.models.open import open_network, sniff

    first, second = net, weights
    if weights is not None:
        kinds = (sniff(net), sniff(weights))
        if "onnx" in kinds:
            raise UsageError("an ONNX model is one file; give it alone")
        if kinds == ("caffe weights", "caffe weights"):
            raise UsageError(f"{net} and {weights} are both weights; one must be the prototxt")
        first, second = (weights, net) if kinds[0] == "prototxt" else (net, weights)
    return open_network(
        first,
        second,
        allow_missing=allow_missing,
        allow_unknown_fields=allow_unknown_fields,
        keep_losses=keep_losses,
        phase=phase,
        stages=tuple(stages or ()),
        level=level,
        shapes_only=shapes_only,
    )


def input_shapes(texts: Sequence[str] | None, network: Network) -> dict[str, tuple[int, ...]]:
    """Return the shapes of `--input-shape` by input name.

    Raises:
        UsageError: A shape that is not understood, or a name that the network has not.
    """
    from gfpq_inspect.inputs.options import parse_input_shapes, resolve_input_shapes

    return resolve_input_shapes(parse_input_shapes(texts or ()), network.declared_inputs)
