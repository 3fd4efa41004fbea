"""Which tensor of a dump is which of a network: names as tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.inputs.dumps.folder import open_dump
from gfpq_inspect.inputs.dumps.match import DumpMatch, match_dump
from gfpq_inspect.models.run import run_model
from tests.analyze.networks import GraphMaker
from tests.inputs.dumps import writers


def matched(folder: Path, tensors: dict[str, writers.Array] | None = None) -> tuple[DumpMatch, dict[str, str]]:
    """Match the dump of a network with awkward names."""
    maker = GraphMaker(seed=1, batch=1)
    maker.input("data", 4, 6, 6)
    maker.conv("data", "block/1-conv_hp", (4, 4))
    maker.node("Relu", ["block/1-conv_hp"], "block/1-relu_report")
    maker.node("Split", ["block/1-relu_report"], "left")
    maker.nodes[-1].output.append("right")
    maker.nodes[-1].name = "halves"
    maker.nodes[-1].attribute.extend([])
    maker.node("Concat", ["right", "left"], "a_name_that_is_longer_than_thirty_two_characters", axis=1)
    for node in maker.nodes:
        if node.op_type == "Split":
            node.input.append(maker.constant("sizes", np.array([2, 2], np.int64)))
            attribute = node.attribute.add()
            attribute.name, attribute.i, attribute.type = "axis", 1, 2
    model = maker.build(folder, "a_name_that_is_longer_than_thirty_two_characters")
    values = run_model(model, {"data": np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)})
    dump = folder / "dump"
    dump.mkdir()
    for name, array in (tensors or {}).items():
        np.save(dump / f"{name}.npy", array)
    for name, value in NAMES.items():
        np.save(dump / f"{name}.npy", values[value])
    match = match_dump(model, open_dump(dump), values)
    return match, {entry.tensor.name: entry.value for entry in match.matched}


NAMES = {
    "block_1_conv": "block/1-conv_hp",
    "BLOCK_1_RELU": "block/1-relu_report",
    "halves_output0": "left",
    "right": "right",
    "a_name_that_is_longer_than_thirt": "a_name_that_is_longer_than_thirty_two_characters",
}


def test_names_as_tools_write_them(tmp_path: Path) -> None:
    match, found = matched(tmp_path)
    assert found == NAMES
    assert match.broken == ()
    assert match.left == ()
    assert "cut off at 32 characters" in next(
        entry.reason for entry in match.matched if entry.tensor.name.startswith("a_name")
    )


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("nothing_like_it", np.zeros((1, 7)), "no layer of the network is called 'nothing_like_it'"),
        ("block_1_conw", np.zeros((1, 7)), "the nearest name is 'block/1-conv_hp'"),
        ("left", np.zeros((1, 2, 6, 6)), "'halves' is in the dump already, as 'halves_output0'"),
    ],
)
def test_what_is_left_over(tmp_path: Path, name: str, array: writers.Array, words: str) -> None:
    match, _ = matched(tmp_path, {name: array.astype(np.float32)})
    left = match.left[0] if match.left else None
    assert left is not None
    assert not left.understood
    assert words in left.reason
