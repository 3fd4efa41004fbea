"""A virtual environment for each peer, made on request and kept under build/."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from .catalogue import Peer

LIMIT_S = 1800


class CannotInstallError(Exception):
    """A peer could not be installed; the message says why."""


def python_of(peer: Peer, folder: Path) -> Path:
    """The Python that runs a peer; its environment is made first where it is absent or was made of something else.

    Args:
        peer: Which one.
        folder: Where environments lie.

    Raises:
        CannotInstallError: The installer's own words.
    """
    place = folder / peer.environment
    python, record = place / "bin" / "python", place / "installed.json"
    wanted = {"requires": list(peer.requires), "constraints": list(peer.constraints)}
    if record.is_file() and json.loads(record.read_text("utf-8")) == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    print(f"making {place} ({', '.join(peer.requires)}) ...", flush=True)
    _run([sys.executable, "-m", "venv", str(place)])
    constraints = place / "constraints.txt"
    constraints.write_text("".join(f"{line}\n" for line in peer.constraints), encoding="utf-8")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", "--constraint", str(constraints)]
    _run([*pip, *peer.requires])
    record.write_text(json.dumps(wanted), encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise CannotInstallError(f"not done after {LIMIT_S} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-3:]
        raise CannotInstallError(" ".join(errors) or f"exit code {done.returncode}")
