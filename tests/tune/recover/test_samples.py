"""Splits are seeded, disjoint and whole; stores give the same samples from memory and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.models.model import ModelInput
from gfpq_inspect.tune.recover import samples
from gfpq_inspect.tune.recover.samples import SampleStore, split_samples


@given(st.integers(3, 400), st.floats(0.01, 0.3), st.floats(0.01, 0.3), st.integers(0, 9))
def test_every_sample_has_one_part(count: int, holdout: float, judged: float, seed: int) -> None:
    split = split_samples(count, holdout, judged, seed)
    assert sorted(split.train + split.holdout + split.judged) == list(range(count))
    assert split.train
    assert split.holdout
    assert split.judged
    assert split == split_samples(count, holdout, judged, seed)


def test_without_judges_those_that_watch_judge() -> None:
    split = split_samples(10, 0.2, 0, 0)
    assert split.judged == split.holdout
    assert len(split.train) == 8


def test_too_few_samples_are_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"2 samples are too few.*at least 3"):
        split_samples(2, 0.2, 0.2, 0)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_a_store_gives_samples_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(samples, "MEMORY_BYTES", limit)
    data = np.random.default_rng(0).random((5, 2, 3, 3), np.float32)
    np.save(tmp_path / "x.npy", data)
    source = open_inputs([str(tmp_path / "x.npy")], [ModelInput("x", "x", (1, 2, 3, 3))])
    store = SampleStore(source, {"x": (1, 2, 3, 3)})
    assert len(store) == 5
    assert np.array_equal(store.sample(3)["x"], data[3:4])
    part = store.part((4, 1), "that judge")
    assert part.identities == (store.identities[4], store.identities[1])
    (batch,) = part.batches(8, {"x": (1, 2, 3, 3)})
    assert np.array_equal(batch["x"], data[[4, 1]])
    assert part.facts().sample_count == 2
    assert "2 of 5 samples" in part.facts().description
