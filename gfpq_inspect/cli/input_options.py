"""Options of commands that feed a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from gfpq_inspect.errors import UsageError

Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="[NAME=]FILE",
        help=".npy, .npz, an image, a folder, a 'pattern*', a list, a data set, 'dump'; once or more. Otherwise noise.",
    ),
]
NnieConfiguration: TypeAlias = Annotated[
    Path | None, typer.Option("--nnie-cfg", help="Feed what this nnie_mapper configuration says, as it says.")
]
Mean: TypeAlias = Annotated[
    str | None, typer.Option(help="Subtracted first: numbers (104,117,123), a .npy or a .binaryproto.")
]
Scale: TypeAlias = Annotated[str | None, typer.Option(help="Multiplied then: one number, or one a channel.")]
ChannelOrder: TypeAlias = Annotated[
    str | None, typer.Option(help="How the network reads colour images: bgr (default), rgb or gray.")
]
Layout: TypeAlias = Annotated[str | None, typer.Option(help="nchw or nhwc; otherwise told from the network's input.")]
Resize: TypeAlias = Annotated[
    str | None, typer.Option(help="Images first to HEIGHTxWIDTH, a shorter side, or 'none'; default: to fit.")
]
FrameSize: TypeAlias = Annotated[
    str | None, typer.Option(help="HEIGHTxWIDTH of raw frames (.bgr, .yuv, ...); default: the network's input.")
]
Samples: TypeAlias = Annotated[
    int | None, typer.Option(help="Use the first so many samples; how many to make of noise (8).")
]
Seed: TypeAlias = Annotated[int, typer.Option(help="Of the noise.")]


def all_inputs(inputs: list[str] | None, nnie_cfg: Path | None) -> tuple[str, ...]:
    """Put `--input` and `--nnie-cfg` together.

    Raises:
        UsageError: Both are given.
    """
    if nnie_cfg is None:
        return tuple(inputs or ())
    if inputs:
        raise UsageError("--nnie-cfg names the data itself; leave --input out")
    if nnie_cfg.suffix.lower() != ".cfg":
        raise UsageError(f"--nnie-cfg {nnie_cfg}: an nnie_mapper configuration ends in .cfg; rename the file")
    return (str(nnie_cfg),)
