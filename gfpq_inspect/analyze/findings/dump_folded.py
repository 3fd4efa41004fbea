"""Is a tensor of the dump that of a neighbour that only scales and shifts channels? (spec: decision tree, G0)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.channels import by_channel
from gfpq_inspect.analyze.dumps.views import GOOD, View, views
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.models.model import LayerKind
from gfpq_inspect.models.pair import canonical_type

_AFFINE = frozenset({"BatchNorm", "BN", "Scale", "Bias"})
_EXPLAINED = 0.995
_FEWEST = 8
_SAME_GAIN = 0.1


def run(case: Case) -> Outcome:
    """Fit a gain and an offset to every channel of bad tensors."""
    if case.dump is None:
        return not_applicable("a dump")
    rows: list[tuple[Cell, ...]] = []
    near = _near_affine(case) if case.dump.match is not None else None
    for view in views(case):
        if near is not None and view.row not in near:
            continue
        fitted = _channels(view) if view.cosine < GOOD or abs(view.fit.gain - 1) > _SAME_GAIN else None
        if fitted is not None:
            rows.append((view.row, view.reading.tensor.name, view.cosine, *fitted))
    if not rows:
        return passed("No tensor of the dump is the network's but for a gain and an offset of each channel.")
    measured = (
        f"{layers_text(len(rows), 'tensor')} of the dump are the network's but for a gain and an offset a channel: "
        f"'{rows[0][0]}' has a cosine of {rows[0][2]:.4f}, its channels explain {100 * float(rows[0][3] or 0):.1f} % "
        f"with gains of {rows[0][4]:.3g} to {rows[0][5]:.3g}."
    )
    columns = ("layer", "tensor of the dump", "cosine", "explained", "lowest gain", "highest gain")
    return found("error", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


def _near_affine(case: Case) -> set[str]:
    """Rows of layers that scale and shift channels, of what they read, and of what reads them."""
    rows = set()
    makers = {value: layer for layer in case.first.layers for value in layer.outputs}
    for layer in case.first.layers:
        around = [layer, *(makers[value] for value in layer.inputs if value in makers)]
        if layer.kind is not LayerKind.INPUT and any(canonical_type(one) in _AFFINE for one in around):
            rows |= {case.row_key_of_first(one.key) for one in around if one.kind is not LayerKind.INPUT}
    return rows


def _channels(view: View) -> tuple[float, float, float] | None:
    """Share that fits a channel explain, and the gains, where gains differ between channels."""
    x, y = by_channel(view.reference).astype(np.float64), by_channel(view.values).astype(np.float64)
    if len(x) < 2 or x.shape[1] < _FEWEST or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    energy = (x * x).sum(1)
    live = energy > 0
    if live.sum() < 2:
        return None
    gains = (x * y).sum(1)[live] / energy[live]
    left = ((y[live] - gains[:, None] * x[live]) ** 2).sum()
    whole = (y[live] ** 2).sum()
    explained = float(1 - left / whole) if whole > 0 else 0.0
    alike = float(np.ptp(gains)) <= _SAME_GAIN * float(np.abs(gains).max())
    return (explained, float(gains.min()), float(gains.max())) if explained >= _EXPLAINED and not alike else None


CHECK = Check(
    id="dump-folded",
    group=Group.COMPARABILITY,
    title="The dump's tensors are taken at the same place",
    failure="A tensor of the dump was taken before or after BatchNorm or Scale",
    why=(
        "A compiler folds BatchNorm and Scale into the convolution before them, so a tensor of the convolution's name "
        "holds what the last of them makes. Compared with the convolution alone, a healthy layer looks broken."
    ),
    remedy="Compare the folded network (--fold), or dump the tensor behind BatchNorm and Scale.",
    how=(
        "Least squares of a gain and an offset for each channel of tensors below a cosine of 0.98; they must explain "
        "99.5 % of the energy with gains that differ between channels, beside a layer that scales them."
    ),
    run=run,
)
