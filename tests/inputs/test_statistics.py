"""Statistics and contact sheets of what a network is fed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfpq_inspect.inputs.contact_sheet import MAXIMUM_PICTURES, ContactSheet, is_picture
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.inputs.plans import plan_for
from gfpq_inspect.inputs.statistics import InputStatistics
from gfpq_inspect.models.model import ModelInput

from .helpers import COLOUR, GRAY, colours


def statistics(samples: np.ndarray, model_input: ModelInput = COLOUR[0]) -> InputStatistics:
    gathered = InputStatistics(plan_for(model_input, InputOptions()))
    for sample in samples:
        gathered.add(sample[None])
    return gathered


def test_channels_are_those_of_all_samples() -> None:
    values = np.random.default_rng(0).normal(5, 3, (7, 3, 4, 6)).astype(np.float32)
    gathered = statistics(values)
    for index, channel in enumerate(gathered.channels()):
        expected = values[:, index].astype(np.float64)
        assert channel.minimum == expected.min()
        assert channel.maximum == expected.max()
        assert channel.mean == pytest.approx(expected.mean(), rel=1e-12)
        assert channel.deviation == pytest.approx(expected.std(), rel=1e-9)
    assert gathered.first_values() == [row.ravel()[:8].tolist() for row in values[0]]
    packed = statistics(values.transpose(0, 2, 3, 1), ModelInput("data", "data", (1, 4, 6, 3)))
    assert packed.channels()[1] == gathered.channels()[1]


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (np.zeros((2, 3, 4, 6)), "All values are zero"),
        (np.random.default_rng(0).random((2, 3, 4, 6)) / 65025, "is the scale applied twice?"),
        (np.random.default_rng(0).random((2, 3, 4, 6)) * 9000, "is a scale missing?"),
        (np.ones((2, 3, 4, 6)), "2 of 2 samples hold one value only"),
        (np.repeat(np.random.default_rng(0).random((2, 1, 4, 6)), 3, axis=1), "All samples are grey"),
    ],
)
def test_hints(values: np.ndarray, hint: str) -> None:
    assert any(hint in sentence for sentence in statistics(values.astype(np.float32)).hints())


def test_no_hints_where_nothing_is_odd() -> None:
    assert statistics(np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)).hints() == []


def test_the_sheet_shows_the_pictures(tmp_path: Path) -> None:
    pixels = colours(4, 6)
    sheet = ContactSheet(plan_for(COLOUR[0], InputOptions()))
    planes = pixels[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    sheet.add((planes - 100) * np.float32(0.01), "a very long name of a photograph.jpg")
    sheet.add((planes - 100) * np.float32(0.01), "ünïcode")
    image = Image.open(io.BytesIO(sheet.png()))
    assert image.size == (2 * 134 + 6, 148 + 6)
    low, high = int(pixels.min()), int(pixels.max())
    expected = np.round((pixels[0, 0].astype(float) - low) / (high - low) * 255)
    # 6 pixels wide becomes 128: the picture is 85 high, and its first pixel covers the corner.
    assert np.abs(np.asarray(image)[6 + 21 + 4, 6 + 4] - expected).max() <= 1
    assert sheet.png() == sheet.png()


def test_the_sheet_takes_so_many_and_no_more() -> None:
    sheet = ContactSheet(plan_for(GRAY[0], InputOptions()))
    for index in range(MAXIMUM_PICTURES + 5):
        sheet.add(np.full((1, 1, 4, 6), index, np.float32), str(index))
    assert sheet.full
    assert len(sheet.captions) == MAXIMUM_PICTURES
    assert Image.open(io.BytesIO(sheet.png())).size == (8 * 134 + 6, 8 * 148 + 6)


def test_what_is_a_picture() -> None:
    assert is_picture(plan_for(COLOUR[0], InputOptions()))
    for shape in ((1, 15, 4, 6), (1, 10), (2, 3, 4, 6)):
        assert not is_picture(plan_for(ModelInput("x", "x", shape), InputOptions(), batchable=False))
