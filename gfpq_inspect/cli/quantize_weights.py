"""`gfpq-inspect quantize-weights`: a network whose weights lie on the grid, and the parameters for the mapper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.fold import FILES, FORCE, OUTPUT, split_files
from gfpq_inspect.cli.network_options import AllowUnknownFields, InputShapes, input_shapes
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from gfpq_inspect.tune.quantize import QuantizedFiles


def quantize_weights(
    files: FILES,
    *,
    output: OUTPUT = None,
    bits: Annotated[int, typer.Option(help="Bit width, 8 or 16; layers named *_hp always get 16.")] = 8,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Fold BatchNorm, Scale and Bias first, as the chip does.")
    ] = True,
    settle_top: Annotated[
        bool,
        typer.Option("--settle-top", help="Lower coefficients until measuring the weights again gives the same ones."),
    ] = False,
    input_shape: InputShapes = None,
    allow_unknown_fields: AllowUnknownFields = False,
    force: FORCE = False,
) -> None:
    """Quantize the weights of all layers that NNIE quantizes, and write what the mapper needs.

    Writes OUT_PREFIX.prototxt and .caffemodel (or .onnx), OUT_PREFIX.qparams.json (coefficient, parameter block,
    saturation and underflow of each layer), OUT_PREFIX.gfpq_param.json and a piece of configuration, OUT_PREFIX.cfg.

    Example: gfpq-inspect quantize-weights net.prototxt net.caffemodel net_quant
    """
    from gfpq_inspect.tune.networks import open_files
    from gfpq_inspect.tune.outputs import output_paths, write_together
    from gfpq_inspect.tune.parameters import parameter_files, parameter_suffixes
    from gfpq_inspect.tune.quantize import quantize_files

    paths, prefix = split_files(files, output)
    opened = open_files(paths, allow_unknown_fields=allow_unknown_fields)
    suffixes = (*opened.suffixes, *parameter_suffixes(caffe=opened.network.origin.framework == "caffe"))
    outputs = output_paths(prefix, suffixes, opened.paths, overwrite=force)
    done = quantize_files(
        opened,
        input_shapes(input_shape, opened.network),
        bits=bits,
        fold=fold,
        settle=settle_top,
        allow_unknown_fields=allow_unknown_fields,
    )
    contents: dict[str, bytes | str] = {**done.files, **parameter_files(done, prefix.name)}
    write_together({outputs[suffix]: content for suffix, content in contents.items()}, overwrite=force)
    _tell(done)
    print(f"Wrote {', '.join(map(str, outputs.values()))}.")


def _tell(done: QuantizedFiles) -> None:
    from gfpq_inspect.tune.parameters import reinit_notes

    kept = sum(one.result.was_on_grid for one in done.weights)
    already = f"; {kept} of them were on the grid already and kept their values" if kept else ""
    print(f"{len(done.weights)} weights quantized{already}.")
    for one in sorted(done.weights, key=lambda one: -one.result.underflow_share)[:5]:
        if one.result.underflow_share > 0.05:
            print(visible(f"underflow: layer '{one.layer}': {one.result.underflow_share:.1%} of its weights became 0"))
    for layer in done.float_layers:
        print(visible(f"stays float: layer '{layer.layer}' ({layer.type}): {layer.reason}"))
    for note in [*done.notes, *reinit_notes(done)]:
        print(visible(f"note: {note}"))
