"""The result in the form of other people's graph viewers: Model Explorer and Graphviz."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gfpq_inspect.analyze.result import LayerRow, Result, Verdict
from gfpq_inspect.report import story
from gfpq_inspect.report.palette import CIVIDIS
from gfpq_inspect.report.text import cosine_text, shortened, sqnr_text, visible

NAME_WIDTH = 80
FLAG_FRAME, QUIET_FRAME = "#b3261e", "#57606a"


def render_model_explorer(result: Result) -> str:
    """Write node data for Model Explorer: layer or tensor names to the judged SQNR in dB, with a colour scale.

    Load the network in Model Explorer and add this file as custom node data; nodes are found by the names of their
    output tensors. Layers without a number (exact, not compared) are left out.
    """
    values: dict[str, dict[str, float]] = {}
    for row in result.layers:
        scores = story.judged_scores(result, row)
        if scores is not None and scores.sqnr_db is not None:
            values.setdefault(row.name, {"value": scores.sqnr_db})
            values.setdefault(row.key, {"value": scores.sqnr_db})
    gradient = [{"stop": i / (len(CIVIDIS) - 1), "bgColor": colour} for i, colour in enumerate(CIVIDIS)]
    return json.dumps({"results": values, "gradient": gradient}, ensure_ascii=True, allow_nan=False, indent=1) + "\n"


def render_dot(result: Result) -> str:
    """Write a Graphviz graph: layers as boxes coloured by the judged SQNR, edges that carry quantized data in blue."""
    position = {row.key: index for index, row in enumerate(result.layers)}
    colours = dict(zip(position, node_colours(result), strict=True))
    lines = [
        "digraph network {",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=10];',
        '  edge [color="#57606a"];',
    ]
    lines += [f"  n{position[row.key]} [{node_attributes(result, row, colours[row.key])}];" for row in result.layers]
    for row in result.layers:
        style = ' [color="#0072b2", penwidth=2]' if row.quantized else ""
        lines += [f"  n{position[key]} -> n{position[row.key]}{style};" for key in row.inputs if key in position]
    return "\n".join([*lines, "}"]) + "\n"


def node_colours(result: Result) -> Sequence[str]:
    """A colour of the cividis scale a layer, white where there is no score."""
    scores = [story.judged_scores(result, row) for row in result.layers]
    values = [score.sqnr_db if score is not None else None for score in scores]
    known = sorted(value for value in values if value is not None)
    if not known:
        return ["#ffffff"] * len(values)
    low, high = known[len(known) // 50], known[-1 - len(known) // 50]
    span = max(high - low, 1e-9)
    places = [None if v is None else min(max((v - low) / span, 0.0), 1.0) for v in values]
    return ["#ffffff" if place is None else CIVIDIS[round(place * (len(CIVIDIS) - 1))] for place in places]


def node_attributes(result: Result, row: LayerRow, colour: str) -> str:
    """Label, colours and frame of one layer."""
    scores = story.judged_scores(result, row)
    numbers = (
        f"{cosine_text(scores.cosine)}, {sqnr_text(scores)} dB" if scores is not None else row.status.value.lower()
    )
    label = f"{quoted(shortened(row.name, NAME_WIDTH))}\\n{quoted(shortened(row.type, NAME_WIDTH))}\\n{quoted(numbers)}"
    dark = CIVIDIS.index(colour) < len(CIVIDIS) // 2 if colour in CIVIDIS else False
    flagged = row.verdict is Verdict.FLAGGED
    frame = f'color="{FLAG_FRAME if flagged else QUIET_FRAME}", penwidth={3 if flagged else 1}'
    return f'label="{label}", fillcolor="{colour}", fontcolor="{"#ffffff" if dark else "#101418"}", {frame}'


def quoted(text: str) -> str:
    """Text inside a quoted DOT string, where only the quote and the backslash mean something."""
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')
