"""The page's side block: charts and tables of each layer's evidence, compressed in chunks, inflated when looked at.

When the evidence is larger than the budget, the healthiest layers lose bins first; the page says which did.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfpq_inspect.analyze.result import LayerRow, Result, Scores, Spread, Verdict
from gfpq_inspect.report.codec import field_types
from gfpq_inspect.report.figures import significant
from gfpq_inspect.report.jsonfile import dump
from gfpq_inspect.report.layer_figures import layer_figures
from gfpq_inspect.report.story import lanes_shown, worst_first

LAYERS_A_CHUNK = 24
ATTEMPTS = 4
SUMMARY_SCORES = ("status", "reason", "flags", "cosine", "sqnr_db", "norm_ratio")
SIDE_SCORES = tuple(name for name in field_types(Scores) if name not in (*SUMMARY_SCORES, "norm_ratio_spread"))


@dataclass(frozen=True)
class DetailsBlock:
    """The side block.

    Attributes:
        chunks: Packed objects from layer position to evidence; gzip and base64.
        chunk_of: Chunk of each layer.
        trimmed: Positions of layers that lost bins or charts to keep the page small.
    """

    chunks: tuple[str, ...]
    chunk_of: tuple[int, ...]
    trimmed: tuple[int, ...]

    @property
    def size(self) -> int:
        """Characters of all chunks."""
        return sum(map(len, self.chunks))


def pack(value: Any) -> str:
    """Compress plain JSON for the page."""
    content = dump(value).encode("ascii")
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode("ascii")


def details_block(result: Result, budget: int, coefficients: Mapping[str, Any] | None = None) -> DetailsBlock:
    """Prepare every layer's evidence within a budget.

    Args:
        result: The result.
        budget: Characters that the chunks may take together; kept as long as there is evidence to leave out.
        coefficients: Rows of the table of coefficients by layer.
    """
    evidence = result.details.get("layers", {}) if isinstance(result.details, Mapping) else {}
    own = [{"coefficients": rows} if (rows := (coefficients or {}).get(row.layer)) else {} for row in result.layers]
    predicted = predicted_sizes(result, evidence)
    lanes = [comparison.name for comparison in lanes_shown(result)]
    base = len(pack([layer_entry(row, {}, 0, lanes) | extra for row, extra in zip(result.layers, own, strict=True)]))
    allowed = 0.97 * (budget - base)
    for _ in range(ATTEMPTS):
        levels = trim_levels(result, predicted, allowed)
        block = packed_block(result, evidence, own, levels)
        if block.size <= budget or not any(predicted):
            break
        # The prediction was too low by this much; aim lower by as much and a little more.
        allowed *= 0.97 * (budget - base) / max(block.size - base, 1)
    return block


def packed_block(
    result: Result, evidence: Mapping[str, Any], own: Sequence[Mapping[str, Any]], levels: Sequence[int]
) -> DetailsBlock:
    """Compress all layers at their levels."""
    lanes = [comparison.name for comparison in lanes_shown(result)]
    entries = [
        {**layer_entry(row, evidence.get(row.key, {}), level, lanes), **extra}
        for row, extra, level in zip(result.layers, own, levels, strict=True)
    ]
    starts = range(0, len(entries), LAYERS_A_CHUNK)
    chunks = tuple(pack({str(i): entries[i] for i in range(s, min(s + LAYERS_A_CHUNK, len(entries)))}) for s in starts)
    return DetailsBlock(
        chunks=chunks,
        chunk_of=tuple(i // LAYERS_A_CHUNK for i in range(len(entries))),
        trimmed=tuple(index for index, level in enumerate(levels) if level),
    )


def predicted_sizes(result: Result, evidence: Mapping[str, Any]) -> list[tuple[float, ...]]:
    """Guess what each layer's charts take at every level: from the length of its evidence, as a sample of layers shows.

    Returns:
        Characters by level, a layer; an empty tuple for a layer without evidence.
    """
    lengths = [len(dump(evidence[row.key])) if evidence.get(row.key) else 0 for row in result.layers]
    known = [index for index, length in enumerate(lengths) if length]
    sample = known[:: max(1, len(known) // LAYERS_A_CHUNK)][:LAYERS_A_CHUNK]
    whole = max(sum(lengths[index] for index in sample), 1)
    ratios = []
    for level in range(len(TRIMMERS)):
        rows = [result.layers[index] for index in sample]
        charts = [layer_entry(row, evidence[row.key], level, ()) for row in rows]
        ratios.append(len(pack(charts)) / whole if level < len(TRIMMERS) - 1 else 0.0)
    return [tuple(length * ratio for ratio in ratios) if length else () for length in lengths]


def trim_levels(result: Result, predicted: Sequence[tuple[float, ...]], allowed: float) -> list[int]:
    """How much each layer must lose: the healthiest begin, one level at a time, until all fit."""
    levels = [0] * len(result.layers)
    total = sum(sizes[0] for sizes in predicted if sizes)
    for index, level in trim_steps(result):
        if total <= allowed:
            break
        if predicted[index]:
            total += predicted[index][level] - predicted[index][levels[index]]
            levels[index] = level
    return levels


def trim_steps(result: Result) -> Iterator[tuple[int, int]]:
    """Layers in the order in which they lose evidence, with the level that they go to; flagged ones come late."""
    position = {row.key: index for index, row in enumerate(result.layers)}
    judged = [position[row.key] for row in reversed(worst_first(result))]
    listed = sorted(set(range(len(result.layers))) - set(judged))
    flagged = [index for index in judged if result.layers[index].verdict is Verdict.FLAGGED]
    healthy = listed + [index for index in judged if result.layers[index].verdict is not Verdict.FLAGGED]
    for members, level in (
        (healthy, 1),
        (healthy, 2),
        (healthy, 3),
        (flagged, 1),
        (healthy, 4),
        (flagged, 2),
        (flagged, 3),
    ):
        for index in members:
            yield index, level


def layer_entry(row: LayerRow, evidence: Mapping[str, Any], level: int, lanes: Sequence[str]) -> dict[str, Any]:
    """What the page needs to show one layer beyond the table: scores of the second rank, charts, tables.

    Args:
        row: The layer.
        evidence: Its evidence.
        lanes: Comparisons whose scores of the second rank are wanted.
        level: How much to leave out: 1 halves histograms, 2 also drops the density map, 3 keeps two charts, 4 none.
    """
    entry: dict[str, Any] = {"scores": {name: side_scores(row.scores[name]) for name in lanes if name in row.scores}}
    reduced = TRIMMERS[level](evidence)
    charts = layer_figures(reduced)
    if charts:
        entry["figures"] = [{"id": i, "title": title, "note": note, "figure": spec} for i, title, note, spec in charts]
    if evidence.get("propagation"):
        entry["propagation"] = propagation_rows(evidence["propagation"])
    tables = layer_tables(reduced)
    if tables:
        entry["tables"] = tables
    return entry


def propagation_rows(parts: Mapping[str, Mapping[str, float | None]]) -> list[list[Any]]:
    """What part of the error arrived and what part was added, a row a lane."""
    names = ("inherited_share", "fresh_share", "cross_share", "noise_gain")
    return [[lane, *(shown("share", part.get(name)) for name in names)] for lane, part in parts.items()]


def side_scores(scores: Scores) -> dict[str, Any]:
    """Scores that the table does not hold, without those that are absent or nothing."""
    found: dict[str, Any] = {}
    for name in SIDE_SCORES:
        value = getattr(scores, name)
        if isinstance(value, Spread):
            numbers = (value.mean, value.percentile_5, value.minimum)
            found[name] = [*(shown(name, number) for number in numbers), value.minimum_sample]
        elif isinstance(value, float):
            found[name] = shown(name, value)
        elif value is not None and not (value == 0 and name.startswith("nonfinite")):
            found[name] = value
    return found


def shown(name: str, value: float | None) -> float | None:
    """A score with the digits that the page shows."""
    if value is None:
        return None
    return round(value, 6) if name.startswith("cosine") else significant(value, 4)


def layer_tables(evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Evidence that is read as a table: the worst elements, and whatever the analysis adds under 'tables'."""
    tables: list[dict[str, Any]] = []
    worst = evidence.get("worst") or ()
    if worst:
        rows = [
            [item.get("sample"), " ".join(map(str, item.get("index", ()))), item.get("float"), item.get("quantized")]
            for item in worst
        ]
        columns = ["sample", "index", "float", "quantized"]
        tables.append({"title": "Worst elements", "columns": columns, "rows": rows})
    names = ("title", "columns", "rows")
    return tables + [{name: table[name] for name in names} for table in evidence.get("tables") or ()]


