"""`gfpq-inspect fold`: BatchNorm, Scale and Bias into the weights before them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfpq_inspect.cli.main import visible
from gfpq_inspect.cli.network_options import AllowUnknownFields, InputShapes, input_shapes
from gfpq_inspect.errors import UsageError

FILES = Annotated[
    list[Path],
    typer.Argument(
        metavar="NET.prototxt WEIGHTS.caffemodel OUT_PREFIX",
        help="The network and the new name; or NET.onnx OUT_PREFIX.",
    ),
]
FORCE = Annotated[bool, typer.Option("--force", help="Replace output files that exist.")]


def fold(
    files: FILES,
    *,
    input_shape: InputShapes = None,
    allow_unknown_fields: AllowUnknownFields = False,
    force: FORCE = False,
) -> None:
    """Fold BatchNorm, Scale and Bias into the convolution or inner product before them.

    Writes OUT_PREFIX.prototxt and OUT_PREFIX.caffemodel (or OUT_PREFIX.onnx). What cannot be folded stays, and is
    listed with the reason. Before anything is written, the outputs of both networks are compared.

    Example: gfpq-inspect fold net.prototxt net.caffemodel net_folded
    """
    from gfpq_inspect.tune.fold_files import fold_files  # noqa: PLC0415  (imported when the command runs)
    from gfpq_inspect.tune.networks import open_files  # noqa: PLC0415
    from gfpq_inspect.tune.outputs import check_not_input, write_together  # noqa: PLC0415

    paths, prefix = split_files(files)
    opened = open_files(paths, allow_unknown_fields=allow_unknown_fields)
    shapes = input_shapes(input_shape, opened.network)
    done = fold_files(opened, shapes, allow_unknown_fields=allow_unknown_fields)
    outputs: dict[Path, bytes | str] = {beside(prefix, suffix): content for suffix, content in done.files.items()}
    check_not_input(outputs, opened.paths)
    write_together(outputs, overwrite=force)
    count = sum(len(one.folded) for one in done.folds)
    print(f"{count} layers folded into {len(done.folds)} others; outputs equal within {done.difference:.2g}.")
    for refusal in done.refusals:
        print(visible(f"not folded: layer '{refusal.key}' ({refusal.type}): {refusal.reason}"))
    print(f"Wrote {', '.join(map(str, outputs))}.")


def split_files(files: list[Path]) -> tuple[list[Path], Path]:
    """Return the network's files and the prefix of the output.

    Raises:
        UsageError: Too few or too many words.
    """
    if not 2 <= len(files) <= 3:
        raise UsageError("give NET.prototxt WEIGHTS.caffemodel OUT_PREFIX, or NET.onnx OUT_PREFIX")
    return files[:-1], files[-1]


def beside(prefix: Path, suffix: str) -> Path:
    """Return an output's path: the prefix and a suffix, dots in the prefix kept."""
    return prefix.with_name(prefix.name + suffix)
