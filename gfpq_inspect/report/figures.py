"""Charts of a whole network, and what all charts share: plain Plotly figure values, defined once.

The page draws them, and `figure` makes a Plotly object of one. Plain values because a page of 1 500 layers holds
thousands of figures, and Plotly's own objects take milliseconds each to build. Text that came from a model is escaped
here, because Plotly reads HTML tags in hover text.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gfpq_inspect.analyze.result import Comparison, Result, Verdict
from gfpq_inspect.report import palette
from gfpq_inspect.report.story import RANKING_KINDS, lanes_shown, local_comparison
from gfpq_inspect.report.text import shortened

if TYPE_CHECKING:
    import plotly.graph_objects

Spec = dict[str, Any]
Columns = Callable[[str, str], Any]

METRIC_TITLES = {"sqnr_db": "SQNR in dB", "cosine": "cosine similarity", "norm_ratio": "norm ratio"}
NETWORK_METRICS = tuple(METRIC_TITLES)
FEW_LAYERS = 80
HOVER_NAME_WIDTH = 60
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def plotly_text(name: str, width: int = HOVER_NAME_WIDTH) -> str:
    """Untrusted text for a Plotly label: shortened, visible, tags and entities escaped."""
    return html.escape(shortened(name, width), quote=False)


def figure(spec: Spec) -> plotly.graph_objects.Figure:
    """Make a Plotly figure, for notebooks."""
    import plotly.graph_objects  # noqa: PLC0415  (half a second, and the page needs only the values)

    return plotly.graph_objects.Figure(spec)


def base_layout(x_title: str, y_title: str, *, height: int = 300) -> Spec:
    """Layout that all charts share: quiet grid, no decoration, room for long tick labels."""
    axis = {
        "gridcolor": palette.GRID,
        "linecolor": palette.GRID,
        "zerolinecolor": palette.GRID,
        "tickfont": {"color": palette.MUTED},
        "automargin": True,
    }
    return {
        "height": height,
        "margin": {"l": 48, "r": 12, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": palette.TEXT},
        "hoverlabel": {"font": {"family": FONT, "size": 12}, "align": "left"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        "xaxis": {**axis, "title": {"text": x_title, "font": {"size": 12, "color": palette.MUTED}}, "showgrid": False},
        "yaxis": {**axis, "title": {"text": y_title, "font": {"size": 12, "color": palette.MUTED}}},
        "dragmode": "zoom",
        "bargap": 0,
    }


def result_columns(result: Result) -> Columns:
    """Columns of a result by comparison and score; 'name' and 'flagged' stand for the row itself."""

    def column(comparison: str, field: str) -> list[Any]:
        if field == "name":
            return [plotly_text(row.name) for row in result.layers]
        return [getattr(row.scores.get(comparison), field, None) for row in result.layers]

    return column


READINGS = {"accumulated": "accumulated", "alone": "each layer alone"}


def network_error(
    result: Result, metric: str = "sqnr_db", columns: Columns | None = None, reading: str = "accumulated"
) -> Spec:
    """Error along the network: a line a lane, flagged layers marked.

    Args:
        result: The result.
        metric: 'sqnr_db', 'cosine' or 'norm_ratio'.
        columns: Where the arrays come from; the page gives references in their place and fills them in itself.
        reading: 'accumulated': lanes as they run from their own inputs, beside what each layer loses by itself;
            'alone': local, inherited and fresh error of each layer.

    Returns:
        A figure whose points are the layers in network order; a lane has no point where it is exact or undefined.
    """
    column = columns or result_columns(result)
    present = {name for row in result.layers for name in row.scores}
    own = local_comparison(result)
    if reading == "alone":
        lanes = [comparison for comparison in result.comparisons if comparison.kind not in RANKING_KINDS]
    else:
        lanes = [*reversed(lanes_shown(result)), *([own] if own is not None else [])]
    lanes = [lane for lane in lanes if lane.name in present]
    traces = [lane_trace(result, lane, metric, column, reading) for lane in lanes]
    if reading == "accumulated":
        traces.append(flagged_trace(result, metric))
    layout = base_layout("layer, in network order", METRIC_TITLES[metric], height=340)
    layout["legend"]["traceorder"] = "reversed" if reading == "accumulated" else "normal"
    layout["hovermode"] = "x unified" if len(result.layers) <= 400 else "closest"
    layout["shapes"] = [threshold_line(result, metric)] if threshold_line(result, metric) else []
    layout["yaxis"] |= value_range(result, lanes, metric)
    layout["xaxis"]["range"] = [-0.5, max(len(result.layers) - 0.5, 0.5)]
    return {"data": traces, "layout": layout}


def lane_trace(result: Result, lane: Comparison, metric: str, column: Columns, reading: str) -> Spec:
    """One lane along the network; lanes of the second reading are hidden until their legend entry is clicked."""
    judged = lane.name == result.judgement.comparison
    local = lane.kind not in RANKING_KINDS
    colour = lane_colour(lane)
    first_only = len(result.run.models) > 1 and lane.name in {"data", "weight", "both"}
    few = len(result.layers) <= FEW_LAYERS
    trace: Spec = {
        "type": "scatter",
        # Local scores exist at some layers only: points say so, a line would not.
        "mode": "markers" if local else "lines+markers" if few else "lines",
        "name": lane.name if first_only else f"{lane.name}: {lane.title}",
        "y": column(lane.name, metric),
        "connectgaps": True,
        "marker": {"color": colour, "size": 4},
        "line": {"color": colour, "width": 2.5 if judged else 1.5, "dash": lane_dash(lane)},
        "hovertemplate": "%{y:.5~g}<extra>" + html.escape(lane.name, quote=False) + "</extra>",
        "meta": {"comparison": lane.name},
    }
    if local:
        alone = {"color": colour, "size": 7, "symbol": lane_symbol(lane)}
        trace["marker"] = alone if reading == "alone" else {"color": palette.LOCAL, "size": 5, "symbol": "circle-open"}
    if judged or reading == "alone":
        trace["text"] = column(lane.name, "name")
        trace["hovertemplate"] = "<b>%{text}</b><br>" + trace["hovertemplate"]
    if first_only or (lane.kind == "inherited" and reading == "alone"):
        trace["visible"] = "legendonly"
    return trace


def lane_colour(lane: Comparison) -> str:
    """Colour of a lane: the same for data and for weights whatever else is said of them."""
    if lane.kind == "total":
        return palette.BOTH
    if lane.kind in {"inherited", "fresh"}:
        return palette.DRIFT if lane.kind == "inherited" else palette.TUNED
    if lane.lane in palette.LANE_COLOURS:
        return palette.LANE_COLOURS[lane.lane]
    if "tuned" in lane.name:
        return palette.TUNED
    return palette.DATA if "data" in lane.name else palette.WEIGHT if "weight" in lane.name else palette.BOTH


def lane_symbol(lane: Comparison) -> str:
    """Sign of a lane's points, so that they differ without colour."""
    if lane.kind in {"inherited", "fresh"}:
        return "triangle-down-open" if lane.kind == "inherited" else "triangle-up-open"
    return "circle" if "data" in lane.name else "square" if "weight" in lane.name else "diamond-open"


