"""Files of a megabyte made to cost as much as possible: seconds and memory stay within the stated bounds.

The bounds are ten seconds of processor time (other work on the machine does not count) and 64 MiB beyond the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.caffe.wire_bytes import chunk, number, tag

MEGABYTE = 1_000_000
SECONDS, MEBIBYTES = 10, 64


def full(unit: bytes | str, before: bytes | str = b"", after: bytes | str = b"") -> bytes:
    """Repeat a unit until the file has a megabyte."""
    unit, before, after = (part.encode() if isinstance(part, str) else part for part in (unit, before, after))
    return before + unit * ((MEGABYTE - len(before) - len(after)) // len(unit)) + after


TEXTS = {
    "empty layers": full("layer{}"),
    "layers": full('layer{type:"A"top:"a"}'),
    "in place": full('layer{type:"ReLU"bottom:"a"top:"a"}', 'layer{type:"Input"top:"a"}'),
    "aliases": full(
        'layer{type:"Flatten"bottom:"a"top:"b"}layer{type:"ReLU"bottom:"b"top:"b"}layer{type:"ReLU"bottom:"a"top:"c"}',
        'layer{type:"Input"top:"a"}',
    ),
    "dangling": b"".join(b'layer{type:"ReLU"bottom:"a%d"top:"b%d"}' % (i, i) for i in range(22_000)),
    "v1": full('layers{type:RELU bottom:"a" top:"a"}'),
    "v0": full('layers{layer{type:"relu"}bottom:"a" top:"a"}'),
    "v0 padding": full('layers{layer{type:"padding"pad:1}bottom:"a" top:"a"}', 'input:"a" '),
    "v1 params": full('param:"a"', "layers{type:RELU ", "}"),
    "losses": full('layer{type:"EuclideanLoss"bottom:"a"bottom:"a"top:"b"}', 'layer{type:"Data"top:"a"}'),
    "inputs": full('input:"a"'),
    "one name": full('layer{name:"a"type:"A"}'),
    "unknown fields": b'layer{type:"ReLU" ' + b"".join(b"f%d:1 " % i for i in range(90_000)) + b"}",
    "unknown net fields": b"".join(b"f%d:1 " % i for i in range(90_000)),
    "bottoms": full('bottom:"a"', 'layer{type:"Input" top:"a"}layer{type:"Concat" top:"b" ', "}"),
    "dimensions": full("1,", 'input:"a" input_shape{dim:[', "1]}"),
    "long name": full("x", 'layer{name:"', '" ' + "".join(f'bottom:"b{i}" ' for i in range(300)) + "}"),
    "digits": full("9", "layer{convolution_param{num_output:", "}}"),
    "repeated field": full('name:"a"'),
    "open braces": full("a{"),
    "escapes": full("\\x", 'name:"', ""),
    "joined strings": full('"a"', "name:"),
    "newlines": full("\n", "name:'", ""),
}
BINARIES = {
    "empty layers": full(chunk(100)),
    "layers": b"".join(chunk(100, chunk(1, str(i)), chunk(2, "A"), chunk(4, "a")) for i in range(60_000)),
    "v1 layers": full(chunk(2, number(5, 18) + chunk(2, "a") + chunk(3, "a"))),
    "empty blobs": chunk(100, full(chunk(7))),
    "blobs": chunk(100, full(chunk(7, chunk(5, b"1234")))),
    "pieces": chunk(100, chunk(7, full(chunk(5, b"1234")))),
    "empty pieces": chunk(100, chunk(7, full(chunk(5)))),
    "broken runs": chunk(100, chunk(7, full(tag(5, 5) + b"1234" + number(1, 1)))),
    "single values": chunk(100, chunk(7, full(tag(5, 5) + b"1234"))),
    "axes": chunk(100, chunk(7, chunk(7, chunk(1, b"\x01" * 900_000)))),
    "tops": chunk(100, chunk(2, "ReLU"), full(chunk(4, "ab"))),
    "inputs": full(chunk(3)) + chunk(100, chunk(4, "a")),
    "input shape": chunk(8, chunk(1, b"\x01" * 900_000)) + chunk(100, chunk(4, "a")),
    "parameters": chunk(100, chunk(2, "Convolution"), chunk(4, "a"), full(chunk(106))),
    "pads": chunk(100, chunk(2, "Convolution"), chunk(4, "a"), chunk(106, chunk(3, b"\x01" * 900_000))),
    "floats": chunk(100, chunk(2, "PriorBox"), chunk(4, "a"), chunk(203, chunk(1, bytes(900_000)))),
    "shared": chunk(
        100, chunk(1, "a"), chunk(4, "a"), chunk(6, chunk(1, "w")) * 60_000, chunk(7, chunk(5, b"1234")) * 60_000
    ),
    "groups": tag(9, 3) * 1_000_000,
    "splits": chunk(100, chunk(2, "Split"), chunk(3, "a"), chunk(4, "a")) * 50_000,
    "quants": chunk(100, chunk(1, "q"), chunk(2, "Quant"), chunk(3, "a"), chunk(4, "a")) * 45_000,
    "ones": b"\xff" * MEGABYTE,
}
FILES = {f"{name}.prototxt": content[: 2**20] for name, content in TEXTS.items()}
FILES |= {f"{name}.caffemodel": content[: 2**20] for name, content in BINARIES.items()}


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory, root: Path, fixtures: Path) -> dict[str, dict[str, float]]:
    """What reading each file cost, measured in one go."""
    folder = tmp_path_factory.mktemp("costly")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    program = [sys.executable, str(root / "tests/fuzz/measure.py"), str(fixtures / "caffe/v1_format")]
    program += [str(folder / name) for name in FILES]
    done = subprocess.run(
        program, check=False, capture_output=True, text=True, timeout=600, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {cost["name"]: cost for cost in found}


@pytest.mark.parametrize("name", FILES)
def test_costs_stay_bounded(costs: dict[str, dict[str, float]], name: str) -> None:
    cost = costs[name]
    assert cost["elapsed_s"] < SECONDS, cost
    assert cost["grown_mib"] - len(FILES[name]) / 2**20 < MEBIBYTES, cost
