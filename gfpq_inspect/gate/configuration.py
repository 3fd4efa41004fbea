"""From `[tool.gfpq-inspect]` of a pyproject.toml, or a gfpq-inspect.toml, to `GateSettings`.

What could never fail is refused here as far as the file alone tells: a gate that cannot say no is worse than none. What
needs the layers' names (a pattern that matches none) is refused by `select`.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.gate.settings import (
    ALLOWABLE,
    CHANGEABLE,
    LAYER_METRICS,
    MEAN,
    METRICS,
    OVER,
    PERCENTILE,
    PERCENTILES,
    POOLED,
    SEVERITIES,
    TASK_CONFIDENCE,
    TASK_METRICS,
    Allowance,
    BaselineSettings,
    GateSettings,
    Limit,
)
from gfpq_inspect.gate.table import Table

FILE_NAME = "gfpq-inspect.toml"
PROJECT_FILE = "pyproject.toml"
SECTION = "gfpq-inspect"

HOW_KEYS = ("over", "percentile", "confidence", "comparison")
SELECTOR_KEYS = ("layers", "types", "outputs")
GATE_KEYS = (*METRICS, *HOW_KEYS, "limits", "allow", "baseline", "verdict", "findings")
DEFAULT_REGRESSION = {"sqnr_db": 0.5}
"""Half a decibel: what the reports call a noticeable change."""
SQNR_FLOOR_DB = -100.0
COSINE_RANGE_WIDTH = 2.0


def find_configuration(start: Path) -> Path | None:
    """Look for a configuration in a folder and those above it; a gfpq-inspect.toml goes before a pyproject.toml.

    Args:
        start: The folder to begin with.

    Returns:
        The file, or None. A pyproject.toml without a section of ours is passed over.

    Raises:
        InputError: A file on the way cannot be read.
        UsageError: It is not TOML.
    """
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
        project = folder / PROJECT_FILE
        if project.is_file() and SECTION in _tool_tables(_document(project)):
            return project
    return None


def read_configuration(path: Path) -> GateSettings:
    """Read a configuration file.

    Args:
        path: A pyproject.toml, read from [tool.gfpq-inspect], or any other TOML file, read from its top.

    Raises:
        InputError: It cannot be read.
        UsageError: It is not TOML, or says something that has no meaning; file and key are named.
    """
    document = _document(path)
    source = _shown(path)
    if path.name != PROJECT_FILE:
        return replace(parse_configuration(document, source, folder=Path(source).parent), file=path)
    tool = _tool_tables(document)
    if SECTION not in tool:
        raise UsageError(f"{source}: has no [tool.{SECTION}]; write the gate's limits there")
    settings = parse_configuration(tool[SECTION], source, folder=Path(source).parent, prefix=f"tool.{SECTION}")
    return replace(settings, file=path)


def open_settings(given: str | os.PathLike[str] | Mapping[str, Any] | None) -> GateSettings:
    """Settings from wherever the user has them.

    Args:
        given: A file; the content of a `gate` table; or None to look from the current folder upwards.

    Raises:
        InputError: A file cannot be read.
        UsageError: There is none, or it says something that has no meaning.
    """
    if isinstance(given, Mapping):
        return parse_configuration({"gate": given}, "the limits", folder=Path.cwd())
    file = find_configuration(Path.cwd()) if given is None else Path(given)
    if file is None:
        raise UsageError(
            "there are no limits: write [tool.gfpq-inspect.gate] into pyproject.toml, or [gate] into "
            "gfpq-inspect.toml, in this folder or above; or name a file with --config"
        )
    return read_configuration(file)


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(f"{_shown(path)}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{_shown(path)}: is not TOML: {error}") from error


def _tool_tables(document: Mapping[str, Any]) -> Mapping[str, Any]:
    tool = document.get("tool", {})
    return tool if isinstance(tool, Mapping) else {}


def _shown(path: Path) -> str:
    """A path as a person in the current folder would write it; a verdict names no machine's folders."""
    return os.path.relpath(path)