def lane_dash(lane: Comparison) -> str:
    """Dash pattern of a lane, so that lines differ without colour."""
    if lane.kind in {"total", "drift"}:
        return "solid"
    if lane.kind in {"inherited", "fresh"}:
        return "dashdot"
    return "dot" if "data" in lane.name else "dash" if "weight" in lane.name else "solid"


def flagged_trace(result: Result, metric: str) -> Spec:
    """Crosses on the layers that are flagged, by the judged comparison."""
    name = result.judgement.comparison
    flagged = [
        (position, getattr(row.scores.get(name), metric, None), plotly_text(row.name), row.cause or "")
        for position, row in enumerate(result.layers)
        if row.verdict is Verdict.FLAGGED
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "flagged",
        "x": [position for position, *_ in flagged],
        "y": [value for _, value, *_ in flagged],
        "text": [f"{label}<br>cause: {html.escape(cause)}" for *_, label, cause in flagged],
        "marker": {"color": palette.BAD, "symbol": "x", "size": 8},
        "hovertemplate": "%{text}<extra>flagged</extra>",
        "meta": {"comparison": name},
    }


def threshold_line(result: Result, metric: str) -> Spec | None:
    """A line at the flag threshold; in dB at what that cosine means for an error orthogonal to the signal."""
    cosine = result.judgement.threshold
    if metric == "cosine":
        level = cosine
    elif metric == "sqnr_db" and 0 < cosine < 1:
        level = -10 * math.log10(1 / cosine**2 - 1)
    else:
        return None
    line = {"color": palette.BAD, "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level, "line": line}


def value_range(result: Result, lanes: Sequence[Comparison], metric: str) -> Spec:
    """Range of the value axis: all of it for most scores; never so deep for one dead layer that the rest is flat."""
    found = [getattr(row.scores.get(lane.name), metric, None) for row in result.layers for lane in lanes]
    values = sorted(value for value in found if value is not None)
    if not values:
        return {}
    if metric == "cosine":
        low = min(values[len(values) // 100], result.judgement.threshold)
        return {"range": [max(low - 0.15 * (1 - low), -1.02), 1 + 0.05 * (1 - low)]}
    if metric == "sqnr_db":
        low, high = values[len(values) // 200], values[-1 - len(values) // 200]
        return {"range": [min(low, 13.0) - 2, min(high, 120) + 3]}
    return {}


def significant(value: float, digits: int = 4) -> float:
    """Round to significant digits; a pixel shows no more."""
    return float(f"{value:.{digits - 1}e}")
