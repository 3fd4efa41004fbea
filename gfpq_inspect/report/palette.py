"""Colours that people with colour-blindness can tell apart, in a light and a dark form of the same order.

Lanes take the hues of Okabe and Ito, darkened or lightened until they stand 3:1 against the page; values take cividis.
Every colour is accompanied by a sign, a dash pattern or a number.
"""

from __future__ import annotations

TEXT, MUTED, GRID = "#1f2328", "#57606a", "#d8dee4"
DATA, WEIGHT, BOTH = "#0072b2", "#b85c00", "#1f2328"
TUNED, DRIFT, LOCAL = "#00795b", "#a64d85", "#57606a"
BAD, WATCH, GOOD = "#b3261e", "#8a5a00", "#1a7f37"
FLOAT_FILL, QUANTIZED_FILL = "#9aa4b1", "#0072b2"

DARK = {
    TEXT: "#e6e9ee",
    MUTED: "#9aa4b1",
    GRID: "#2b323b",
    DATA: "#56b4e9",
    WEIGHT: "#f0a030",
    TUNED: "#2fc79a",
    DRIFT: "#d98cbb",
    BAD: "#ff8a80",
    WATCH: "#e3b341",
    GOOD: "#56d364",
    FLOAT_FILL: "#6b7683",
}
"""Light colour to its dark form; figures are made in the light form, and the page swaps."""

LANE_COLOURS = {
    "data": DATA,
    "weight": WEIGHT,
    "both": BOTH,
    "tuned_data": DATA,
    "tuned_weight": WEIGHT,
    "tuned": TUNED,
    "tuned_float": DRIFT,
    "dump": TUNED,
    "second_dump": TUNED,
}
LANE_DASHES = {"data": "dot", "weight": "dash", "tuned_data": "dot", "tuned_weight": "dash"}

CIVIDIS = (
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
)  # fmt: skip
