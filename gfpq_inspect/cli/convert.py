"""`gfpq-inspect convert`: a Caffe network as a plain ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.network_options import (
    AllowMissing,
    AllowUnknownFields,
    InputShapes,
    KeepLosses,
    Level,
    Phase,
    Stages,
    input_shapes,
    open_files,
)
from gfpq_inspect.errors import UsageError
from gfpq_inspect.files import check_writable, write_atomically
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from gfpq_inspect.models.export import Exported


def convert(
    net: Annotated[Path, typer.Argument(metavar="NET.prototxt", help="Structure of the network.")],
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS.caffemodel", help="Its weights (binary or HDF5).")],
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.")],
    *,
    input_shape: InputShapes = None,
    outputs: Annotated[
        str, typer.Option(metavar="final|all", help="Graph outputs: the network's own, or every layer's.")
    ] = "final",
    custom_operators: Annotated[
        bool,
        typer.Option("--custom-operators", help="Keep layers that need operators of our own domain in the graph."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.onnx if it exists.")] = False,
    allow_missing: AllowMissing = False,
    allow_unknown_fields: AllowUnknownFields = False,
    keep_losses: KeepLosses = False,
    phase: Phase = "TEST",
    stage: Stages = None,
    level: Level = 0,
) -> None:
    """Convert a Caffe network to ONNX.

    The graph opens in plain ONNX Runtime: where a layer has no form in standard operators it ends, and says so.

    Example: gfpq-inspect convert net.prototxt net.caffemodel net.onnx
    """
    from gfpq_inspect.models.export import export_onnx

    if outputs not in ("final", "all"):
        raise UsageError(f"--outputs '{outputs}' does not exist; use final or all")
    check_writable(out, overwrite=force)
    network = open_files(
        net,
        weights,
        allow_missing=allow_missing,
        allow_unknown_fields=allow_unknown_fields,
        keep_losses=keep_losses,
        phase=phase,
        stages=stage,
        level=level,
    )
    if network.origin.framework != "caffe":
        raise UsageError(f"{net} is an ONNX model already")
    model = network.build(input_shapes(input_shape, network))
    exported = export_onnx(model, all_outputs=outputs == "all", custom_operators=custom_operators)
    write_atomically(out, exported.proto.SerializeToString(deterministic=True), overwrite=force)
    _tell(exported, out, [*model.origin.notes, *_layer_notes(exported)])


def _tell(exported: Exported, out: Path, notes: list[str]) -> None:
    for layer in exported.ended_at:
        print(
            visible(f"The graph ends before layer '{layer.name}' ({layer.type}): it has no form in standard operators.")
        )
    if exported.left_out:
        names = ", ".join(layer.name for layer in exported.left_out[:8])
        more = ", ..." if len(exported.left_out) > 8 else ""
        print(visible(f"Left out with it: {names}{more}."))
    if exported.quant_layers:
        print(f"{len(exported.quant_layers)} Quant layer(s) kept as identity: nothing is quantized in the file.")
    for note in notes:
        print(visible(f"Note: {note}."))
    graph = exported.proto.graph
    inputs = ", ".join(f"{entry.name} {_shape_text(entry)}" for entry in graph.input)
    results = ", ".join(f"{entry.name} {_shape_text(entry)}" for entry in graph.output[:8])
    more = f" and {len(graph.output) - 8} more" if len(graph.output) > 8 else ""
    print(visible(f"Inputs: {inputs}. Outputs: {results}{more}."))
    print(f"Wrote {out}: {len(exported.layers)} layers.")


def _layer_notes(exported: Exported) -> list[str]:
    return [f"layer '{layer.name}': {note}" for layer in exported.layers for note in layer.notes]


def _shape_text(entry: object) -> str:
    dimensions = entry.type.tensor_type.shape.dim  # type: ignore[attr-defined]  # a protobuf without stubs
    return "x".join(str(size.dim_value or size.dim_param or "?") for size in dimensions) or "scalar"
