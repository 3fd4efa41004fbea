"""The digits network and digits that it was trained on, small enough to tune in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")


@pytest.fixture(scope="session")
def digits(fixtures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `data` and `label`: 160 digits that are not among the held-out ones."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    found = load_digits()
    held_out = np.load(fixtures / "digits" / "test.npz")["index"]
    indices = np.setdiff1d(np.arange(len(found.images)), held_out)[:160]
    data = (found.images[indices] / 16.0).astype(np.float32)[:, None]
    path = tmp_path_factory.mktemp("digits") / "train.npz"
    np.savez(path, data=data, label=found.target[indices].astype(np.int64))
    return path


@pytest.fixture
def network(fixtures: Path) -> list[str]:
    """Prototxt and caffemodel of the float network."""
    folder = fixtures / "digits"
    return [str(folder / "float.prototxt"), str(folder / "float.caffemodel")]
