"""`gfpq-inspect fold`: BatchNorm, Scale and Bias into the weights before them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfpq_inspect.cli.network_options import AllowUnknownFields, InputShapes, input_shapes
from gfpq_inspect.errors import UsageError
from gfpq_inspect.text import visible

FILES = Annotated[
    list[Path],
    typer.Argument(
        metavar="NET.prototxt WEIGHTS.caffemodel OUT_PREFIX",
        help="The network and the new name; or NET.onnx OUT_PREFIX.",
    ),
]
OUTPUT = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="OUT_PREFIX", help="The new name, instead of as the last word.")
]
FORCE = Annotated[bool, typer.Option("--force", help="Replace output files that exist.")]


def fold(
    files: FILES,
    *,
    output: OUTPUT = None,
    input_shape: InputShapes = None,
    allow_unknown_fields: AllowUnknownFields = False,
    force: FORCE = False,
) -> None:
    """Fold BatchNorm, Scale and Bias into the convolution or inner product before them.

    Writes OUT_PREFIX.prototxt and OUT_PREFIX.caffemodel (or OUT_PREFIX.onnx). What cannot be folded stays, and is
    listed with the reason. Before anything is written, the outputs of both networks are compared.

    Example: gfpq-inspect fold net.prototxt net.caffemodel net_folded
    """
    from gfpq_inspect.tune.fold import fold_files
    from gfpq_inspect.tune.networks import open_files
    from gfpq_inspect.tune.outputs import output_paths, write_together

    paths, prefix = split_files(files, output)
    opened = open_files(paths, allow_unknown_fields=allow_unknown_fields)
    outputs = output_paths(prefix, opened.suffixes, opened.paths, overwrite=force)
    shapes = input_shapes(input_shape, opened.network)
    done = fold_files(opened, shapes, allow_unknown_fields=allow_unknown_fields)
    write_together({outputs[suffix]: content for suffix, content in done.files.items()}, overwrite=force)
    count = sum(len(one.folded) for one in done.folds)
    print(f"{count} layers folded into {len(done.folds)} others; outputs equal within {done.difference:.2g}.")
    for refusal in done.refusals:
        print(visible(f"not folded: layer '{refusal.key}' ({refusal.type}): {refusal.reason}"))
    print(f"Wrote {', '.join(map(str, outputs.values()))}.")


def split_files(files: list[Path], output: Path | None) -> tuple[list[Path], Path]:
    """Return the network's files and the prefix of the output, which may be given with a suffix of one of the outputs.

    Raises:
        UsageError: Too few or too many words.
    """
    paths, prefix = (files, output) if output is not None else (files[:-1], files[-1])
    if not 1 <= len(paths) <= 2:
        raise UsageError("give NET.prototxt WEIGHTS.caffemodel OUT_PREFIX, or NET.onnx OUT_PREFIX")
    if prefix.suffix in (".prototxt", ".caffemodel", ".onnx"):
        prefix = prefix.with_suffix("")
    return paths, prefix
