"""The task itself: what every lane decides, how often it is right, and what quantization changed of that.

The decision of a lane is the place of the largest value of an output with one value a class (the first one among equal
values, as `argmax`). Which outputs are taken for such is told from their shape and values, or from the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Facts
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.paired import Pairs, mcnemar_p_value, paired_difference_interval, wilson_interval
from gfpq_inspect.analyze.rows import TableRow
from gfpq_inspect.analyze.task_result import (
    DESIGNED_LOSS_POINTS,
    TYPICAL_LOSS_POINTS,
    ChangedDecision,
    Interval,
    LaneDecisions,
    TaskOutput,
)
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.labels import Labels

CHANGES_A_LANE = 200
"""Changed decisions that a result lists for each lane; it always counts all."""
TOP = 5
SUM_TOLERANCE = 1e-3
"""Distance from 1 up to which values that are not negative are probabilities."""
FLOAT, TUNED_FLOAT = "float", "tuned_float"

Decisions = NDArray[np.int32]


def decision_outputs(
    table: Sequence[TableRow], facts: Facts, labels: Labels | None, chosen: Sequence[str] = ()
) -> dict[str, int]:
    """The network outputs that may hold one value a class.

    Args:
        table: The rows of the run.
        facts: Shapes of one sample.
        labels: True classes, or None.
        chosen: Row keys of the outputs that the user named; all that fit by default.

    Returns:
        Row key to number of classes.

    Raises:
        UsageError: The user named what is no output, or one that is no vector.
        InputError: Labels that no output has a value for.
    """
    outputs = [row for row in table if row.is_output and Side.FIRST in row.row.values]
    vectors = {row.row.key: size for row in outputs if (size := _vector_size(row, facts)) is not None}
    unknown = [name for name in chosen if name not in vectors]
    if unknown:
        listed = ", ".join(f"'{name}'" for name in vectors) or "none"
        raise UsageError(f"'{unknown[0]}' is no network output with one value a class; there are {listed}.")
    vectors = {name: size for name, size in vectors.items() if not chosen or name in chosen}
    if labels is None:
        return vectors
    largest = max(labels.classes, default=0)
    fitting = {name: size for name, size in vectors.items() if size > largest}
    if not fitting and not labels.guessed:
        sizes = ", ".join(f"'{name}' with {size} values" for name, size in vectors.items()) or "none with a vector"
        raise InputError(
            f"the labels ({labels.origin}) go up to class {largest}, but the network's outputs are: {sizes}; "
            "give labels numbered from 0 as the network numbers its classes."
        )
    return fitting


def _vector_size(row: TableRow, facts: Facts) -> int | None:
    """Length of an output of which exactly one axis is longer than one."""
    value = (Side.FIRST, row.row.values[Side.FIRST])
    longer = [length for length in facts.shapes.get(value, ()) if length != 1]
    return longer[0] if len(longer) == 1 and longer[0] > 1 and value in facts.floating else None


class DecisionMeter:
    """Remembers what every lane decides for every sample: five bytes a sample, lane and output.

    Args:
        outputs: Row key to number of classes.
        labels: True classes of all samples, or None.
        only_output: The network has no other output.
        chosen: The user named the outputs.
    """

    def __init__(self, outputs: Mapping[str, int], labels: Labels | None, *, only_output: bool, chosen: bool) -> None:
        self._outputs = dict(outputs)
        self._labels = labels
        self._truth = np.array(labels.classes if labels is not None else (), dtype=np.int64)
        self._only_output = only_output
        self._chosen = chosen
        self._decisions: dict[tuple[str, str], list[Decisions]] = {}
        self._among: dict[tuple[str, str], list[NDArray[np.bool_]]] = {}
        self._spread = dict.fromkeys(outputs, True)
        self.samples = 0

    def add(self, first: int, samples: int, tensors: Mapping[tuple[str, str], Any]) -> None:
        """Add a batch; batches come in sample order.

        Args:
            first: Index of its first sample.
            samples: Samples in it.
            tensors: (row key, lane) to the lane's tensor.
        """
        self.samples += samples
        for (output, lane), array in tensors.items():
            classes = self._outputs.get(output)
            if classes is None or not isinstance(array, np.ndarray) or array.size != samples * classes:
                continue
            values = array.reshape(samples, classes)
            found = values.argmax(axis=1).astype(np.int32)
            found[~np.isfinite(values).all(axis=1)] = -1
            self._decisions.setdefault((output, lane), []).append(found)
            if lane == FLOAT and self._spread[output]:
                self._spread[output] = _probabilities(values)
            if self._labels is not None and classes > TOP:
                among = _among_largest(values, self._truth[first : first + samples]) & (found >= 0)
                self._among.setdefault((output, lane), []).append(among)

    def state(self) -> dict[str, Any]:
        """Plain values and arrays from which `restore` goes on."""
        return {
            "samples": self.samples,
            "spread": dict(self._spread),
            "decisions": [[*key, np.concatenate(parts)] for key, parts in self._decisions.items()],
            "among": [[*key, np.concatenate(parts)] for key, parts in self._among.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.samples = int(state["samples"])
        self._spread = {str(key): bool(value) for key, value in state["spread"].items()}
        self._decisions = {(output, lane): [array] for output, lane, array in state["decisions"]}
        self._among = {(output, lane): [array] for output, lane, array in state["among"]}

    def decisions_of(self, lanes: Sequence[str]) -> dict[str, Any]:
        """What some of the lanes decided; see `merge`."""
        state = self.state()
        for part in ("decisions", "among"):
            state[part] = [entry for entry in state[part] if entry[1] in lanes]
        return state

    def merge(self, state: Mapping[str, Any], lanes: Sequence[str]) -> None:
        """Add what other lanes decided on the same samples.

        Args:
            state: From `decisions_of`.
            lanes: All lanes, in the order of the reports.
        """
        self.samples = max(self.samples, int(state["samples"]))
        if not any(lane == FLOAT for _, lane in self._decisions):
            self._spread = {str(key): bool(value) for key, value in state["spread"].items()}
        for known, part in ((self._decisions, "decisions"), (self._among, "among")):
            own: dict[tuple[str, str], Any] = {(output, lane): [array] for output, lane, array in state[part]}
            own |= known
            order = sorted(own, key=lambda key: lanes.index(key[1]))
            known.clear()
            known.update((key, own[key]) for key in order)

    def result(self, judged_lane: str, identities: Sequence[str]) -> tuple[TaskOutput, ...]:
        """Judge all outputs whose largest value is a decision.

        Args:
            judged_lane: Lane that the sentences speak of.
            identities: Sample names.
        """
        found = []
        for output, classes in self._outputs.items():
            basis = self._basis(output)
            if basis and self._complete(output):
                found.append(self._output(output, classes, basis, judged_lane, identities))
        return tuple(found)

    def _complete(self, output: str) -> bool:
        """Whether every lane decided every sample: a detector's output has another size each time."""
        counts = {sum(map(len, parts)) for (row, _), parts in self._decisions.items() if row == output}
        return (output, FLOAT) in self._decisions and counts == {self.samples}

    def _basis(self, output: str) -> str:
        """Why an output's largest value is a decision; '' where nothing says so."""
        if self._chosen:
            return "named by the user"
        if self._labels is not None:
            return "it holds a value for each class of the labels"
        if self._spread[output]:
            return "its values are probabilities: never negative, adding up to 1"
        return "the network's only output, taken for one score a class" if self._only_output else ""

    def _output(self, output: str, classes: int, basis: str, judged_lane: str, identities: Sequence[str]) -> TaskOutput:
        decided = {lane: np.concatenate(parts) for (row, lane), parts in self._decisions.items() if row == output}
        lanes = tuple(self._lane(output, decided, lane, FLOAT) for lane in decided)
        tuned = tuple(
            self._lane(output, decided, lane, TUNED_FLOAT)
            for lane in decided
            if TUNED_FLOAT in decided and lane.startswith("tuned") and lane != TUNED_FLOAT
        )
        changes, left_out = self._changes(decided, identities)
        judged = next((entry for entry in lanes if entry.lane == judged_lane), lanes[-1])
        loss = loss_class(judged)
        sentence = _sentence(output, classes, judged, lanes[0], self.samples)
        return TaskOutput(output, classes, basis, lanes, tuned, loss, sentence, changes, left_out)

    def _lane(self, output: str, decided: Mapping[str, Decisions], lane: str, reference: str) -> LaneDecisions:
        own, other = decided[lane], decided[reference]
        total = len(own)
        changed = int(np.count_nonzero(own != other))
        agreement = LaneDecisions(
            lane, reference, changed, (total - changed) / total, Interval(*wilson_interval(total - changed, total))
        )
        if self._labels is None:
            return agreement
        truth = self._truth[:total]
        top1 = _paired(other == truth, own == truth)
        among = [
            np.concatenate(self._among[output, name]) for name in (reference, lane) if (output, name) in self._among
        ]
        top5 = _paired(among[0], among[1]) if len(among) == 2 else None
        right = top1.both + top1.second
        return LaneDecisions(
            lane=lane,
            reference=reference,
            changed=changed,
            agreement=agreement.agreement,
            agreement_interval=agreement.agreement_interval,
            top1=right / total,
            top1_interval=Interval(*wilson_interval(right, total)),
            top5=(top5.both + top5.second) / total if top5 is not None else None,
            loss_points=_loss_points(top1),
            loss_interval=_loss_interval(top1) if lane != reference else None,
            top5_loss_points=_loss_points(top5) if top5 is not None else None,
            top5_loss_interval=_loss_interval(top5) if top5 is not None and lane != reference else None,
            lost=top1.first,
            gained=top1.second,
            p_value=mcnemar_p_value(top1.first, top1.second) if lane != reference else None,
        )

    def _changes(
        self, decided: Mapping[str, Decisions], identities: Sequence[str]
    ) -> tuple[tuple[ChangedDecision, ...], int]:
        listed, left_out = [], 0
        for lane, own in decided.items():
            places = np.flatnonzero(own != decided[FLOAT])
            left_out += max(0, len(places) - CHANGES_A_LANE)
            for place in places[:CHANGES_A_LANE]:
                label = int(self._truth[place]) if self._labels is not None else None
                old, new = int(decided[FLOAT][place]), int(own[place])
                listed.append(ChangedDecision(identities[place], lane, old, new, label))
        return tuple(listed), left_out


