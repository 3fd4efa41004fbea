"""Straight lines through measured points, and a picture of them that needs no network and no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT, MARGIN = 360, 260, 52
INK, FAINT, POINT, LINE = "#222222", "#cccccc", "#1f5fa8", "#c05a00"


@dataclass(frozen=True)
class Fit:
    """Points and the line through them, of least relative squares: small runs count as much as long ones.

    Attributes:
        title: What was varied.
        unit: Of the values across.
        points: Number and seconds of each run.
        slope_s: Seconds one more costs.
        intercept_s: Seconds without any.
        r_squared: Share of the variance that the line explains.
        largest_deviation: Of a point from the line, as a share of the line.
    """

    title: str
    unit: str
    points: tuple[tuple[float, float], ...]
    slope_s: float
    intercept_s: float
    r_squared: float
    largest_deviation: float

    @property
    def text(self) -> str:
        """For people."""
        return (
            f"{self.title:10} {1e3 * self.slope_s:.3g} ms a {self.unit} + {1e3 * self.intercept_s:.3g} ms; "
            f"R2 {self.r_squared:.4f}, largest deviation from the line {self.largest_deviation:.1%}"
        )


def fitted(title: str, unit: str, points: Sequence[tuple[float, float]]) -> Fit:
    """The line through at least two points."""
    across, seconds = np.array(points, dtype=np.float64).T
    slope, intercept = np.polyfit(across, seconds, 1, w=1 / seconds)
    line = slope * across + intercept
    spread = float(((seconds - seconds.mean()) ** 2).sum())
    return Fit(
        title=title,
        unit=unit,
        points=tuple((float(x), float(y)) for x, y in points),
        slope_s=float(slope),
        intercept_s=float(intercept),
        r_squared=1.0 - float(((seconds - line) ** 2).sum()) / spread if spread else 1.0,
        largest_deviation=float(np.abs(seconds / line - 1).max()),
    )


def picture(fits: Sequence[Fit], heading: str) -> str:
    """One panel a fit, side by side, as an SVG document."""
    width = WIDTH * len(fits)
    panels = "".join(
        f'<g transform="translate({index * WIDTH},24)">{_panel(fit)}</g>' for index, fit in enumerate(fits)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + 24}" width="{width}" '
        f'height="{HEIGHT + 24}" font-family="sans-serif" font-size="11" fill="{INK}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/><text x="12" y="16">{escape(heading)}</text>{panels}</svg>\n'
    )


def _panel(fit: Fit) -> str:
    most = max(x for x, _ in fit.points)
    highest = 1.05 * max(*(y for _, y in fit.points), fit.intercept_s + fit.slope_s * most)

    def place(x: float, y: float) -> tuple[float, float]:
        inner_width, inner_height = WIDTH - 1.5 * MARGIN, HEIGHT - 2 * MARGIN
        return MARGIN + x / most * inner_width, HEIGHT - MARGIN - y / highest * inner_height

    left, bottom = place(0, 0)
    right, top = place(most, highest)
    parts = [
        f'<text x="{left}" y="{top - 20:.0f}" font-weight="bold">{escape(fit.title)}</text>',
        f'<text x="{left}" y="{top - 6:.0f}">{escape(fit.text.partition(" ")[2].strip().partition(";")[0])}, '
        f"R² {fit.r_squared:.4f}</text>",
        f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="{INK}"/>',
    ]
    for part in (0.25, 0.5, 0.75, 1.0):
        x, y = place(part * most, part * highest)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="{FAINT}"/>')
        parts.append(f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{part * highest:.3g} s</text>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15:.0f}" text-anchor="middle">{part * most:.0f}</text>')
    (x0, y0), (x1, y1) = place(0, max(fit.intercept_s, 0)), place(most, fit.intercept_s + fit.slope_s * most)
    parts.append(f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="{LINE}"/>')
    for point in fit.points:
        x, y = place(*point)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{POINT}"/>')
    return "".join(parts)
