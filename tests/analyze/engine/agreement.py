"""Two engines side by side on one batch, with coefficients taken from one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Experiment, Feeds, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.tensors import sample_of
from gfpq_inspect.analyze.lanes import Side, comparisons_for, lanes_for
from gfpq_inspect.analyze.points import points_of
from gfpq_inspect.analyze.rows import table_rows
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.pair_quantized import pair_models
from gfpq_inspect.quantize import gfpq_of, kernels
from gfpq_inspect.quantize.kernels import SUM_FIELDS

COLUMN = SUM_FIELDS.index
ADDED = [COLUMN(f"sum_{name}") for name in ("x", "y", "xx", "yy", "xy", "d", "dd", "abs_d")]
# Tensors of so many elements may be summed in float32, within 1e-8 of the sum of magnitudes: chunks of 24 576, and
# pieces of at least 4 096 of blocked ones, after a first one of 4 096 (native/src/similarity.hpp, ort/layout.cpp).
FLOAT_CHUNK, FLOAT_BOUND = 8192, 2 * 1e-8
EXACT = [COLUMN(name) for name in SUM_FIELDS if COLUMN(name) not in ADDED]


def experiment_of(first: Model, second: Model | None = None, *, bits: int = 8, isolate: bool = True) -> Experiment:
    """As a session makes it; every row is handed out."""
    models, pairing = {Side.FIRST: first}, None
    if second is not None:
        pairing, models[Side.SECOND] = pair_models(first, second)
    table = table_rows(models, pairing)
    number_format = gfpq_of(bits)
    return Experiment(
        models=models,
        lanes=lanes_for(second=second is not None, quantized=True, isolate=isolate),
        comparisons=comparisons_for(second=second is not None, quantized=True, isolate=isolate),
        rows=tuple(row.row for row in table),
        points=tuple(point for side, model in models.items() for point in points_of(side, model, number_format)),
        weights=WeightTable(models, number_format),
        bits=bits,
        per_sample=False,
    )


def capturing(experiment: Experiment, facts_of: LayeredEngine, feeds: Feeds) -> Experiment:
    """The experiment with all floating-point rows handed out."""
    floating = facts_of.trial(feeds, 1).floating
    keys = tuple(row.key for row in experiment.rows if all(item in floating for item in row.values.items()))
    return replace(experiment, captured=keys)


def noise(experiment: Experiment, samples: int = 1, seed: int = 1, scale: float = 1.0) -> Feeds:
    """The same seeded noise for both models' inputs, by place."""
    feeds: dict[Side, dict[str, NDArray]] = {}
    for side, model in experiment.models.items():
        random = np.random.default_rng(seed)
        feeds[side] = {
            entry.value: (random.standard_normal((entry.shape[0] * samples, *entry.shape[1:])) * scale).astype(
                entry.dtype
            )
            for entry in model.inputs
        }
    return feeds


def stacks(experiment: Experiment, feeds: Feeds, samples: int) -> bool:
    """Whether several samples may go through the layers together, as a session finds it out."""
    if not all(model.batchable for model in experiment.models.values()):
        return False
    engine = LayeredEngine(experiment)
    try:
        together = engine.trial(feeds, samples, digests=True).digests
    except ModelError:
        return False
    apart = [
        engine.trial(
            {
                side: {name: sample_of(array, index, samples) for name, array in arrays.items()}
                for side, arrays in feeds.items()
            },
            1,
            digests=True,
        ).digests
        for index in range(samples)
    ]
    return all(
        found == (sum((each[value] for each in apart), ()) if len(found) == samples else apart[0][value])
        for value, found in together.items()
    )


def coefficients(experiment: Experiment, magnitudes: NDArray[np.float64], *, each: bool = False) -> list[object]:
    """A coefficient for every point; every other one from each sample where `each`."""
    found: list[object] = []
    for index, point in enumerate(experiment.points):
        value = kernels.coefficient_of(float(magnitudes[:, index].max()), point.bits)
        found.append(EACH_SAMPLE if each and index % 2 else value)
    return found


