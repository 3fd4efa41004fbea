"""Does one channel set the range of a whole tensor of data? (spec: decision tree, G6 c)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.tensors_seen import HARMED_DB, Seen, tensors_seen

_GAP_OCTAVES = 3.0
_HARMED_SHARE = 0.5
_READER = 0.995


def stands_alone(seen: Seen) -> tuple[int, float, float] | None:
    """The channel that stands alone, octaves above the next, share of the others that are harmed; or None."""
    maxima = seen.maxima
    live = np.flatnonzero(maxima > 0)
    if live.size < 3:
        return None
    order = live[np.argsort(-maxima[live], kind="stable")]
    gap = float(np.log2(maxima[order[0]] / maxima[order[1]]))
    others = seen.channel_sqnr_db()[order[1:]]
    harmed = float((others < HARMED_DB).mean())
    return (int(order[0]), gap, harmed) if gap >= _GAP_OCTAVES and harmed >= _HARMED_SHARE else None


def run(case: Case) -> Outcome:
    """Look for channels that leave no range to the others."""
    seen = [one for one in tensors_seen(case, any_format=True) if len(one.maxima) > 2]
    if not seen:
        return not_applicable("quantized data with channels")
    alone = [(one, hit) for one in seen if (hit := stands_alone(one)) is not None]
    if not alone:
        return passed(f"In none of {layers_text(len(seen), 'tensor')} does one channel set the range alone.")
    alone.sort(key=lambda item: (item[0].alone if item[0].alone is not None else 1.0, -item[1][1]))
    one, (channel, gap, harmed) = alone[0]
    measured = (
        f"Channel {channel} of '{one.row}' is 2^{gap:.1f} times the next; {100 * harmed:.0f} % of the other channels "
        f"fall below {HARMED_DB:g} dB when quantized."
    )
    if one.alone is not None:
        measured += f" The layer that reads it, run alone, keeps a cosine of {one.alone:.4f}."
    severity = "note"
    if one.alone is None or one.alone < _READER:
        severity = "error" if one.alone is not None and one.alone < case.threshold else "warning"
    rows: list[tuple[Cell, ...]] = [
        (s.row, s.point.side.value, hit[0], hit[1], 100 * hit[2], s.alone) for s, hit in alone
    ]
    columns = (
        "tensor",
        "model",
        "channel",
        "octaves above the next",
        "harmed channels %",
        "cosine of the reader alone",
    )
    layers = [row for s, _ in alone for row in (s.row, *s.readers)]
    return found(severity, measured, layers=layers, columns=columns, rows=rows)


CHECK = Check(
    id="outlier-channel",
    group=Group.TENSOR,
    title="Channels share the range of their tensor",
    failure="One channel sets the range of a whole tensor",
    why=(
        "A tensor has one coefficient. A channel that is 2^k larger than the others takes k octaves from them: at k "
        "= 6 half of a Gaussian channel becomes zero, from k = 9 on all of it. The tensor's own cosine does not "
        "show it."
    ),
    remedy=(
        "Equalize the layer that makes the channel with the one that reads it (gfpq-inspect remedy tries this), "
        "clip or prune the channel, or give the reader 16 bit (name it _hp)."
    ),
    how=(
        "Largest magnitude of each channel over the samples; one stands alone when it is 3 octaves above the next "
        "and at least half of the others fall below 26 dB. Without harm to the layer that reads the tensor it is a "
        "note."
    ),
    run=run,
)
