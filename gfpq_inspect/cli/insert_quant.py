"""`gfpq-inspect insert-quant`: put Quant layers into a prototxt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NETWORK = Annotated[Path, typer.Argument(metavar="NET.prototxt", help="Train, test or deploy definition.")]
OUTPUT = Annotated[Path, typer.Option("-o", "--output", metavar="OUT.prototxt", help="File to write.")]
FORCE = Annotated[bool, typer.Option("--force", help="Replace the output file if it exists.")]


def insert_quant(
    network: NETWORK,
    output: OUTPUT,
    bits: Annotated[int, typer.Option(help="Bit width, 8 or 16; layers named *_hp always get 16.")] = 8,
    python_layer: Annotated[
        bool,
        typer.Option("--python-layer", help="Write the Python layer of wk_quant.py, for a Caffe without Quant layers."),
    ] = False,
    force: FORCE = False,
) -> None:
    """Put a Quant layer before every layer that NNIE quantizes; comments and formatting stay as they are.

    Example: gfpq-inspect insert-quant train_val.prototxt -o train_val_quant.prototxt
    """
    from gfpq_inspect.tune.quant_layers import insert_quant_layers

    raw = read_definition(network, output, overwrite=force)
    change = insert_quant_layers(raw, str(network), bits=bits, python_layer=python_layer)
    write_definition(output, change.content, overwrite=force)
    for note in change.notes:
        print(f"note: {note}")
    print(f"{len(change.layers)} Quant layers put in; wrote {output}")


def read_definition(network: Path, output: Path, *, overwrite: bool) -> bytes:
    """Read a prototxt after making sure that the output can be written, and is not the input.

    Raises:
        UsageError: Output and input are one file.
        OutputError: The output cannot be written.
        ModelError: The input cannot be read.
    """
    from gfpq_inspect.files import check_writable
    from gfpq_inspect.tune.outputs import check_not_input
    from gfpq_inspect.tune.prototxt import read_bytes

    check_not_input([output], [network])
    raw = read_bytes(network)
    check_writable(output, overwrite=overwrite)
    return raw


def write_definition(output: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a prototxt whole or not at all."""
    from gfpq_inspect.files import write_atomically

    write_atomically(output, content, overwrite=overwrite)
