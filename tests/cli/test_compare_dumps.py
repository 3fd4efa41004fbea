"""`gfpq-inspect compare` with a dump: exit codes, messages, files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("gfpq-inspect"))


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.fixture
def net(fixtures: Path) -> Path:
    return fixtures / "digits" / "float.caffemodel"


@pytest.fixture
def dumps(fixtures: Path) -> Path:
    return fixtures / "dumps"


def test_a_dump_passes_and_is_told_as_one(net: Path, dumps: Path, fixtures: Path, tmp_path: Path) -> None:
    test = fixtures / "digits" / "test.npz"
    files = [tmp_path / name for name in ("r.json", "r.html", "r.csv")]
    done = run(
        "compare", net, dumps / "mapper_quant", "--input", test, "--samples", "1",
        "--json", files[0], "--html", files[1], "--csv", files[2], "--no-timing",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dump against float" in done.stdout
    assert "simulation" in done.stdout
    assert "13 of 27 layer outputs compared, 14 not: 14 not in the dump." in done.stdout
    result = json.loads(files[0].read_text())
    models = result["run"]["models"]
    assert [model["framework"] for model in models] == ["caffe", "dump"]
    assert models[1]["weights_file"] == "mapper_quant"
    assert len(models[1]["sha256"]) == len(list((dumps / "mapper_quant").iterdir()))
    assert "mapper_quant" in files[1].read_text()
    again = run("show", files[0])
    assert again.returncode == 0
    assert "dump against float" in again.stdout


def test_either_side_and_both(net: Path, dumps: Path) -> None:
    for words in (
        (dumps / "caffe", net, "--input", "dump"),
        (dumps / "caffe", net, "--input", "dump", "--bits", "float"),
        (net, dumps / "mapper_quant", "--input", "dump", "--judge", "simulation"),
        (net, dumps / "mapper_quant", "--input", "dump", "--fold"),
        (dumps / "caffe", dumps / "mapper_quant"),
    ):
        done = run("compare", *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_a_damaged_dump_fails_with_its_file(net: Path, dumps: Path, fixtures: Path, tmp_path: Path) -> None:
    dump = tmp_path / "mapper_quant"
    shutil.copytree(dumps / "mapper_quant", dump)
    path = next(dump.glob("conv3_output0*"))
    path.write_text(path.read_text()[:450])
    done = run("compare", net, dump, "--input", fixtures / "digits" / "test.npz", "--samples", "1")
    assert done.returncode == 1
    assert f"{path.name} holds 50 values, the layer makes 32x4x4 = 512" in done.stdout
    assert "cut short; dump it again" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", "NET", "DUMPS/mapper_quant"), "--input dump"),
        (("compare", "DUMPS/caffe"), "can only be compared with something"),
        (("compare", "NET", "EMPTY", "--input", "dump"), "holds no tensors"),
        (("compare", "NET", "DUMPS/board", "--input", "dump"), "does not hold the network's input 'data'"),
        (("compare", "DUMPS/caffe", "DUMPS/mapper_quant", "--input", "TEST"), "leave --input out"),
        (("compare", "NET", "NETWORKS", "--input", "dump"), "name that file to compare the network"),
    ],
)
def test_what_is_refused(fixtures: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    net, dumps = fixtures / "digits" / "float.caffemodel", fixtures / "dumps"
    (tmp_path / "empty").mkdir()
    (tmp_path / "networks").mkdir()
    shutil.copy(net, tmp_path / "networks" / "float.caffemodel")
    places = {
        "NETWORKS": tmp_path / "networks", "NET": net, "DUMPS": dumps, "EMPTY": tmp_path / "empty",
        "TEST": fixtures / "digits" / "test.npz",
    }  # fmt: skip

    def placed(word: str) -> str:
        head, _, rest = word.partition("/")
        return str(places[head] / rest) if head in places else word

    done = run(*map(placed, words))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
