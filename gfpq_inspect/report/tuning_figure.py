"""The log of `gfpq-inspect tune`: how much error was left at each evaluation on the held-out samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.report import palette
from gfpq_inspect.report.figures import Spec, base_layout, plotly_text, significant
from gfpq_inspect.report.text import plural, visible

LONGEST_STAGE = 60


def tuning_log(result: Result) -> list[Mapping[str, Any]]:
    """Entries of the log that hold the numbers of an evaluation; empty where the result is of no tuning."""
    tuning = result.details.get("tuning")
    log = tuning.get("log") if isinstance(tuning, Mapping) else None
    if not isinstance(log, list):
        return []
    return [line for line in log if isinstance(line, Mapping) and _is_number(line.get("remaining"))]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def tuning_progress(result: Result) -> Spec | None:
    """Error energy that is left of what quantization added, loss and cosine, at every evaluation.

    Args:
        result: The result.

    Returns:
        A figure, or None where the result is of no tuning.
    """
    log = tuning_log(result)
    if not log:
        return None
    places = list(range(len(log)))
    text = [_place(line) for line in log]
    layout = base_layout("evaluation on held-out samples", "% of the error as given", height=300)
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["yaxis2"] = {
        "title": {"text": "lowest cosine", "font": {"size": 12, "color": palette.MUTED}},
        "overlaying": "y",
        "side": "right",
        "showgrid": False,
        "tickfont": {"color": palette.MUTED},
        "automargin": True,
    }
    layout["xaxis"] |= {"tickmode": "array", "tickvals": places, "ticktext": text}
    traces = [
        _trace("error left", [100 * line["remaining"] for line in log], (palette.TUNED, "solid", "circle"), text),
        _trace(
            "training loss",
            [100 * line["loss"] if _is_number(line.get("loss")) else None for line in log],
            (palette.WEIGHT, "dash", "square"),
            text,
        ),
        _trace("lowest cosine", [line.get("lowest_cosine") for line in log], (palette.DATA, "dot", "diamond"), text),
    ]
    traces[2]["yaxis"] = "y2"
    return {"data": [trace for trace in traces if any(value is not None for value in trace["y"])], "layout": layout}


def _place(line: Mapping[str, Any]) -> str:
    stage = plotly_text(str(line.get("stage", ""))[:LONGEST_STAGE])
    return f"step {line['step']}" if stage == "training" and _is_number(line.get("step")) else stage


def _trace(name: str, values: list[Any], look: tuple[str, str, str], text: list[str]) -> Spec:
    colour, dash, symbol = look
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": list(range(len(values))),
        "y": [significant(value, 6) if _is_number(value) else None for value in values],
        "text": text,
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "marker": {"color": colour, "symbol": symbol, "size": 7},
        "hovertemplate": "<b>%{text}</b><br>%{y:.5g}<extra>" + name + "</extra>",
    }


def tuning_text(result: Result) -> str:
    """One sentence on what was tuned and kept; empty where the result is of no tuning."""
    log = tuning_log(result)
    if not log:
        return ""
    tuning = result.details["tuning"]
    samples = tuning.get("samples")
    counts = samples if isinstance(samples, Mapping) else {}
    parts = [
        f"{plural(counts[name], 'sample')} {what}"
        for name, what in (("train", "trained"), ("holdout", "watched"), ("judged", "judge"))
        if isinstance(counts.get(name), int)
    ]
    if tuning.get("improved") is not True:
        kept = "nothing better was found, so the second network is the first, quantized"
    else:
        kept = f"kept is what '{visible(str(tuning.get('stage', ''))[:LONGEST_STAGE])}' gave"
    return f"Tuning: {kept}" + (f" ({', '.join(parts)})." if parts else ".")
