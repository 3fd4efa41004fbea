"""What a network expects of its images: the statistics of its first BatchNorm against what it really sees.

BatchNorm stored, while training, the mean and deviation of what reached it. The same data with the same preprocessing
give these numbers again; a wrong scale, a missing mean or swapped channels do not. Other preprocessings are tried on a
few of the samples, through the layers before that BatchNorm only, and the numbers say which one fits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.channels import by_channel
from gfpq_inspect.analyze.findings.case import Case, Statistics
from gfpq_inspect.analyze.findings.reordered import reordered
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import Layer, Model, ModelInput
from gfpq_inspect.models.pair import canonical_type
from gfpq_inspect.models.run import LayerRunner

MOST_SAMPLES = 16
_MOST_ELEMENTS = 24_000_000
_IMAGE_CHANNELS = (1, 3)
_FLOAT32_TINY = 1e-12
_FEWEST_NORMS = 5
_DEEP_SAMPLES = 8

Images = list[NDArray[np.float32]]


@dataclass(frozen=True)
class InputRange:
    """What reaches one image input.

    Attributes:
        name: Its name for people.
        channels: 1 or 3.
        lowest: Smallest value.
        highest: Largest value.
        mean: float64 [channels].
        deviation: float64 [channels].
        grey: All channels are equal in every sample.
        samples: Samples looked at.
    """

    name: str
    channels: int
    lowest: float
    highest: float
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    grey: bool
    samples: int


@dataclass(frozen=True)
class Expectation:
    """How the first BatchNorm judges the input as it is, and as it might be.

    Attributes:
        row: Row of that BatchNorm.
        samples: Samples that were tried.
        mismatch: Median over channels of the divergence between what it stored and what it sees, in nats.
        factor: Median over channels of stored over seen deviation: what the input should be multiplied by.
        shift: What should be added to each input channel, in units of the input; after scaling by `factor` where that
            is far from 1.
        shifted_mismatch: The mismatch with that shift.
        orders: Every other order of three channels, with its mismatch, best first; empty for grey input.
        swap_log_ratio: Mean over all channels of all BatchNorm layers of ln(mismatch with the first and last channel
            swapped / mismatch as it is), or None where it was not tried. Below 0 the swapped images fit better.
        swap_share: Share of those channels that the swapped images fit better.
        swapped_shift: As `shift`, with the first and last channel of the images swapped; None where it was not tried.
    """

    row: str
    samples: int
    mismatch: float
    factor: float
    shift: NDArray[np.float64]
    shifted_mismatch: float
    orders: tuple[tuple[tuple[int, ...], float], ...]
    swap_log_ratio: float | None = None
    swap_share: float | None = None
    swapped_shift: NDArray[np.float64] | None = None


def image_input(model: Model) -> ModelInput | None:
    """The only image input of a network, or None where there is none or several."""
    images = [entry for entry in model.inputs if len(entry.shape) == 4 and entry.shape[1] in _IMAGE_CHANNELS]
    return images[0] if len(images) == 1 else None


def read_images(case: Case) -> Images:
    """A few samples of the first model's image input, evenly from the set, each float32 [1, C, H, W]."""
    known: Images | None = case.notes.get("images")
    if known is None:
        known = case.notes["images"] = list(_images(case))
    return known


