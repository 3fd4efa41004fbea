"""`gfpq-inspect layers`: the layers of a network, and what NNIE quantizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from gfpq_inspect.models.model import Layer, Model


def layers(
    net: Annotated[Path, typer.Argument(metavar="NET", help="A prototxt, a caffemodel or an ONNX model.")],
    weights: Annotated[Path | None, typer.Argument(metavar="[WEIGHTS]", help="The weights of a Caffe network.")] = None,
    *,
    input_shape: InputShapes = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    allow_missing: AllowMissing = False,
    allow_unknown_fields: AllowUnknownFields = False,
    keep_losses: KeepLosses = False,
    phase: Phase = "TEST",
    stage: Stages = None,
    level: Level = 0,
) -> None:
    """List the layers of a network: type, shapes, parameters, multiply-adds, and whether NNIE quantizes them.

    Example: gfpq-inspect layers net.prototxt net.caffemodel
    """
    network = open_files(
        net,
        weights,
        allow_missing=allow_missing,
        allow_unknown_fields=allow_unknown_fields,
        keep_losses=keep_losses,
        phase=phase,
        stages=stage,
        level=level,
        shapes_only=True,
    )
    model = network.build(input_shapes(input_shape, network))
    summary = _summary(model)
    if as_json:
        print(json.dumps(summary, indent=2, ensure_ascii=True, allow_nan=False))
    else:
        _print_table(summary)


def _summary(model: Model) -> dict[str, Any]:
    graph = model.graph.graph
    shapes = {entry.name: _shape(entry) for entry in [*graph.value_info, *graph.output, *graph.input]}
    sizes = {tensor.name: _size(tensor.dims) for tensor in graph.initializer}
    rows = [_row(layer, shapes, sizes) for layer in model.layers]
    return {
        "framework": model.origin.framework,
        "name": model.origin.name,
        "structure_file": model.origin.structure_file,
        "structure_source": model.origin.structure_source,
        "weights_file": model.origin.weights_file,
        "sha256": dict(model.origin.sha256),
        "inputs": [{"name": one.name, "shape": list(one.shape), "dtype": one.dtype} for one in model.inputs],
        "outputs": [
            name
            for value in model.outputs
            for layer in model.layers
            for output, name in zip(layer.outputs, layer.output_names, strict=True)
            if output == value
        ],
        "batchable": model.batchable,
        "notes": list(model.origin.notes),
        "layers": rows,
        "parameters": sum(row["parameters"] for row in rows),
        "multiply_adds": sum(row["multiply_adds"] or 0 for row in rows),
    }


def _row(layer: Layer, shapes: dict[str, list[int | str]], sizes: dict[str, int]) -> dict[str, Any]:
    return {
        "key": layer.key,
        "name": layer.name,
        "type": layer.type,
        "kind": str(layer.kind),
        "line": layer.source_line,
        "inputs": [{"value": value, "shape": shapes.get(value)} for value in layer.inputs],
        "outputs": [
            {"name": name, "blob": blob, "shape": shapes.get(value)}
            for value, name, blob in zip(layer.outputs, layer.output_names, layer.blob_names, strict=True)
        ],
        "parameters": sum(sizes.get(name, 0) for name in dict.fromkeys(layer.weights)),
        "multiply_adds": layer.multiply_adds,
        "quantized": _quantized(layer),
        "bits": layer.quantization.bits if layer.quantization else None,
        "reason": layer.quantization_reason,
        "notes": list(layer.notes),
    }


def _quantized(layer: Layer) -> list[str]:
    """Return what NNIE quantizes: any of 'data' and 'weights'."""
    if layer.quantization is None:
        return []
    parts = (("data", layer.quantization.inputs), ("weights", layer.quantization.weights))
    return [part for part, names in parts if names]


def _shape(entry: Any) -> list[int | str]:
    return [size.dim_param or int(size.dim_value) for size in entry.type.tensor_type.shape.dim]


def _size(dimensions: Any) -> int:
    count = 1
    for size in dimensions:
        count *= int(size)
    return count


def _print_table(summary: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from gfpq_inspect.report.terminal import make_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in (
        ("layer", "left"),
        ("type", "left"),
        ("output", "left"),
        ("parameters", "right"),
        ("multiply-adds", "right"),
        ("NNIE quantizes", "left"),
        ("notes", "left"),
    ):
        table.add_column(title, justify=side, overflow="fold")  # type: ignore[arg-type]  # one of rich's literals
    for row in summary["layers"]:
        shapes = " ".join("x".join(map(str, output["shape"] or ["?"])) for output in row["outputs"])
        quantized = " + ".join(row["quantized"]) + (f", {row['bits']} bits" if row["bits"] else "")
        cells = (
            row["key"],
            row["type"],
            shapes,
            f"{row['parameters']:,}" if row["parameters"] else "",
            f"{row['multiply_adds']:,}" if row["multiply_adds"] else "",
            quantized,
            "; ".join(row["notes"]),
        )
        # Text, not markup: names come from the file.
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console = make_console()
    console.print(table)
    quantized_rows = sum(bool(row["quantized"]) for row in summary["layers"])
    console.print(
        f"{len(summary['layers'])} layers, {quantized_rows} of them quantized by NNIE, "
        f"{summary['parameters']:,} parameters, {summary['multiply_adds']:,} multiply-adds for one sample",
        highlight=False,
    )
    for note in summary["notes"]:
        console.print(Text(visible(f"Note: {note}.")))
