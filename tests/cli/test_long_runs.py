"""Runs that are killed, interrupted, or find no room on the disk: what is left, and how they go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import os, resource, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
if limit := os.environ.get("LARGEST_FILE"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
from gfpq_inspect.cli.main import main
main()
"""
"""The command, with Ctrl-C as at a prompt, and files of a limited size: what a full disk is to a program."""
COUNT = 12_000


@pytest.fixture(scope="module")
def words(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run of some seconds."""
    folder = tmp_path_factory.mktemp("data")
    with np.load(fixtures / "digits/test.npz") as stored:
        data, labels = stored["data"], stored["label"]
    times = -(-COUNT // len(data))
    np.save(folder / "data.npy", np.concatenate([data] * times)[:COUNT])
    (folder / "labels.txt").write_text("\n".join(map(str, np.tile(labels, times)[:COUNT])))
    network = str(fixtures / "digits/float.caffemodel")
    return [
        *("compare", network, "--input", str(folder / "data.npy"), "--labels", str(folder / "labels.txt")),
        *("--json", "r.json", "--no-timing", "--quiet"),
    ]


def start(words: list[str], folder: Path, largest_file: int | None = None) -> subprocess.Popen[str]:
    limit = {} if largest_file is None else {"LARGEST_FILE": str(largest_file)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CI": "true", **limit},
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, complaint = process.communicate(timeout=300)
    return process.returncode, complaint


@pytest.fixture(scope="module")
def uninterrupted(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    code, complaint = end(start(words, folder))
    assert code == 0, complaint
    assert [path.name for path in folder.iterdir()] == ["r.json"]
    return (folder / "r.json").read_bytes()


def stopped(words: list[str], folder: Path, number: int) -> tuple[int, str]:
    """Stop a run as soon as it has kept something of its measurement."""
    process = start(words, folder)
    kept = folder / "r.json.checkpoint"
    while process.poll() is None and not (kept.exists() and kept.stat().st_size > 20_000):
        time.sleep(0.02)
    assert process.poll() is None, "the run was over before it could be stopped"
    process.send_signal(number)
    return end(process)


@pytest.mark.slow
def test_killed_and_resumed(words: list[str], tmp_path: Path, uninterrupted: bytes) -> None:
    code, _ = stopped(words, tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "r.json").exists()
    code, complaint = end(start(words, tmp_path))
    assert code == 2
    assert "r.json.checkpoint: holds an unfinished run; --resume goes on with it" in complaint
    code, complaint = end(start([*words, "--bits", "16", "--resume"], tmp_path))
    assert code == 2
    assert "the format was gfpq8 and is gfpq16" in complaint
    code, complaint = end(start([*words, "--resume"], tmp_path))
    assert (code, complaint) == (0, "")
    assert (tmp_path / "r.json").read_bytes() == uninterrupted
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed(words: list[str], tmp_path: Path, uninterrupted: bytes, number: int) -> None:
    code, complaint = stopped(words, tmp_path, number)
    assert code == 130
    assert "--resume goes on" in complaint
    part = json.loads((tmp_path / "r.json").read_text())
    assert part["judgement"]["partial"]
    assert 0 < part["run"]["inputs"]["sample_count"] < COUNT
    assert part["task"]["samples"] == part["run"]["inputs"]["sample_count"]
    code, complaint = end(start([*words, "--resume"], tmp_path))
    assert (code, complaint) == (0, "")
    assert (tmp_path / "r.json").read_bytes() == uninterrupted


def test_a_disk_without_room_leaves_what_fits(fixtures: Path, tmp_path: Path) -> None:
    given = [str(fixtures / "digits/float.caffemodel"), "--input", str(fixtures / "digits/test.npz"), "--samples", "30"]
    given = ["compare", *given, "--json", "r.json", "--html", "r.html", "--save-param-dict", "p.json"]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert end(start(given, whole))[0] == 0
    room = (whole / "r.json").stat().st_size - 2000
    (tmp_path / "full").mkdir()
    process = start(given, tmp_path / "full", room)
    shown, complaint = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "Coverage" in shown
    assert "r.html: cannot be written" in complaint
    assert "r.json: cannot be written" in complaint
    assert "without the evidence of layers, marked partial" in complaint
    assert "p.json" in complaint.partition("Written were:")[2]
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["p.json", "r.json"]
    part = json.loads((tmp_path / "full/r.json").read_text())
    assert part["judgement"]["partial"]
    assert part["layers"]["count"] == json.loads((whole / "r.json").read_text())["layers"]["count"]


def test_nothing_to_resume(fixtures: Path, tmp_path: Path) -> None:
    given = ["compare", str(fixtures / "digits/float.caffemodel"), "--resume"]
    code, complaint = end(start(given, tmp_path))
    assert code == 2
    assert "give --json, or --checkpoint FILE" in complaint


def test_a_resumed_run_without_a_checkpoint_begins(fixtures: Path, tmp_path: Path) -> None:
    given = ["compare", str(fixtures / "digits/float.caffemodel"), "--samples", "4", "--json", "r.json", "--quiet"]
    assert end(start([*given, "--resume"], tmp_path))[0] in (0, 1)
    code, complaint = end(start([*given, "--resume"], tmp_path))
    assert code == 2
    assert "exists already" in complaint


def test_runs_share_a_cache(fixtures: Path, tmp_path: Path) -> None:
    digits = fixtures / "digits"
    given = [
        *("compare", str(digits / "float.caffemodel"), str(digits / "quant.caffemodel")),
        *("--input", str(digits / "test.npz"), "--samples", "40", "--no-timing", "--quiet", "--cache", "../cache"),
    ]
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    running = [start([*given, "--json", "r.json"], folder) for folder in folders]
    assert [end(process) for process in running] == [(0, "")] * 3
    assert len({(folder / "r.json").read_bytes() for folder in folders}) == 1
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".gfpqcache"}