def _images(case: Case) -> Iterator[NDArray[np.float32]]:
    entry = image_input(case.first)
    if entry is None or any(size <= 0 for size in entry.shape):
        return
    shapes = {one.name: (1, *one.shape[1:]) if one.shape else () for one in case.first.inputs}
    size = int(np.prod(shapes[entry.name]))
    wanted = max(1, min(MOST_SAMPLES, _MOST_ELEMENTS // max(1, size)))
    stride = max(1, case.source.count // wanted)
    for index, arrays in enumerate(case.source.batches(1, shapes)):
        if index % stride == 0 and index // stride < wanted:
            yield np.ascontiguousarray(arrays[entry.name], dtype=np.float32)


def input_range(case: Case) -> InputRange | None:
    """Range of the first model's image input, or None where it has none; worked out once a case."""
    if "input_range" not in case.notes:
        case.notes["input_range"] = _input_range(case)
    known: InputRange | None = case.notes["input_range"]
    return known


def _input_range(case: Case) -> InputRange | None:
    entry = image_input(case.first)
    images = read_images(case)
    if entry is None or not images:
        return None
    stacked = np.concatenate(images).astype(np.float64)
    grey = stacked.shape[1] == 3 and bool(np.ptp(stacked, axis=1).max() == 0)
    return InputRange(
        name=entry.name,
        channels=stacked.shape[1],
        lowest=float(stacked.min()),
        highest=float(stacked.max()),
        mean=stacked.mean((0, 2, 3)),
        deviation=stacked.std((0, 2, 3)),
        grey=grey,
        samples=len(images),
    )


def expectation(case: Case) -> Expectation | None:
    """What the first model's first BatchNorm says of the input; None where no BatchNorm sits behind an image input.

    Worked out once a case.
    """
    if "expectation" not in case.notes:
        case.notes["expectation"] = _expectation(case)
    known: Expectation | None = case.notes["expectation"]
    return known


def _expectation(case: Case) -> Expectation | None:
    entry = image_input(case.first)
    seen = input_range(case)
    if entry is None or seen is None or case.synthetic:
        return None
    front = first_norm(case, entry)
    if front is None:
        return None
    layer, statistics, before = front
    probe = _Probe(case.first, entry, layer, statistics, before, read_images(case))
    mean, deviation = probe.observe(probe.images)
    mismatch = probe.mismatch(mean, deviation)
    live = deviation > _FLOAT32_TINY
    if not live.any() or not np.isfinite(mismatch):
        return None
    factor = float(np.median(statistics.deviation[live] / deviation[live]))
    images = probe.images
    if not 1 / 3 < factor < 3:
        images = [image * np.float32(factor) for image in images]
    shift, shifted_mismatch = probe.best_shift(images)
    steps = case.source.facts().preprocessing
    orders: list[tuple[tuple[int, ...], float]] = []
    if seen.channels == 3 and not seen.grey:
        for order in itertools.permutations(range(3)):
            if order != (0, 1, 2):
                permuted = [reordered(image, order, steps) for image in probe.images]
                orders.append((order, probe.mismatch(*probe.observe(permuted))))
    orders.sort(key=lambda item: item[1])
    ratio, share = _swapped(case, probe) if orders and 1 / 3 < factor < 3 else (None, None)
    swapped = [reordered(image, (2, 1, 0), steps) for image in images] if orders else []
    return Expectation(
        row=case.row_key(Side.FIRST, layer.key),
        samples=len(probe.images),
        mismatch=mismatch,
        factor=factor,
        shift=shift,
        shifted_mismatch=shifted_mismatch,
        orders=tuple(orders),
        swap_log_ratio=ratio,
        swap_share=share,
        swapped_shift=probe.best_shift(swapped)[0] if swapped else None,
    )


def never_trained(statistics: Statistics) -> bool:
    """Mean 0 and deviation 1, as a BatchNorm begins: they say nothing of the data."""
    return bool(np.abs(statistics.mean).max() < 1e-6 and np.abs(statistics.deviation - 1).max() < 1e-3)


def _swapped(case: Case, probe: _Probe) -> tuple[float | None, float | None]:
    """Whether all BatchNorm layers together fit the images better with their first and last channel swapped.

    One BatchNorm often cannot tell: the mean of natural images is nearly grey. All of them together mostly can.
    """
    norms = [(layer, statistics) for layer, statistics in case.batch_norms(Side.FIRST) if not never_trained(statistics)]
    layers = [layer for layer in case.first.layers if layer.nodes]
    if len(norms) < _FEWEST_NORMS or len(case.first.inputs) != 1:
        return None, None
    last = max(index for index, layer in enumerate(layers) if layer.key == norms[-1][0].key)
    runner = LayerRunner(case.first, layers[:last], {layer.inputs[0] for layer, _ in norms})
    mismatches = []
    for order in ((0, 1, 2), (2, 1, 0)):
        totals: dict[str, list[NDArray[np.float64]]] = {}
        for image in probe.images[:_DEEP_SAMPLES]:
            feed = {probe.entry.value: reordered(image, order, case.source.facts().preprocessing)}
            tensors = feed | runner.run(feed)
            for layer, _ in norms:
                totals.setdefault(layer.key, []).append(channel_sums(tensors[layer.inputs[0]]))
        mismatches.append(np.concatenate([_divergences(sum(totals[one.key]), known) for one, known in norms]))
    before, after = mismatches
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return None, None
    # A hundredth of a nat is noise of the sample; it keeps channels that fit perfectly from deciding.
    ratio = np.log((after[known] + 0.01) / (before[known] + 0.01))
    return float(ratio.mean()), float((after[known] < before[known]).mean())


def channel_sums(tensor: NDArray[Any]) -> NDArray[np.float64]:
    """[count, sum, sum of squares] of every channel."""
    rows = by_channel(tensor)
    return np.stack(
        [
            np.full(len(rows), float(rows.shape[1])),
            rows.sum(1, dtype=np.float64),
            np.einsum("cp,cp->c", rows, rows, dtype=np.float64),
        ]
    )


def _divergences(sums: Any, stored: Statistics) -> NDArray[np.float64]:
    """Divergence of every channel from [count, sum, sum of squares]."""
    mean = sums[1] / sums[0]
    return divergence(mean, np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0.0)), stored)


def divergence(mean: NDArray[np.float64], deviation: NDArray[np.float64], stored: Statistics) -> NDArray[np.float64]:
    """Divergence of Gaussians a channel, seen from stored, in nats; NaN for a channel without a deviation."""
    with np.errstate(all="ignore"):
        seen = np.maximum(deviation, stored.deviation * 1e-6)
        fit = (seen**2 + (mean - stored.mean) ** 2) / (2 * stored.deviation**2)
        result: NDArray[np.float64] = np.log(stored.deviation / seen) + fit - 0.5
    return result


def first_norm(case: Case, entry: ModelInput) -> tuple[Layer, Statistics, list[Layer]] | None:
    """The first trained BatchNorm behind an input, with the layers between them."""
    producer = {value: layer for layer in case.first.layers for value in layer.outputs if layer.nodes}
    for layer, statistics in case.batch_norms(Side.FIRST):
        before: dict[str, Layer] = {}
        waiting, ends = [layer.inputs[0]], set()
        while waiting:
            value = waiting.pop()
            source = producer.get(value)
            if source is None:
                ends.add(value)
            elif source.key not in before:
                before[source.key] = source
                waiting.extend(source.inputs)
        own = [one for one in case.first.layers if one.key in before]
        if ends != {entry.value} or never_trained(statistics):
            continue
        others = (case.statistics(Side.FIRST, one) for one in own if canonical_type(one) in ("BatchNorm", "BN"))
        if all(other is not None and never_trained(other) for other in others):
            return layer, statistics, own
    return None


@dataclass(frozen=True)
class _Probe:
    """Runs the layers before the first BatchNorm on changed images."""

    model: Model
    entry: ModelInput
    layer: Layer
    statistics: Statistics
    before: Sequence[Layer]
    images: Images

    @cached_property
    def _runner(self) -> LayerRunner:
        return LayerRunner(self.model, self.before, [self.layer.inputs[0]])

    def observe(self, images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of what reaches the BatchNorm, float64 [channels]."""
        count, total, squares = 0, 0.0, 0.0
        for image in images:
            tensor = self._runner.run({self.entry.value: image})[self.layer.inputs[0]] if self.before else image
            sums = channel_sums(tensor)
            count += int(sums[0, 0])
            total = total + sums[1]
            squares = squares + sums[2]
        mean = np.asarray(total) / count
        return mean, np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0.0))

    def mismatch(self, mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> float:
        """Median over channels of the divergence of Gaussians: stored from seen; dead channels say nothing."""
        found = divergence(mean, deviation, self.statistics)
        finite = found[np.isfinite(found)]
        return float(np.median(finite)) if finite.size else float("nan")

    def best_shift(self, images: Images) -> tuple[NDArray[np.float64], float]:
        """What to add to each channel so that the means fit (least squares in units of the stored deviations)."""
        channels = images[0].shape[1]
        step = np.float32(max(float(np.std(np.concatenate(images))), _FLOAT32_TINY))
        mean, deviation = self.observe(images)
        columns = []
        for channel in range(channels):
            moved = []
            for image in images:
                changed = image.copy()
                changed[:, channel] += step
                moved.append(changed)
            columns.append((self.observe(moved)[0] - mean) / step)
        weight = 1 / np.maximum(self.statistics.deviation, deviation + _FLOAT32_TINY)
        matrix = np.stack(columns, axis=1) * weight[:, None]
        target = (self.statistics.mean - mean) * weight
        known = np.isfinite(matrix).all(axis=1) & np.isfinite(target)  # not where an image overflows or holds NaN
        # Directions that the first layer hardly sees are left alone.
        shift = np.linalg.lstsq(matrix[known], target[known], rcond=0.05)[0].astype(np.float64)
        moved = [image + shift.astype(np.float32).reshape(1, -1, 1, 1) for image in images]
        return shift, self.mismatch(*self.observe(moved))