def parse_configuration(values: Any, source: str, *, folder: Path, prefix: str = "") -> GateSettings:
    """Read a configuration that was parsed before.

    Args:
        values: The table with `gate` and `compare`.
        source: The file, for messages.
        folder: What paths in it are relative to.
        prefix: Key of the table, for messages.

    Raises:
        UsageError: See `read_configuration`.
    """
    top = Table(values, source, prefix)
    top.only(("gate", "compare"))
    gate = top.table("gate")
    gate.only(GATE_KEYS)
    limits = [*_limits(gate, selectors=False)]
    for table in gate.tables("limits"):
        table.only((*METRICS, *SELECTOR_KEYS, *HOW_KEYS))
        found = _limits(table, selectors=True)
        if not found:
            raise UsageError(
                f"{source}: {table.path} sets no limit and can never fail; give one of {', '.join(METRICS)}"
            )
        limits += found
    _refuse_repetitions(limits, source)
    settings = GateSettings(
        source=source,
        limits=tuple(limits),
        allow=tuple(_allowance(table) for table in gate.tables("allow")),
        baseline=_baseline(gate.table("baseline"), folder) if "baseline" in gate else None,
        comparison=gate.get("comparison", str, ""),
        verdict=gate.get("verdict", bool, False),
        findings=gate.choice("findings", SEVERITIES, ""),
        folder=folder,
        compare=dict(top.table("compare").values),
    )
    if not (settings.limits or settings.baseline or settings.verdict or settings.findings):
        raise UsageError(f"{source}: {gate.path} says nothing that could fail; set a limit such as cosine = 0.98")
    return settings


def _limits(table: Table, *, selectors: bool) -> list[Limit]:
    """The limits of one table, one a metric."""
    metrics = [metric for metric in METRICS if metric in table]
    if not metrics:
        extra = [key for key in HOW_KEYS if key in table and not (key == "comparison" and not selectors)]
        if extra:
            raise table.error(extra[0], f"has no meaning without a limit; give one of {', '.join(METRICS)}")
        return []
    over = table.choice("over", OVER, PERCENTILE if "percentile" in table else POOLED)
    percentile = _percentile(table, over)
    confidence = _confidence(table, over, metrics)
    if "outputs" in table and not table.get("outputs", bool, True):
        raise table.error("outputs", "is false, which selects nothing; leave it out to judge every layer")
    found = []
    for metric in metrics:
        if metric in TASK_METRICS and over != POOLED:
            raise table.error("over", f"is '{over}', but {metric} is one figure over all samples; leave it out there")
        low, high = _bounds(table, metric)
        found.append(
            Limit(
                place=table.place(metric),
                metric=metric,
                low=low,
                high=high,
                layers=table.texts("layers") if selectors else (),
                types=table.texts("types") if selectors else (),
                outputs=selectors and "outputs" in table,
                over=over,
                percentile=percentile,
                confidence=confidence,
                comparison=table.get("comparison", str, ""),
            )
        )
    return found


def _percentile(table: Table, over: str) -> int | None:
    if over != PERCENTILE:
        if "percentile" in table:
            raise table.error("percentile", f"has no meaning beside over = '{over}'; write over = 'percentile'")
        return None
    listed = ", ".join(map(str, PERCENTILES))
    value = table.required("percentile", table.number, f"over = 'percentile' needs one of {listed}")
    if not 0 < value < 100:
        raise table.error("percentile", f"is {value:g}, which is no percentile; choose {listed}")
    if value not in PERCENTILES:
        raise table.error("percentile", f"is {value:g}; results keep the percentiles {listed}: choose one of them")
    return int(value)


def _confidence(table: Table, over: str, metrics: list[str]) -> float | None:
    if "confidence" not in table:
        return None
    value = table.number("confidence")
    if not 0.5 <= value < 1:
        raise table.error("confidence", f"is {value:g}; write a level from 0.5 to below 1, such as 0.95")
    if any(metric in LAYER_METRICS for metric in metrics) and over != MEAN:
        raise table.error("confidence", "bounds a mean over samples; write over = 'mean' beside it")
    if any(metric in TASK_METRICS for metric in metrics) and value != TASK_CONFIDENCE:
        raise table.error("confidence", f"is {value:g}; of decisions a result keeps intervals of {TASK_CONFIDENCE:g}")
    return value


