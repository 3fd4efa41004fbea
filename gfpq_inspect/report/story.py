"""What a reader wants to know first, taken from the result once for every renderer: what failed, where, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gfpq_inspect.analyze.result import Comparison, Isolation, LayerRow, Result, Run, Scores, Status, Task, Verdict
from gfpq_inspect.analyze.task_result import Interval, TaskOutput, TaskScore
from gfpq_inspect.report.text import cosine_text, percent, plural, shortened, sqnr_text, visible

CAUSE_WORDS = {
    "data": "quantizing its data",
    "weights": "quantizing its weights",
    "mixed": "data and weights together",
    "drift": "training (drift)",
    "dump": "something else than precision",
    "non-finite": "NaN or infinite values",
    "unmatched": "a layer without partner",
}
SEVERITIES = ("error", "warning", "note", "passed", "not applicable")
RANKING_KINDS = {"quantization", "drift", "total", "simulation", "reference"}
NAME_WIDTH = 60


@dataclass(frozen=True)
class FirstBad:
    """The first layer along the network that counts against the verdict.

    Attributes:
        row: The layer.
        numbers: Its scores in the judged comparison, for people.
        why: What made the error, one sentence.
        origin: Whether the error starts here or was handed on, one sentence; empty where that cannot be told.
    """

    row: LayerRow
    numbers: str
    why: str
    origin: str


def judged_comparison(result: Result) -> Comparison | None:
    """The comparison that the verdict stands on."""
    return next((c for c in result.comparisons if c.name == result.judgement.comparison), None)


def judged_scores(result: Result, row: LayerRow) -> Scores | None:
    """A row's scores in the judged comparison."""
    return row.scores.get(result.judgement.comparison)


def lanes_shown(result: Result) -> tuple[Comparison, ...]:
    """Comparisons that rank layers, the judged one first; those of lanes not fed from the start stand apart."""
    ranked = [c for c in result.comparisons if c.kind in RANKING_KINDS]
    name = result.judgement.comparison
    return tuple(sorted(ranked, key=lambda comparison: comparison.name != name))


def local_comparison(result: Result) -> Comparison | None:
    """The comparison that tells what each layer loses by itself, of the network that is judged."""
    judged = judged_comparison(result)
    local = [c for c in result.comparisons if c.kind == "local"]
    lane = judged.lane if judged is not None else "both"
    return next((c for c in local if c.lane == lane or c.name == f"local_{lane}"), local[-1] if local else None)


def badness(result: Result, row: LayerRow) -> tuple[float, ...]:
    """Sort key, worst first: flagged, then non-finite or unmatched, then by cosine and SQNR."""
    scores = judged_scores(result, row)
    flagged = 0.0 if row.verdict is Verdict.FLAGGED else 1.0
    if scores is None:
        return (flagged, -1.0 if row.verdict is Verdict.FLAGGED else 2.0, 0.0, row.index)
    broken = Status.NONFINITE in (scores.status, *scores.flags)
    cosine = scores.cosine if scores.cosine is not None else 1.0
    sqnr = scores.sqnr_db if scores.sqnr_db is not None else 1e9
    return (flagged, -1.0 if broken else cosine, sqnr, row.index)


def worst_first(result: Result) -> list[LayerRow]:
    """All judged rows, the worst first."""
    rows = [row for row in result.layers if row.verdict is not Verdict.NOT_JUDGED]
    return sorted(rows, key=lambda row: badness(result, row))


def outputs(result: Result) -> list[LayerRow]:
    """Network outputs that the judged comparison scores, the worst first."""
    rows = [row for row in result.layers if row.is_output and judged_scores(result, row)]
    return sorted(rows, key=lambda row: badness(result, row))


def counted(result: Result) -> list[LayerRow]:
    """Rows that count against the verdict, in network order."""
    keys = set(result.judgement.flagged) | set(result.judgement.failed_outputs)
    return [row for row in result.layers if row.key in keys]


def first_bad(result: Result) -> FirstBad | None:
    """Find where it starts.

    A layer that is bad while all it reads is good comes before one that only hands on what it got.
    """
    rows = counted(result)
    if not rows:
        return None
    bad = {row.key for row in rows}
    origins = [row for row in rows if row.scores and not bad.intersection(row.inputs)]
    row = min(origins or rows, key=lambda candidate: candidate.index)
    scores = judged_scores(result, row)
    numbers = numbers_text(scores) if scores is not None else row.reason
    return FirstBad(row, numbers, why(result, row), origin(result, row, bad))


