"""Everything that a run learns of the task, batch by batch: decisions and metrics of the caller's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gfpq_inspect.analyze.engine.interface import Facts
from gfpq_inspect.analyze.result import Judgement
from gfpq_inspect.analyze.rows import TableRow
from gfpq_inspect.analyze.task import DecisionMeter, decision_outputs
from gfpq_inspect.analyze.task_metrics import MetricLike, MetricMeter
from gfpq_inspect.analyze.task_result import Task
from gfpq_inspect.inputs.labels import Labels


@dataclass(frozen=True)
class TaskPlan:
    """What a run is asked to judge beside layers.

    Attributes:
        labels: True classes of all samples, or None.
        outputs: Row keys of the outputs whose largest value is the decision; empty to tell them from their values.
        metrics: Name to metric of the caller's own.
    """

    labels: Labels | None = None
    outputs: tuple[str, ...] = ()
    metrics: Mapping[str, MetricLike] | None = None


class TaskMeter:
    """Sees the network outputs of every lane.

    Args:
        plan: What to judge.
        table: The rows of the run.
        facts: Shapes.
        identities: Sample names.

    Raises:
        UsageError: An output that was named cannot hold a decision.
        InputError: Labels that no output has a value for.
    """

    def __init__(self, plan: TaskPlan, table: Sequence[TableRow], facts: Facts, identities: Sequence[str]) -> None:
        outputs = decision_outputs(table, facts, plan.labels, plan.outputs)
        # Folder names may be anything: they are classes only where an output has a value for each.
        self._labels = None if plan.labels is not None and plan.labels.guessed and not outputs else plan.labels
        if self._labels is not plan.labels:
            outputs = decision_outputs(table, facts, None, plan.outputs)
        alone = sum(row.is_output for row in table) == 1
        self._identities = identities
        self._decisions = DecisionMeter(outputs, self._labels, only_output=alone, chosen=bool(plan.outputs))
        self._metrics = MetricMeter(plan.metrics or {}, self._labels, identities)

    def add(self, first: int, samples: int, tensors: Mapping[tuple[str, str], Any]) -> None:
        """Add a batch; batches come in sample order.

        Args:
            first: Index of its first sample.
            samples: Samples in it.
            tensors: (row key, lane) to the lane's tensor.
        """
        self._decisions.add(first, samples, tensors)
        self._metrics.add(first, samples, tensors)

    def state(self) -> dict[str, Any]:
        """Plain values and arrays from which `restore` goes on."""
        return {"decisions": self._decisions.state(), "metrics": self._metrics.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._decisions.restore(state["decisions"])
        self._metrics.restore(state["metrics"])

    def decisions_of(self, lanes: Sequence[str]) -> dict[str, Any]:
        """What some of the lanes decided; see `DecisionMeter.merge`."""
        return self._decisions.decisions_of(lanes)

    def merge(self, state: Mapping[str, Any], lanes: Sequence[str]) -> None:
        """Add what other lanes decided on the same samples; see `DecisionMeter.merge`."""
        self._decisions.merge(state, lanes)

    def result(self, judged_lane: str) -> Task | None:
        """What was found, or None where nothing can be said of the task.

        Args:
            judged_lane: Lane that the sentences speak of.
        """
        outputs = self._decisions.result(judged_lane, self._identities)
        scores = self._metrics.result(judged_lane)
        if not outputs and not scores:
            return None
        labels = self._labels
        return Task(
            samples=self._decisions.samples,
            labels=labels.origin if labels is not None else None,
            judged_lane=judged_lane,
            class_names=labels.names if labels is not None else (),
            outputs=outputs,
            scores=scores,
        )


def judgement_with_task(judgement: Judgement, task: Task | None) -> Judgement:
    """Add the task's lines to a verdict; a loss beyond what the format is designed for is no good verdict.

    A loss of more than 1 point counts where its interval lies above 0: fewer samples may lose a point by chance.
    """
    if task is None:
        return judgement
    lines = (*(entry.sentence for entry in task.outputs), *(entry.sentence for entry in task.scores))
    failed = tuple(entry.output for entry in task.outputs if entry.loss == "beyond 1")
    sentence = judgement.sentence
    if failed and judgement.good:
        named = ", ".join(f"'{name}'" for name in failed)
        sentence = f"Not good: top-1 at {named} loses more than 1 point. Of the layers: {sentence}"
    good = judgement.good and not failed
    return replace(judgement, good=good, failed_tasks=failed, lines=lines, sentence=sentence)
