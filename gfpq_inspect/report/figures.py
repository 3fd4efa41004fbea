"""Every chart, defined once: as plain Plotly figure values, which the page draws and `figure` makes a Plotly object of.

Plain values because a page of 1 500 layers holds thousands of figures, and Plotly's own objects take milliseconds each
to build. Text that came from a model is escaped here, because Plotly reads HTML tags in hover text.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
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


def layer_figures(evidence: Mapping[str, Any]) -> list[tuple[str, str, str, Spec]]:
    """Charts of one layer's evidence.

    Args:
        evidence: `Result.details['layers'][key]`, documented in reports/README.md; every part is optional.

    Returns:
        Identifier, title, a sentence on what it shows, and the figure, in the order of reading.
    """
    made = [
        (f"values-{index}", str(part.get("title", "Values")), values_note(part), values_histogram(part))
        for index, part in enumerate(evidence.get("values", ()))
        if part.get("counts")
    ]
    if evidence.get("errors", {}).get("counts"):
        note = "How far single values are off; counts on a logarithmic axis."
        made.append(("errors", "Error", note, error_histogram(evidence["errors"])))
    if evidence.get("density", {}).get("counts"):
        note = "Each value once: float across, quantized up. All on the diagonal is perfect; a flat top is saturation."
        made.append(("density", "Float against quantized", note, density_map(evidence["density"])))
    if evidence.get("channels", {}).get("sqnr_db"):
        note = "SQNR of each channel; dead and outlier channels are marked."
        made.append(("channels", "Channels", note, channel_bars(evidence["channels"])))
    if any(v is not None for v in evidence.get("channels", {}).get("maximum") or ()):
        note = "Largest magnitude of each channel: one coefficient must serve them all."
        made.append(("ranges", "Channel ranges", note, channel_ranges(evidence["channels"])))
    if evidence.get("codes", {}).get("positive"):
        made.append(("codes", "Codes in use", codes_note(evidence["codes"]), code_histogram(evidence["codes"])))
    return made


def values_note(part: Mapping[str, Any]) -> str:
    """What a histogram of values shows."""
    levels = " Edges follow the levels of the grid, which are logarithmic." if not is_uniform(part["edges"]) else ""
    return f"Float and quantized values on the same edges.{levels}"


def codes_note(codes: Mapping[str, Any]) -> str:
    """How many codes are used."""
    binned = "" if codes.get("binned_by", "code") == "code" else f" Binned by {codes['binned_by']}."
    if codes.get("codes_used") is None:
        return f"How often each magnitude code occurs, by sign.{binned}"
    return f"{codes['codes_used']:,} of {codes.get('codes_total', 0):,} codes occur.{binned}"


def is_uniform(edges: Sequence[float]) -> bool:
    """Whether bins are equally wide."""
    widths = [b - a for a, b in itertools.pairwise(edges)]
    return not widths or max(widths) - min(widths) <= 1e-3 * max(map(abs, widths))


def significant(value: float, digits: int = 4) -> float:
    """Round to significant digits; a pixel shows no more."""
    return float(f"{value:.{digits - 1}e}")


def bin_axis(edges: Sequence[float]) -> tuple[list[float], float | None, Spec]:
    """Positions of bars: true positions for uniform bins, one step a bin with labelled edges for logarithmic ones.

    Returns:
        Centres, width of a bar (None where each is 1), and additions to the x axis.
    """
    if is_uniform(edges):
        centres = [significant((a + b) / 2, 5) for a, b in itertools.pairwise(edges)]
        return centres, None, {}
    count = len(edges) - 1
    step = max(1, math.ceil(len(edges) / 9))
    middle = min(range(len(edges)), key=lambda i: abs(edges[i]))
    ticks = [i for i in range(len(edges)) if (i - middle) % step == 0]
    labels = [f"{significant(edges[i], 3):g}" for i in ticks]
    axis = {"tickvals": [i - 0.5 for i in ticks], "ticktext": labels, "range": [-0.5, count - 0.5]}
    return [float(i) for i in range(count)], 1.0, axis


def values_histogram(part: Mapping[str, Any]) -> Spec:
    """Histogram of float (filled) and quantized (outlined) values on the same edges."""
    edges = part["edges"]
    centres, _, axis = bin_axis(edges)
    labels = [f"{significant(a, 3):g} to {significant(b, 3):g}" for a, b in itertools.pairwise(edges)]
    traces: list[Spec] = []
    for name, counts in part["counts"].items():
        trace: Spec = {"name": plotly_text(str(name)), "x": centres, "y": counts}
        trace["hovertemplate"] = "%{y:,}<extra>" + plotly_text(str(name)) + "</extra>"
        if not traces:
            trace |= {"text": labels, "hovertemplate": "%{text}: " + trace["hovertemplate"], "textposition": "none"}
        if name == "float":
            traces.append({"type": "bar", **trace, "marker": {"color": palette.FLOAT_FILL}})
        else:
            line = {"shape": "hvh", "width": 1.6, "color": palette.LANE_COLOURS.get(str(name), palette.QUANTIZED_FILL)}
            line["color"] = palette.DATA if name in {"both", "quantized"} else line["color"]
            trace.pop("textposition", None)
            traces.append({"type": "scatter", "mode": "lines", **trace, "line": line})
    layout = base_layout("value", "count", height=260)
    layout["xaxis"] |= axis
    layout["hovermode"] = "x"
    return {"data": traces, "layout": layout}


def error_histogram(errors: Mapping[str, Any]) -> Spec:
    """Histogram of errors, counts on a logarithmic axis so that rare large ones are seen."""
    centres, _, axis = bin_axis(errors["edges"])
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": plotly_text(str(name)),
            "x": centres,
            "y": [count or None for count in counts],
            "line": {
                "shape": "hvh",
                "width": 1.6,
                "color": palette.LANE_COLOURS.get(str(name), palette.DATA),
                "dash": palette.LANE_DASHES.get(str(name), "solid"),
            },
            "hovertemplate": "%{x:.3g}: %{y:,}<extra>" + plotly_text(str(name)) + "</extra>",
        }
        for name, counts in errors["counts"].items()
    ]
    layout = base_layout("quantized minus float", "count", height=260)
    layout["xaxis"] |= axis
    layout["yaxis"] |= {"type": "log", "exponentformat": "power", "dtick": 1}
    return {"data": traces, "layout": layout}


def density_map(density: Mapping[str, Any]) -> Spec:
    """How often a float value became a quantized value; counts by their logarithm."""
    edges = density["edges"]
    positions = [significant((a + b) / 2) for a, b in itertools.pairwise(edges)]
    shades = [[round(math.log10(count + 1), 1) if count else None for count in row] for row in density["counts"]]
    scale = [[i / (len(palette.CIVIDIS) - 1), colour] for i, colour in enumerate(palette.CIVIDIS)]
    trace = {
        "type": "heatmap",
        "name": "log10(count + 1)",
        "x": positions,
        "y": positions,
        "z": shades,
        "colorscale": scale,
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": "float %{x:.3g}, quantized %{y:.3g}: 10^%{z:.1f}<extra></extra>",
    }
    diagonal = {
        "type": "line", "x0": edges[0], "y0": edges[0], "x1": edges[-1], "y1": edges[-1],
        "line": {"color": palette.BAD, "width": 1, "dash": "dot"},
    }  # fmt: skip
    layout = base_layout("float", "quantized", height=320)
    layout["shapes"] = [diagonal]
    return {"data": [trace], "layout": layout}


def channel_bars(channels: Mapping[str, Any]) -> Spec:
    """SQNR a channel, worst first, with dead and outlier channels marked."""
    values = channels["sqnr_db"]
    order = sorted(range(len(values)), key=lambda i: (values[i] is None, values[i] if values[i] is not None else 0.0))
    special = {
        **dict.fromkeys(channels.get("outlier", ()), "outlier"),
        **dict.fromkeys(channels.get("dead", ()), "dead"),
    }
    saturated = channels.get("saturated_share") or [None] * len(values)
    shown = "channel %{customdata[0]}: %{y:.1f} dB"
    shown += ", %{customdata[1]:.2%} saturated" if channels.get("saturated_share") else ""
    traces: list[Spec] = [
        {
            "type": "bar",
            "name": "SQNR",
            "y": [values[i] for i in order],
            "customdata": [[i, saturated[i]] for i in order],
            "marker": {"color": palette.FLOAT_FILL},
            "hovertemplate": f"{shown}<extra></extra>",
        }
    ]
    for word, symbol, colour in (("outlier", "triangle-up", palette.BAD), ("dead", "x", palette.MUTED)):
        marked = [(place, i) for place, i in enumerate(order) if special.get(i) == word]
        if marked:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": word,
                    "x": [place for place, _ in marked],
                    "y": [values[i] or 0 for _, i in marked],
                    "text": [f"channel {i}" for _, i in marked],
                    "marker": {"symbol": symbol, "size": 9, "color": colour},
                    "hovertemplate": "%{text}<extra>" + word + "</extra>",
                }
            )
    return {"data": traces, "layout": base_layout("channels, worst first", "SQNR in dB", height=260)}


def channel_ranges(channels: Mapping[str, Any]) -> Spec:
    """Largest magnitude of each channel, in channel order."""
    trace = {
        "type": "bar",
        "name": "maximum",
        "y": channels["maximum"],
        "marker": {"color": palette.FLOAT_FILL},
        "hovertemplate": "channel %{x}: %{y:.4g}<extra></extra>",
    }
    layout = base_layout("channel", "largest magnitude", height=260)
    layout["yaxis"] |= {"rangemode": "tozero"}
    return {"data": [trace], "layout": layout}


def code_histogram(codes: Mapping[str, Any]) -> Spec:
    """Use of the magnitude codes, positive values up and negative values down."""
    traces = [
        {"type": "bar", "name": "positive", "y": codes["positive"], "marker": {"color": palette.DATA},
         "hovertemplate": "+ code %{x}: %{y:,}<extra></extra>"},
        {"type": "bar", "name": "negative", "y": [-count for count in codes.get("negative", ())],
         "customdata": list(codes.get("negative", ())), "marker": {"color": palette.WEIGHT},
         "hovertemplate": "− code %{x}: %{customdata:,}<extra></extra>"},
    ]  # fmt: skip
    layout = base_layout("magnitude code, small to large", "count", height=260)
    layout["barmode"] = "relative"
    return {"data": traces, "layout": layout}