def numbers_text(scores: Scores) -> str:
    """Cosine and SQNR of one comparison, or the status that stands in their place."""
    if scores.status is Status.EXACT:
        return "exact"
    parts = []
    if scores.cosine is not None:
        parts.append(f"cosine {cosine_text(scores.cosine)}")
    if scores.sqnr_db is not None:
        parts.append(f"{sqnr_text(scores)} dB")
    if scores.status is not Status.OK:
        parts.append(f"{scores.status.value}{f' ({scores.reason})' if scores.reason else ''}")
    return ", ".join(parts)


def isolation_of(result: Result, row: LayerRow) -> Isolation | None:
    """The isolation that explains the judged comparison: the tuned model's where that is judged."""
    comparison = judged_comparison(result)
    tuned = comparison is not None and comparison.lane.startswith("tuned")
    return (row.tuned_isolation or row.isolation) if tuned else row.isolation


def why(result: Result, row: LayerRow) -> str:
    """What made a layer's error, one sentence without a full stop."""
    if row.cause_reason:
        return row.cause_reason.rstrip(".")
    isolation = isolation_of(result, row)
    if isolation is not None and row.cause in {None, "data", "weights", "mixed"}:
        return shares_text(isolation)
    return CAUSE_WORDS.get(row.cause or "", row.cause or row.reason)


def shares_text(isolation: Isolation) -> str:
    """The three shares in words."""
    return (
        f"{percent(isolation.share_data)} of the error's energy from data, {percent(isolation.share_weight)} from "
        f"weights, {percent(isolation.interaction)} from their interaction"
    )


def origin(result: Result, row: LayerRow, bad: Iterable[str]) -> str:
    """Say whether what a layer reads was still good."""
    by_key = {other.key: other for other in result.layers}
    inputs = [by_key[key] for key in row.inputs if key in by_key and judged_scores(result, by_key[key])]
    if not inputs:
        return ""
    handed = [other for other in inputs if other.key in set(bad)]
    if handed:
        return f"It reads {shortened(handed[0].name, NAME_WIDTH)}, which is bad already"
    worst = min(inputs, key=lambda other: badness(result, other))
    scores = judged_scores(result, worst)
    if scores is None:
        return ""
    return (
        f"What it reads is good ({shortened(worst.name, NAME_WIDTH)}: {numbers_text(scores)}), so the error starts here"
    )


def votes_text(result: Result, most: int = 3) -> str:
    """In how many samples the error begins where: 'in 40 of 64 samples at conv4, in 12 at conv7'; empty for none."""
    origins = result.details.get("origins") or {}
    votes, samples = origins.get("votes") or {}, origins.get("samples") or 0
    told = [
        f"in {count} of {plural(samples, 'sample')} at {shortened(key, NAME_WIDTH)}" if index == 0
        else f"in {count} at {shortened(key, NAME_WIDTH)}"
        for index, (key, count) in enumerate(list(votes.items())[:most])
    ]  # fmt: skip
    return f"The error begins {', '.join(told)}" if told else ""


@dataclass(frozen=True)
class TaskTable:
    """Decisions of all lanes at one output, as text: a title, column heads, a row a lane, and what changed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    basis: str
    changes: tuple[tuple[str, ...], ...]
    changes_left_out: int


CHANGE_COLUMNS = ("sample", "lane", "float decided", "now", "label")


def task_tables(result: Result) -> list[TaskTable]:
    """Accuracy of every lane where labels are known, else agreement of decisions; and metrics of the caller's own."""
    if result.task is None:
        return []
    return [_decision_table(result.task, output) for output in result.task.outputs] + [
        _score_table(score) for score in result.task.scores
    ]


