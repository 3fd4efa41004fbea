"""Makes fixtures/dumps: what nnie_mapper, RuyiStudio's script and a board would write of the digits network.

python -m tests.inputs.dumps.recorded
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.inputs.dumps import network, writers

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
BOARD = ("pool1", "concat", "fc", "prob")


def main(fixtures: Path = FIXTURES, target: Path | None = None) -> Path:
    """Write the dumps of the first held-out digit; return their folder."""
    folder = target or fixtures / "dumps"
    shutil.rmtree(folder, ignore_errors=True)
    model = network.digits(fixtures)
    image = network.digit_images(fixtures, 1)[0]
    plain = network.blobs(model, network.float_tensors(model, image))
    values = network.chip_tensors(model, image)
    chip = network.blobs(model, values)
    for name in ("mapper_quant", "caffe", "board"):
        (folder / name).mkdir(parents=True)
    for name, array in chip.items():
        if name != "data":
            writers.write_mapper_output(folder / "mapper_quant", name, array)
        writers.write_caffe(folder / "caffe", name, plain[name])
    for layer in model.layers:
        if layer.quantization is not None:
            for port, value in enumerate(layer.inputs):
                writers.write_mapper_input(folder / "mapper_quant", layer.name, values[value], port)
    for number, name in enumerate(BOARD):
        writers.write_board(folder / "board", 0, 4 * number + 9, chip[name])
    return folder


if __name__ == "__main__":
    main()
