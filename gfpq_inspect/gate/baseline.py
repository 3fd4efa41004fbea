"""The committed baseline: what every layer scored when somebody last said that it was good enough.

A text file for version control: sorted as the network is, a line a layer, numbers rounded to what a review can use, and
lines that changed by no more than machines differ keep their old numbers, so that a diff shows what moved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfpq_inspect.analyze.result import ModelFacts, Result, Scores, Status
from gfpq_inspect.analyze.task_result import TaskOutput
from gfpq_inspect.errors import InputError, OutputError
from gfpq_inspect.files import write_atomically

FORMAT = "gfpq-inspect baseline"
VERSION = 1
DECIMALS = {
    "cosine": 6,
    "sqnr_db": 2,
    "norm_ratio": 5,
    "accuracy_loss_points": 3,
    "top5_loss_points": 3,
    "agreement": 5,
}
NOISE = {"cosine": 2e-6, "sqnr_db": 0.02, "norm_ratio": 2e-5}
"""Differences of this size come from another processor, not from another network."""
EXACT = "exact"


@dataclass(frozen=True)
class Baseline:
    """What a baseline file holds.

    Attributes:
        comparison: Name of the comparison that was judged.
        models: 'first' and perhaps 'second' to SHA-256 by part of the model.
        data: 'input', and 'calibration' where it was apart, to SHA-256.
        setup: Name to text: format, coefficients, view, preprocessing.
        layers: Row key to metric to value; the SQNR of equal tensors is `EXACT`.
        task: Output to metric to value.
    """

    comparison: str
    models: Mapping[str, Mapping[str, str]]
    data: Mapping[str, str]
    setup: Mapping[str, str]
    layers: Mapping[str, Mapping[str, float | str]]
    task: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def baseline_of(result: Result, comparison: str) -> Baseline:
    """Take a baseline from a result.

    Args:
        result: The result.
        comparison: Name of the comparison to keep.

    Raises:
        OutputError: The run saw only a part of the samples.
    """
    if result.judgement.partial:
        raise OutputError("no baseline is written from a run that was stopped early; let it run to its end")
    layers = {}
    for row in result.layers:
        entry = _entry(row.scores.get(comparison))
        if entry:
            layers[row.key] = entry
    lane = next((known.lane for known in result.comparisons if known.name == comparison), "")
    task = result.task.outputs if result.task is not None else ()
    return Baseline(
        comparison=comparison,
        models={model.role: _hashes(model) for model in result.run.models},
        data=_data(result),
        setup=_setup(result),
        layers=layers,
        task={output.output: found for output in task if (found := _task_entry(output, lane))},
    )


def _hashes(model: ModelFacts) -> dict[str, str]:
    return dict(sorted(model.sha256.items()))


def _data(result: Result) -> dict[str, str]:
    calibration = result.run.calibration_inputs
    apart = {"calibration": calibration.sha256} if calibration is not None else {}
    return {"input": result.run.inputs.sha256, **apart}


def _setup(result: Result) -> dict[str, str]:
    run = result.run
    told = {
        "bits": str(run.bits),
        "number_format": run.number_format or "",
        "coefficients": run.coefficients,
        "view": run.view,
    }
    return told | {f"preprocessing.{name}": text for name, text in sorted(run.inputs.preprocessing.items())}


def _entry(scores: Scores | None) -> dict[str, float | str]:
    """What is kept of a layer; nothing of one without a cosine."""
    if scores is None or scores.cosine is None:
        return {}
    entry: dict[str, float | str] = {"cosine": round(scores.cosine, DECIMALS["cosine"])}
    if scores.sqnr_db is not None:
        entry["sqnr_db"] = round(scores.sqnr_db, DECIMALS["sqnr_db"])
    elif scores.status in (Status.EXACT, Status.BOTH_ZERO):
        entry["sqnr_db"] = EXACT
    if scores.norm_ratio is not None:
        entry["norm_ratio"] = round(scores.norm_ratio, DECIMALS["norm_ratio"])
    return entry


def _task_entry(output: TaskOutput, lane: str) -> dict[str, float]:
    decisions = output.lane(lane)
    if decisions is None:
        return {}
    values = {
        "accuracy_loss_points": decisions.loss_points,
        "top5_loss_points": decisions.top5_loss_points,
        "agreement": decisions.agreement,
    }
    return {name: round(value, DECIMALS[name]) for name, value in values.items() if value is not None}


def settled(new: Baseline, old: Baseline | None) -> Baseline:
    """Keep the old numbers of layers that moved by no more than machines differ.

    Args:
        new: From the result.
        old: From the file, or None.
    """
    if old is None or old.comparison != new.comparison:
        return new
    layers = {key: _settled_entry(entry, old.layers.get(key)) for key, entry in new.layers.items()}
    return Baseline(new.comparison, new.models, new.data, new.setup, layers, new.task)


def _settled_entry(new: Mapping[str, float | str], old: Mapping[str, float | str] | None) -> Mapping[str, float | str]:
    if old is None or set(new) != set(old):
        return new
    for name, value in new.items():
        before = old[name]
        if isinstance(value, str) or isinstance(before, str):
            if value != before:
                return new
        elif abs(value - before) > NOISE[name] * (1 + 1e-9):
            return new
    return old


def render_baseline(baseline: Baseline) -> str:
    """Write a baseline as text: the same bytes for the same baseline."""
    head: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "comparison": baseline.comparison,
        "models": baseline.models,
        "data": baseline.data,
        "setup": baseline.setup,
    }
    parts = [f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in head.items()]
    for name, table in (("task", baseline.task), ("layers", baseline.layers)):
        rows = ",\n".join(f" {json.dumps(key)}: {json.dumps(dict(entry))}" for key, entry in table.items())
        parts.append(f"{json.dumps(name)}: {{\n{rows}\n}}" if rows else f"{json.dumps(name)}: {{}}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        InputError: It is missing, damaged, or of a newer version.
    """
    try:
        document = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no baseline yet; write it with gfpq-inspect gate --update-baseline"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: is not JSON ({error.msg}); {_AGAIN}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON; {_AGAIN}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path}: is JSON, but no {FORMAT}; {_AGAIN}")
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise InputError(f"{path}: version: expected a whole number from 1; {_AGAIN}")
    if version > VERSION:
        raise InputError(f"{path}: has version {version}, this program reads up to {VERSION}; install a newer one")
    return _Reader(path).baseline(document)