def _probabilities(values: NDArray[Any]) -> bool:
    """Whether every row is never negative and adds up to 1."""
    sums = values.sum(axis=1, dtype=np.float64)
    return bool((values >= -SUM_TOLERANCE).all() and (np.abs(sums - 1.0) <= SUM_TOLERANCE).all())


def _among_largest(values: NDArray[Any], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the value of the true class is among the largest; of equal values the first comes first."""
    own = values[np.arange(len(values)), truth][:, None]
    earlier = np.arange(values.shape[1]) < truth[:, None]
    before = np.count_nonzero((values > own) | ((values == own) & earlier), axis=1)
    return np.asarray(before < TOP)


def _paired(reference: NDArray[np.bool_], lane: NDArray[np.bool_]) -> Pairs:
    both, first = int(np.count_nonzero(reference & lane)), int(np.count_nonzero(reference & ~lane))
    second = int(np.count_nonzero(~reference & lane))
    return Pairs(both, first, second, len(lane) - both - first - second)


def _loss_points(pairs: Pairs) -> float:
    return 100.0 * (pairs.first - pairs.second) / pairs.total


def _loss_interval(pairs: Pairs) -> Interval:
    low, high = paired_difference_interval(pairs)
    return Interval(100.0 * low, 100.0 * high)


def loss_class(lane: LaneDecisions) -> str:
    """Where a loss lies among the guide's two figures; see `TaskOutput.loss`."""
    if lane.loss_points is None or lane.loss_interval is None:
        return ""
    if lane.loss_points > DESIGNED_LOSS_POINTS:
        return "beyond 1" if lane.loss_interval.low > 0 else "beyond 1, perhaps by chance"
    return "below 0.5" if lane.loss_points < TYPICAL_LOSS_POINTS else "within 1"


_LOSS_TEXTS = {
    "below 0.5": "under 0.5 points, as the guide says of most networks",
    "within 1": "within the 1 point that the format is designed for",
    "beyond 1": "beyond the 1 point that the format is designed for",
    "beyond 1, perhaps by chance": "beyond the 1 point that the format is designed for, but so few samples may differ "
    "by chance: use more",
}


def _sentence(output: str, classes: int, judged: LaneDecisions, float_lane: LaneDecisions, samples: int) -> str:
    """The verdict on one output."""
    noun = "sample" if samples == 1 else "samples"
    changed = f"{judged.changed} of {samples} {noun} decided otherwise"
    if judged.top1 is None or judged.loss_points is None or judged.loss_interval is None or float_lane.top1 is None:
        bound = 100.0 * judged.changed / samples
        against = (
            "" if bound >= DESIGNED_LOSS_POINTS else f", so top-1 cannot fall by more than {bound:.2f} points here"
        )
        low = judged.agreement_interval.low
        return (
            f"Decisions at '{output}' ({judged.lane} against {judged.reference}): {100 * judged.agreement:.2f} % agree "
            f"(95 % interval from {100 * low:.2f} %), {changed}{against}."
        )
    interval = judged.loss_interval
    text = (
        f"Top-1 at '{output}': float {100 * float_lane.top1:.2f} %, {judged.lane} {100 * judged.top1:.2f} %, "
        f"a loss of {judged.loss_points:.2f} points (95 % interval {interval.low:.2f} to {interval.high:.2f}; "
        f"{changed}): {_LOSS_TEXTS[loss_class(judged)]}."
    )
    if interval.high > DESIGNED_LOSS_POINTS >= judged.loss_points:
        text += " So few samples cannot rule out a loss above 1 point: use more."
    if samples >= 50 and float_lane.top1 <= 2.0 / classes:
        text += " The float network itself is hardly better than chance: check the labels' numbering and the input."
    return text
