"""Whatever is done to a file of a dump: an error of ours or a tensor with a problem, never a traceback."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import UserError
from gfpq_inspect.inputs.dumps.folder import open_dump
from gfpq_inspect.inputs.dumps.match import match_dump
from gfpq_inspect.inputs.dumps.own_input import dump_feeds
from gfpq_inspect.inputs.dumps.pair_dumps import pair_dumps
from tests.inputs.dumps import network, writers

ROUNDS = 60


def mutated(data: bytes, generator: random.Random) -> bytes:
    kind = generator.randrange(6)
    place = generator.randrange(len(data) + 1)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes(generator.randrange(256) for _ in range(5)) + data[place + 5 :]
    if kind == 2:
        return data + data[:place]
    if kind == 3:
        return b""
    if kind == 4:
        return data[:place] + b"\n" * 4 + data[place:]
    return bytes(generator.randrange(256) for _ in range(64))


@pytest.mark.filterwarnings("ignore:Reading .*npy.* required additional header parsing:UserWarning")
@pytest.mark.parametrize("kind", ["mapper_quant", "caffe", "board", "npy", "npz"])
def test_damage_never_escapes(fixtures: Path, tmp_path: Path, kind: str) -> None:
    model = network.digits(fixtures)
    values = network.float_tensors(model, network.digit_images(fixtures, 1)[0])
    healthy = fixtures / "dumps" / kind
    if kind in ("npy", "npz"):
        healthy = tmp_path / kind
        tensors = network.by_layer(model, values)
        writers.write_npy(healthy, tensors if kind == "npy" else {})
        if kind == "npz":
            np.savez_compressed(healthy / "all.npz", **tensors)
    other = open_dump(fixtures / "dumps" / "caffe")
    generator = random.Random(kind)
    told = 0
    for index in range(ROUNDS):
        folder = tmp_path / f"{kind}-{index}"
        shutil.copytree(healthy, folder)
        path = generator.choice(sorted(folder.iterdir()))
        path.write_bytes(mutated(path.read_bytes(), generator))
        try:
            dump = open_dump(folder)
            match = match_dump(model, dump, values)
            told += bool(match.broken or match.left)
            for entry in match.matched:
                assert entry.reading.sample(0).shape == values[entry.value].shape
            pair_dumps(dump, other)
            dump_feeds(model, dump)
        except UserError as error:
            told += bool(str(error))
        shutil.rmtree(folder)
    assert told > ROUNDS // 4
