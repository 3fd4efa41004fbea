"""`gfpq-inspect strip-quant`: take the Quant layers out of a prototxt."""

from __future__ import annotations

from gfpq_inspect.cli.insert_quant import FORCE, NETWORK, OUTPUT, read_definition, write_definition


def strip_quant(network: NETWORK, output: OUTPUT, force: FORCE = False) -> None:
    """Take all Quant layers out of a prototxt; what insert-quant wrote becomes the file that it was.

    Example: gfpq-inspect strip-quant train_val_quant.prototxt -o train_val.prototxt
    """
    from gfpq_inspect.tune.quant_layers import strip_quant_layers

    raw = read_definition(network, output, overwrite=force)
    change = strip_quant_layers(raw, str(network))
    write_definition(output, change.content, overwrite=force)
    for note in change.notes:
        print(f"note: {note}")
    print(f"{len(change.layers)} Quant layers taken out; wrote {output}")