def _bounds(table: Table, metric: str) -> tuple[float | None, float | None]:
    """The smallest and the largest value that pass."""
    if metric == "norm_ratio":
        return _ratio_bounds(table)
    value = table.number(metric)
    never = {
        "cosine": value <= -1,
        "sqnr_db": value <= SQNR_FLOOR_DB,
        "accuracy_loss_points": value >= 100,
        "top5_loss_points": value >= 100,
        "agreement": value <= 0,
    }[metric]
    always = {
        "cosine": value > 1,
        "agreement": value > 1,
        "accuracy_loss_points": value < -100,
        "top5_loss_points": value < -100,
    }.get(metric, False)
    if never:
        raise table.error(metric, f"is {value:g}, a limit that can never fail; {_advice(metric)}")
    if always:
        raise table.error(metric, f"is {value:g}, a limit that nothing can meet; {_advice(metric)}")
    return (None, value) if metric.endswith("_points") else (value, None)


def _advice(metric: str) -> str:
    return {
        "cosine": "the vendor's guide asks for 0.98",
        "sqnr_db": "a cosine of 0.98 is 13.8 dB",
        "accuracy_loss_points": "the format is designed for 1.0",
        "top5_loss_points": "write percentage points, such as 1.0",
        "agreement": "write a share, such as 0.99",
    }[metric]


def _ratio_bounds(table: Table) -> tuple[float | None, float | None]:
    value = table.values["norm_ratio"]
    if not isinstance(value, list) or len(value) != 2:
        what = "is a list of another length" if isinstance(value, list) else f"is {value!r}"
        raise table.error("norm_ratio", f"{what}; write the smallest and the largest, such as [0.95, 1.05]")
    low, high = (table.checked_number("norm_ratio", entry, infinite=True) for entry in value)
    if low <= 0 and math.isinf(high):
        raise table.error("norm_ratio", "is a limit that can never fail: no ratio lies outside [0, inf]")
    if not low <= 1 <= high:
        raise table.error("norm_ratio", f"is [{low:g}, {high:g}], which a tensor equal to its reference (1) fails")
    return (low if low > 0 else None), (high if math.isfinite(high) else None)


def _refuse_repetitions(limits: list[Limit], source: str) -> None:
    """Of two limits on the same thing for the same layers only the later would hold."""
    seen: dict[Any, Limit] = {}
    for limit in limits:
        before = seen.setdefault((limit.what, limit.selector), limit)
        if before is not limit:
            raise UsageError(
                f"{source}: {before.place} can never fail, because {limit.place} replaces it for the same layers; "
                "leave one out"
            )


def _allowance(table: Table) -> Allowance:
    table.only(("what", "layers", "reason", "expires"))
    reason = table.required("reason", lambda key: table.get(key, str, ""), "say why this may fail")
    if not reason.strip():
        raise table.error("reason", "is empty; say why this may fail")
    what = table.required("what", lambda key: table.texts(key, ALLOWABLE), f"name one of {', '.join(ALLOWABLE)}")
    return Allowance(
        place=table.path,
        what=what,
        layers=table.texts("layers"),
        reason=reason.strip(),
        expires=table.required("expires", table.date, "an allowance ends on a day, such as 2027-03-31"),
    )


def _baseline(table: Table, folder: Path) -> BaselineSettings:
    table.only(("file", *METRICS, "may_change"))
    file = table.required("file", lambda key: table.get(key, str, ""), "name the baseline file")
    if not file:
        raise table.error("file", "is empty; name the baseline file")
    allowed = {}
    for metric in METRICS:
        if metric not in table:
            continue
        value = table.number(metric)
        if value < 0:
            raise table.error(metric, f"is {value:g}; write by how much the score may become worse, 0 or more")
        widest = {"cosine": COSINE_RANGE_WIDTH, "agreement": 1.0}.get(metric, 100.0)
        if value >= widest:
            raise table.error(metric, f"is {value:g}, a step that can never fail")
        allowed[metric] = value
    return BaselineSettings(folder / file, allowed or dict(DEFAULT_REGRESSION), table.texts("may_change", CHANGEABLE))