def _decision_table(task: Task, output: TaskOutput) -> TaskTable:
    labelled = any(lane.top1 is not None for lane in output.lanes)
    top5 = any(lane.top5 is not None for lane in output.lanes)
    columns = ["lane", *(["top-1"] if labelled else []), *(["top-5"] if top5 else [])]
    columns += [*(["loss, pt", "95 % interval"] if labelled else []), "agrees", "changed"]
    rows = []
    for lane in output.lanes:
        cells = [visible(lane.lane)]
        if labelled:
            cells.append(_share(lane.top1))
        if top5:
            cells.append(_share(lane.top5))
        if labelled:
            cells += [_points(lane.loss_points if lane.lane != lane.reference else None), _interval(lane.loss_interval)]
        cells += [_share(lane.agreement), str(lane.changed)]
        rows.append(tuple(cells))
    what = f"Accuracy at {shortened(output.output, NAME_WIDTH)} on {plural(task.samples, 'sample')}" if labelled else (
        f"Decisions at {shortened(output.output, NAME_WIDTH)} on {plural(task.samples, 'sample')}"
    )  # fmt: skip
    origin = f"labels: {visible(task.labels)}; " if labelled and task.labels else ""
    changes = tuple(
        (shortened(change.sample, NAME_WIDTH), visible(change.lane), *(
            _class_name(task, number) for number in (change.old, change.new, change.label)
        ))
        for change in output.changes
    )  # fmt: skip
    basis = f"{origin}taken for a decision: {visible(output.basis)}"
    return TaskTable(what, tuple(columns), tuple(rows), basis, changes, output.changes_left_out)


def _score_table(score: TaskScore) -> TaskTable:
    rows = tuple(
        (
            visible(lane),
            "undefined" if value is None else f"{value:.6g}",
            "-" if lane == "float" or score.losses.get(lane) is None else f"{score.losses[lane]:.4g}",
            _plain_interval(score.loss_intervals.get(lane) if lane != "float" else None),
        )
        for lane, value in score.values.items()
    )
    unit = f" in {visible(score.unit)}" if score.unit else ""
    basis = f"{score.better} is better"
    return TaskTable(f"{visible(score.name)}{unit}", ("lane", "value", "loss", "95 % interval"), rows, basis, (), 0)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.2f} to {interval.high:.2f}"


def _plain_interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"


def _class_name(task: Task, number: int | None) -> str:
    if number is None:
        return "-"
    if number < 0:
        return "none (not finite)"
    return shortened(task.class_names[number], NAME_WIDTH) if number < len(task.class_names) else str(number)


def causes_text(result: Result) -> str:
    """How the counted layers divide among causes: 'data 12, weights 4'."""
    tally = Counter(row.cause or "unknown" for row in counted(result))
    return ", ".join(f"{cause} {count}" for cause, count in tally.most_common())


def notices(result: Result) -> list[str]:
    """What a reader must know before believing any number, one sentence each."""
    run, judgement = result.run, result.judgement
    found = []
    if run.inputs.synthetic:
        found.append(
            f"Synthetic input ({run.inputs.description}): layers see values they never see in use. "
            "Give --input for figures that mean something."
        )
    if judgement.partial:
        found.append("Stopped early: the scores cover only the samples that were seen.")
    if judgement.few_values:
        names = ", ".join(shortened(key, NAME_WIDTH) for key in judgement.few_values[:3])
        found.append(f"Judged on fewer than 64 values: {names}; use more samples.")
    if judgement.drifted:
        found.append(
            f"{plural(len(judgement.drifted), 'layer')} below the threshold because training moved the features "
            "(drift); shown, and not counted as a quantization loss."
        )
    return found


def models_text(result: Result) -> str:
    """Which networks were compared, in a clause."""
    names = [model.weights_file or model.structure_file or model.name for model in result.run.models]
    shown = [
        f"{'the dump ' if model.framework == 'dump' else ''}{shortened(name, NAME_WIDTH)}"
        for name, model in zip(names, result.run.models, strict=True)
    ]
    if len(shown) == 1:
        return f"{shown[0]} against its own {form_text(result.run)} form"
    return " against ".join(shown)


def dump_text(result: Result) -> str:
    """How a dump was read and matched, where one was compared; else empty."""
    if not any(model.framework == "dump" for model in result.run.models):
        return ""
    return " ".join(result.run.notes)


def form_text(run: Run) -> str:
    """What a network is quantized to: '8-bit', 'int8', 'float'."""
    if run.number_format is not None and not run.number_format.startswith("gfpq"):
        return visible(run.number_format)
    return f"{run.bits}-bit" if run.bits else "float"


def judged_text(result: Result) -> str:
    """What was judged, in a clause: 'both quantized (both against float), cosine at least 0.98'."""
    comparison = judged_comparison(result)
    if comparison is None:
        return f"{result.judgement.comparison}, cosine at least {result.judgement.threshold:g}"
    lanes = f"{comparison.lane} against {comparison.reference}"
    return f"{comparison.title} ({lanes}), cosine at least {result.judgement.threshold:g}"


def not_compared(result: Result) -> list[LayerRow]:
    """Rows without scores."""
    return [row for row in result.layers if row.status is not Status.OK]
