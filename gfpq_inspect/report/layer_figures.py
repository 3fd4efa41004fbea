"""Charts of one layer; see `figures` for the form that all charts have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gfpq_inspect.report import palette
from gfpq_inspect.report.figures import Spec, base_layout, plotly_text, significant


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
        note = (
            "Up to 65 536 values a sample: float across, quantized up. All on the diagonal is perfect; a flat top is "
            "saturation."
        )
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
    binned = ""
    if codes.get("binned_by", "code") != "code":
        binned = f" Binned by {codes['binned_by']}; compare --full-histograms writes every code."
    if codes.get("codes_used") is None:
        return f"How often each magnitude code occurs, by sign.{binned}"
    return f"{codes['codes_used']:,} of {codes.get('codes_total', 0):,} codes occur.{binned}"


def is_uniform(edges: Sequence[float]) -> bool:
    """Whether bins are equally wide."""
    widths = [b - a for a, b in itertools.pairwise(edges)]
    return not widths or max(widths) - min(widths) <= 1e-3 * max(map(abs, widths))


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
    first, width = codes.get("first_code", 0), codes.get("codes_a_bar", 1)
    starts = [first + width * bar for bar in range(len(codes["positive"]))]
    last = f" and the {width - 1} above it" if width > 1 else ""
    traces = [
        {"type": "bar", "name": "positive", "x": starts, "y": codes["positive"], "marker": {"color": palette.DATA},
         "hovertemplate": f"+ code %{{x}}{last}: %{{y:,}}<extra></extra>"},
        {"type": "bar", "name": "negative", "x": starts, "y": [-count for count in codes.get("negative", ())],
         "customdata": list(codes.get("negative", ())), "marker": {"color": palette.WEIGHT},
         "hovertemplate": f"− code %{{x}}{last}: %{{customdata:,}}<extra></extra>"},
    ]  # fmt: skip
    layout = base_layout("magnitude code, small to large", "count", height=260)
    layout["barmode"] = "relative"
    return {"data": traces, "layout": layout}