_AGAIN = "restore it, or write it again with gfpq-inspect gate --update-baseline"


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


class _Reader:
    """Checks every value of a baseline file on its way in."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def baseline(self, document: Mapping[str, Any]) -> Baseline:
        models = self._table(document, "models")
        return Baseline(
            comparison=self._text(document.get("comparison"), "comparison"),
            models={role: self._texts(models, role, f"models.{role}") for role in models},
            data=self._texts(document, "data", "data"),
            setup=self._texts(document, "setup", "setup"),
            layers=self._rows(document, "layers"),
            task=self._numbers(document, "task"),
        )

    def _wrong(self, place: str, expected: str) -> InputError:
        return InputError(f"{self._path}: {place}: expected {expected}; {_AGAIN}")

    def _table(self, document: Mapping[str, Any], name: str, place: str | None = None) -> dict[str, Any]:
        value = document.get(name)
        if not isinstance(value, dict):
            raise self._wrong(place or name, "an object")
        return value

    def _text(self, value: Any, place: str) -> str:
        if not isinstance(value, str):
            raise self._wrong(place, "a text")
        return value

    def _texts(self, document: Mapping[str, Any], name: str, place: str) -> dict[str, str]:
        table = self._table(document, name, place)
        return {key: self._text(value, f"{place}.{key}") for key, value in table.items()}

    def _rows(self, document: Mapping[str, Any], name: str) -> dict[str, dict[str, float | str]]:
        table = self._table(document, name)
        rows: dict[str, dict[str, float | str]] = {}
        for key in table:
            place = f"{name}.{key}"
            entry = self._table(table, key, place)
            rows[key] = {
                metric: EXACT if value == EXACT and metric == "sqnr_db" else self._number(value, f"{place}.{metric}")
                for metric, value in entry.items()
                if metric in DECIMALS
            }
        return rows

    def _numbers(self, document: Mapping[str, Any], name: str) -> dict[str, dict[str, float]]:
        table = self._table(document, name)
        return {
            key: {
                metric: self._number(value, f"{name}.{key}.{metric}")
                for metric, value in self._table(table, key, f"{name}.{key}").items()
                if metric in DECIMALS
            }
            for key in table
        }

    def _number(self, value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(place, "a number")
        return float(value)


def update_baseline(path: Path, result: Result, comparison: str) -> bool:
    """Write the baseline of a result, whole or not at all.

    Args:
        path: The baseline file; made where it is missing, replaced otherwise.
        result: The result.
        comparison: Name of the comparison to keep.

    Returns:
        Whether the file changed.

    Raises:
        OutputError: It cannot be written, or the run was stopped early.
    """
    new = baseline_of(result, comparison)
    try:
        old: Baseline | None = read_baseline(path)
    except InputError:
        old = None  # missing or damaged: this writes it anew
    text = render_baseline(settled(new, old))
    if path.is_file() and path.read_bytes() == text.encode("ascii"):
        return False
    write_atomically(path, text, overwrite=True)
    return True
