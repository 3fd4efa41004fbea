"""The chart of what each lane loses of the task, beside the guide's two figures."""

from __future__ import annotations

import html

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.task_result import (
    DESIGNED_LOSS_POINTS,
    TYPICAL_LOSS_POINTS,
    LaneDecisions,
    TaskOutput,
)
from gfpq_inspect.report import palette
from gfpq_inspect.report.figures import Spec, base_layout, plotly_text, significant

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
ROW_HEIGHT = 34


def task_loss(result: Result) -> Spec | None:
    """Loss of every lane in percentage points with its 95 % interval, and lines at 0.5 and 1 point.

    Without labels it is the share of decisions that changed, which no loss of top-1 can exceed.

    Args:
        result: The result.

    Returns:
        A figure, or None where no output holds decisions.
    """
    outputs = result.task.outputs if result.task is not None else ()
    lanes = list(dict.fromkeys(lane.lane for output in outputs for lane in output.lanes if lane.lane != lane.reference))
    if not lanes:
        return None
    labelled = any(lane.top1 is not None for output in outputs for lane in output.lanes)
    title = "loss of top-1 against float, points" if labelled else "decisions changed, % (top-1 cannot lose more)"
    layout = base_layout(title, "", height=130 + ROW_HEIGHT * len(lanes))
    traces = [_trace(output, SYMBOLS[place % len(SYMBOLS)]) for place, output in enumerate(outputs)]
    layout["showlegend"] = len(traces) > 1
    layout["xaxis"] |= {"showgrid": True, "zeroline": True}
    layout["yaxis"] |= {"autorange": "reversed", "type": "category"}
    layout["margin"] = {**layout["margin"], "t": 34}
    figures = ((TYPICAL_LOSS_POINTS, "most stay below 0.5", "right"), (DESIGNED_LOSS_POINTS, "designed for 1", "left"))
    layout["shapes"] = [
        {
            "type": "line",
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "x0": value,
            "x1": value,
            "line": {
                "color": palette.BAD if value == DESIGNED_LOSS_POINTS else palette.WATCH,
                "width": 1,
                "dash": "dot",
            },
        }
        for value, _, _ in figures
    ]
    layout["annotations"] = [
        {
            "x": value,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "xanchor": anchor,
            "showarrow": False,
            "text": text,
            "font": {"size": 11, "color": palette.MUTED},
        }
        for value, text, anchor in figures
    ]
    return {"data": traces, "layout": layout}


def _trace(output: TaskOutput, symbol: str) -> Spec:
    shown = [lane for lane in output.lanes if lane.lane != lane.reference]
    values, above, below = zip(*(_value(lane) for lane in shown), strict=True)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plotly_text(output.output),
        "y": [html.escape(lane.lane, quote=False) for lane in shown],
        "x": [significant(value) for value in values],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [significant(value) for value in above],
            "arrayminus": [significant(value) for value in below],
            "color": palette.MUTED,
            "thickness": 1.5,
        },
        "marker": {"color": palette.BOTH, "size": 9, "symbol": symbol},
        "hovertemplate": "<b>%{y}</b><br>%{x:.2f}<extra>" + plotly_text(output.output) + "</extra>",
    }


def _value(lane: LaneDecisions) -> tuple[float, float, float]:
    """Value, distance to the upper and to the lower end of its interval."""
    if lane.loss_points is not None and lane.loss_interval is not None:
        value, low, high = lane.loss_points, lane.loss_interval.low, lane.loss_interval.high
    else:
        value = 100 * (1 - lane.agreement)
        low, high = 100 * (1 - lane.agreement_interval.high), 100 * (1 - lane.agreement_interval.low)
    return value, max(0.0, high - value), max(0.0, value - low)
