"""Outputs are whole or absent, and nothing is replaced unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gfpq_inspect.errors import OutputError
from gfpq_inspect.files import check_writable, write_atomically


def test_writes_text_and_bytes(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "über", overwrite=False)
    write_atomically(tmp_path / "b.bin", b"\x00\xff", overwrite=False)
    assert (tmp_path / "a.txt").read_bytes() == "über".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "b.bin"]


def test_refuses_to_replace_unless_asked(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputError, match="--force"):
        write_atomically(target, "new", overwrite=False)
    assert target.read_text() == "old"
    write_atomically(target, "new", overwrite=True)
    assert target.read_text() == "new"


def test_names_a_missing_folder_and_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no folder"):
        check_writable(tmp_path / "absent" / "a.txt", overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        check_writable(tmp_path, overwrite=True)


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(target, "new", overwrite=True)
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_name_taken_since_it_was_looked_for_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.txt"
    monkeypatch.setattr("gfpq_inspect.files.check_writable", lambda *_, **__: target.write_text("other"))
    with pytest.raises(OutputError, match="exists by now"):
        write_atomically(target, "new", overwrite=False)
    assert target.read_text() == "other"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    write_atomically(tmp_path / "a.txt", "new", overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "through", overwrite=False)
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_is_told_and_stays() -> None:
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(Path("/dev/full"), "x", overwrite=True)
    assert Path("/dev/full").is_char_device()