def halved(counts: Sequence[float]) -> list[float]:
    """Counts with neighbouring bins joined."""
    return [sum(counts[i : i + 2]) for i in range(0, len(counts), 2)]


def halved_edges(edges: Sequence[float]) -> list[float]:
    """Edges that belong to joined bins."""
    kept = list(edges[::2])
    return kept if len(edges) % 2 else [*kept, edges[-1]]


def coarser(part: Mapping[str, Any]) -> dict[str, Any]:
    """A histogram with half the bins."""
    counts = {name: halved(values) for name, values in part["counts"].items()}
    return {**part, "edges": halved_edges(part["edges"]), "counts": counts}


def half_bins(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence with half the bins in every histogram and a quarter of the cells in the density map."""
    reduced = dict(evidence)
    if reduced.get("values"):
        reduced["values"] = [coarser(part) if part.get("counts") else part for part in reduced["values"]]
    if reduced.get("errors", {}).get("counts"):
        reduced["errors"] = coarser(reduced["errors"])
    if reduced.get("density", {}).get("counts"):
        density = reduced["density"]
        rows = [halved(row) for row in density["counts"]]
        joined = [[sum(cells) for cells in zip(*rows[i : i + 2], strict=True)] for i in range(0, len(rows), 2)]
        reduced["density"] = {**density, "edges": halved_edges(density["edges"]), "counts": joined}
    return reduced


def without(evidence: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Evidence less some of its members."""
    return {name: value for name, value in evidence.items() if name not in names}


TRIMMERS: tuple[Callable[[Mapping[str, Any]], Mapping[str, Any]], ...] = (
    lambda evidence: evidence,
    half_bins,
    lambda evidence: without(half_bins(evidence), "density", "codes"),
    lambda evidence: without(half_bins(half_bins(evidence)), "density", "codes", "channels", "worst"),
    lambda _: {},
)