def assert_equal(one: Measurement, other: Measurement, *, same_order: bool) -> None:
    """Counts, extremes, evidence and tensors are equal; sums too where they are added in the same order."""
    assert one.samples == other.samples
    assert one.problems == other.problems
    np.testing.assert_array_equal(one.sums[..., EXACT], other.sums[..., EXACT])
    assert one.evidence == other.evidence
    assert one.captured.keys() == other.captured.keys()
    for key, array in other.captured.items():
        np.testing.assert_array_equal(one.captured[key], array, err_msg=str(key))
    if same_order:
        np.testing.assert_array_equal(one.sums, other.sums)
        np.testing.assert_array_equal(one.isolation, other.isolation)
        return
    count = other.sums[..., COLUMN("count")]
    large = count >= FLOAT_CHUNK
    for column in ADDED:
        scale = _magnitude(other.sums, column)
        bound = np.where(large, FLOAT_BOUND, 1e-12) * scale
        difference = np.abs(one.sums[..., column] - other.sums[..., column])
        found = difference <= bound + 1e-9 * np.abs(other.sums[..., column]) + 1e-300
        assert np.all(found | ~np.isfinite(other.sums[..., column])), SUM_FIELDS[column]
    assert np.all(np.abs(cosines(one) - cosines(other)) <= np.where(large, 2 * FLOAT_BOUND, 1e-12))
    largest = np.abs(other.isolation).max(initial=0.0, axis=-1, keepdims=True)
    assert np.all(np.abs(one.isolation - other.isolation) <= FLOAT_BOUND * largest + 1e-300)


def _magnitude(sums: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    """What the error of a sum is measured by: no less than the sum of the magnitudes of what is added."""
    with np.errstate(over="ignore", invalid="ignore"):
        square_x, square_y, square_d = (sums[..., COLUMN(name)] for name in ("sum_xx", "sum_yy", "sum_dd"))
        bounds = {
            "sum_x": np.sqrt(square_x * sums[..., COLUMN("count")]),
            "sum_y": np.sqrt(square_y * sums[..., COLUMN("count")]),
            "sum_d": np.sqrt(square_d * sums[..., COLUMN("count")]),
            "sum_xy": np.sqrt(square_x * square_y),
        }
        own = np.abs(sums[..., column])
        return np.maximum(own, bounds.get(SUM_FIELDS[column], own))


def cosines(measurement: Measurement) -> NDArray[np.float64]:
    """Cosine of every sample, row and comparison; 1 where nothing was summed."""
    sums = measurement.sums
    energy = np.sqrt(sums[..., COLUMN("sum_xx")] * sums[..., COLUMN("sum_yy")])
    return np.divide(sums[..., COLUMN("sum_xy")], energy, out=np.ones_like(energy), where=energy > 0)


def assert_engines_agree(
    experiment: Experiment, feeds: Feeds, samples: int = 1, *, blocked: bool, each: bool = False, stacked: bool = False
) -> MergedEngine:
    """Run both engines on a batch; the caller looks whether the merged one has really merged."""
    layered = MergedEngine(experiment, blocked=blocked, merge=False)
    first = {
        side: {name: a[: len(a) // samples] if a.ndim else a for name, a in arrays.items()}
        for side, arrays in feeds.items()
    }
    experiment = capturing(experiment, layered, first)
    layered = MergedEngine(experiment, blocked=blocked, merge=False)
    merged = MergedEngine(experiment, blocked=blocked, stacked=stacked)
    for engine in (layered, merged):
        engine.trial(first, 1)
    magnitudes = layered.calibrate(feeds, samples)
    np.testing.assert_array_equal(merged.calibrate(feeds, samples), magnitudes)
    deltas = coefficients(experiment, magnitudes, each=each)
    for given in (deltas, None) if each else (deltas,):
        one, other = merged.measure(feeds, samples, given), layered.measure(feeds, samples, given)
        assert_equal(one, other, same_order=merged.is_plain)
    return merged
