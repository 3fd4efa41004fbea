"""Options of commands that feed a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from gfpq_inspect.errors import UsageError

if TYPE_CHECKING:
    from gfpq_inspect.inputs.options import InputOptions

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


@dataclass(frozen=True)
class FeedArguments:
    """What a network is fed, and what is done to it first: a group of options.

    Attributes:
        inputs: `--input`.
        nnie_cfg: `--nnie-cfg`.
        mean: `--mean`.
        scale: `--scale`.
        channel_order: `--channel-order`.
        layout: `--layout`.
        resize: `--resize`.
        frame_size: `--frame-size`.
        samples: `--samples`.
    """

    inputs: Inputs = None
    nnie_cfg: NnieConfiguration = None
    mean: Mean = None
    scale: Scale = None
    channel_order: ChannelOrder = None
    layout: Layout = None
    resize: Resize = None
    frame_size: FrameSize = None
    samples: Samples = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Where samples come from.

        Raises:
            UsageError: Both `--input` and `--nnie-cfg` are given.
        """
        return all_inputs(self.inputs, self.nnie_cfg)

    def preprocessing(self, seed: int) -> InputOptions:
        """What is done to samples; `seed` is that of synthetic input."""
        from gfpq_inspect.inputs.options import InputOptions

        return InputOptions(
            mean=self.mean,
            scale=self.scale,
            channel_order=self.channel_order,
            layout=self.layout,
            resize=self.resize,
            frame_size=self.frame_size,
            samples=self.samples,
            seed=seed,
        )


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
