"""The page's main block: what the table, the chart along the network and the graph need, parsed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gfpq_inspect.analyze.result import Coefficient, Comparison, Judgement, LayerRow, Result, Scores
from gfpq_inspect.report import palette
from gfpq_inspect.report.codec import encode, field_types
from gfpq_inspect.report.columns import StringTable, encode_columns, encode_optional_table
from gfpq_inspect.report.compare import Difference
from gfpq_inspect.report.figures import METRIC_TITLES, NETWORK_METRICS, READINGS, network_error, significant
from gfpq_inspect.report.layout import graph_layout
from gfpq_inspect.report.page_details import SUMMARY_SCORES, DetailsBlock
from gfpq_inspect.report.story import form_text, local_comparison
from gfpq_inspect.report.task_figure import task_loss
from gfpq_inspect.report.tuning_figure import tuning_progress

ROW_COLUMNS = (
    "key", "layer", "name", "type", "side", "partner", "status", "reason", "understood", "shape", "elements",
    "quantized", "quantization_reason", "is_output", "verdict", "cause", "cause_reason", "multiply_adds", "source_line",
    "notes",
)  # fmt: skip
COEFFICIENT_COLUMNS = tuple(name for name in field_types(Coefficient) if name not in {"layer", "index"})
SCORE_DIGITS = 5


def page_data(result: Result, details: DetailsBlock, difference: Difference | None) -> dict[str, Any]:
    """Gather the main block.

    Args:
        result: The result.
        details: The side block that goes with it.
        difference: The comparison with a baseline, where there is one.

    Returns:
        Plain values; text stands in `strings`, columns hold indices into it (reports/README.md).
    """
    strings = StringTable()
    data: dict[str, Any] = {
        "comparisons": encode(tuple[Comparison, ...], result.comparisons, "comparisons"),
        "judgement": encode(Judgement, result.judgement, "judgement"),
        "form": form_text(result.run),
        "models": len(result.run.models),
        "rows": encode_columns(LayerRow, result.layers, ROW_COLUMNS, strings, "layers"),
        "inputs": input_positions(result.layers),
        "local": local.name if (local := local_comparison(result)) else None,
        "scores": {name: score_columns(result, name, strings) for name in score_names(result)},
        "isolation": isolation_columns(result, "isolation"),
        "tuned_isolation": isolation_columns(result, "tuned_isolation"),
        "findings": finding_links(result),
        "figures": network_figures(result),
        "task": task_loss(result),
        "tuning": tuning_progress(result),
        "readings": READINGS,
        "metrics": METRIC_TITLES,
        "dark": palette.DARK,
        "cividis": palette.CIVIDIS,
        "graph": graph_columns(result, strings),
        "chunk_of": list(details.chunk_of),
        "trimmed": list(details.trimmed),
    }
    if difference is not None:
        data["baseline"] = baseline_columns(result, difference)
    data["strings"] = strings.strings
    return data


def score_names(result: Result) -> list[str]:
    """Comparisons that any layer has scores of, in the order of the result."""
    used = dict.fromkeys(name for row in result.layers for name in row.scores)
    named = [comparison.name for comparison in result.comparisons if comparison.name in used]
    return named + [name for name in used if name not in named]


def score_columns(result: Result, name: str, strings: StringTable) -> dict[str, Any]:
    """Scores of the first rank, with the digits that the page shows."""
    scores = [row.scores.get(name) for row in result.layers]
    columns = encode_optional_table(Scores, scores, SUMMARY_SCORES, strings, f"scores.{name}")
    for field in ("sqnr_db", "norm_ratio"):
        if field in columns:
            columns[field] = [None if v is None else significant(v, SCORE_DIGITS) for v in columns[field]]
    if "cosine" in columns:
        columns["cosine"] = [None if v is None else round(v, 8) for v in columns["cosine"]]
    return columns


def input_positions(rows: Sequence[LayerRow]) -> list[list[int]]:
    """Positions of the layers that each layer reads."""
    position = {row.key: index for index, row in enumerate(rows)}
    return [[position[key] for key in row.inputs if key in position] for row in rows]


def isolation_columns(result: Result, part: str) -> dict[str, list[float | None]] | None:
    """Shares of data, weights and interaction, where any layer has them."""
    shares = [getattr(row, part) for row in result.layers]
    if all(share is None for share in shares):
        return None
    names = ("share_data", "share_weight", "interaction")
    return {name: [None if s is None else round(getattr(s, name), 4) for s in shares] for name in names}


def finding_links(result: Result) -> list[dict[str, Any]]:
    """Which findings name which layers; their texts stand in the page already."""
    position = {row.key: index for index, row in enumerate(result.layers)}
    return [
        {
            "title": finding.title,
            "severity": finding.severity,
            "layers": [position[k] for k in finding.layers if k in position],
        }
        for finding in result.findings
    ]


def column_reference(comparison: str, field: str) -> dict[str, list[str]]:
    """Stand-in for a column of a figure, which the page fills in from the main block."""
    return {"$column": [comparison, field]}


def network_figures(result: Result) -> dict[str, dict[str, Any]]:
    """The chart along the network in every reading and score; a reading without lanes is left out."""
    figures = {
        reading: {metric: network_error(result, metric, column_reference, reading) for metric in NETWORK_METRICS}
        for reading in READINGS
    }
    return {reading: by_metric for reading, by_metric in figures.items() if by_metric["sqnr_db"]["data"]}


def graph_columns(result: Result, strings: StringTable) -> dict[str, Any]:
    """The graph's positions."""
    layout = graph_layout(result.layers)
    return {
        "rank": list(layout.rank),
        "column": list(layout.column),
        "edges": [list(edge) for edge in layout.edges],
        "group": [strings.index(name) if name else -1 for name in layout.groups],
        "folded_into": list(layout.folded_into) if any(i >= 0 for i in layout.folded_into) else None,
    }


def baseline_columns(result: Result, difference: Difference) -> dict[str, Any]:
    """Scores of the baseline beside each layer."""
    deltas = {delta.key: delta for delta in difference.deltas}
    found = [deltas.get(row.key) for row in result.layers]

    def column(values: Sequence[float | None]) -> list[float | None]:
        return [None if value is None else significant(value, SCORE_DIGITS) for value in values]

    return {
        "comparison": difference.comparison,
        "cosine": [None if d is None or d.before.cosine is None else round(d.before.cosine, 8) for d in found],
        "sqnr_db": column([None if d is None else d.before.sqnr_db for d in found]),
        "change_db": column([None if d is None else d.sqnr_change_db for d in found]),
        "verdict": [None if d is None else d.verdict_before.value for d in found],
        "new": [index for index, row in enumerate(result.layers) if row.key in set(difference.new)],
    }


def coefficient_rows(result: Result) -> dict[str, list[list[Any]]]:
    """Coefficients by the layer that they belong to, each a row in the order of `COEFFICIENT_COLUMNS`."""
    found: dict[str, list[list[Any]]] = {}
    for coefficient in result.coefficients:
        values = [getattr(coefficient, name) for name in COEFFICIENT_COLUMNS]
        rounded = [significant(value, 7) if isinstance(value, float) else value for value in values]
        found.setdefault(coefficient.layer, []).append(rounded)
    return found
