"""Synthetic input: seeded, independent of batch size, and always called what it is."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import ModelInput

from .helpers import COLOUR, collect


def test_noise_is_the_same_for_any_batch_size_and_count() -> None:
    source = open_inputs([], COLOUR, InputOptions(samples=7))
    whole = collect(source, COLOUR, size=7)["data"]
    assert np.array_equal(whole, collect(source, COLOUR, size=2)["data"])
    assert np.array_equal(whole[:3], collect(open_inputs([], COLOUR, InputOptions(samples=3)), COLOUR)["data"])
    assert not np.array_equal(whole, collect(open_inputs([], COLOUR, InputOptions(samples=7, seed=1)), COLOUR)["data"])
    assert len({sample.tobytes() for sample in whole}) == 7


def test_noise_is_uniform_and_told() -> None:
    inputs = (ModelInput("data", "data", (1, 3, 50, 50)),)
    source = open_inputs([], inputs)
    values = collect(source, inputs)["data"]
    assert values.shape == (8, 3, 50, 50)
    assert values.dtype == np.float32
    assert -1 <= values.min() < -0.99
    assert 0.99 < values.max() < 1
    assert abs(values.mean()) < 0.01
    facts = source.facts()
    assert facts.synthetic
    assert facts.seed == 0
    assert facts.description == "8 samples of seeded uniform noise, seed 0"
    assert source.identities[3] == "synthetic[3]"


def test_noise_stands_for_pixels_where_there_is_preprocessing() -> None:
    inputs = (ModelInput("data", "data", (1, 3, 50, 50)),)
    values = collect(open_inputs([], inputs, InputOptions(mean="128", scale="0.5")), inputs)["data"]
    pixels = values * 2 + 128
    assert np.array_equal(pixels, np.round(pixels))
    assert pixels.min() == 0
    assert pixels.max() == 255


def test_inputs_get_noise_of_their_own_and_integers_0_or_1() -> None:
    inputs = (
        ModelInput("a", "a", (1, 40)), ModelInput("b", "b", (1, 40)),
        ModelInput("ids", "ids", (1, 40), "int64"), ModelInput("rate", "rate", (), "int64"),
    )  # fmt: skip
    source = open_inputs([], inputs, InputOptions(samples=1), batchable=False)
    batch = next(source.batches(1, {item.name: item.shape for item in inputs}))
    assert not np.array_equal(batch["a"], batch["b"])
    assert batch["ids"].dtype == np.int64
    assert set(batch["ids"].ravel().tolist()) == {0, 1}
    assert batch["rate"].shape == ()
