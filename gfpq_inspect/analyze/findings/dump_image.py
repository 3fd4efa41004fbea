"""Was the dump made of the sample that it is compared with? (spec: decision tree, G0)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gfpq_inspect.analyze.dumps.comparison import DumpRole
from gfpq_inspect.analyze.dumps.views import View, input_views, layers_before, views
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.metrics import TINY_ELEMENTS
from gfpq_inspect.inputs.dumps.values import cosine
from gfpq_inspect.models.run import LayerRunner

Array = NDArray[Any]

_SAME = 0.99
_ALIKE = 0.98
_MOST_SAMPLES = 256
_MOST_PAIRS = 64


@dataclass(frozen=True)
class _Witness:
    """A tensor that tells samples apart.

    Attributes:
        row: Row key.
        value: The network's value.
        view: The dump's tensor beside it; None for the network's input.
        same: Cosine from which on two tensors are of one sample.
    """

    row: str
    value: str
    reading: Any
    same: float


def run(case: Case) -> Outcome:
    """Compare the dump's first tensor with those of all samples of the input."""
    dump = case.dump
    if dump is None or dump.role is DumpRole.BOTH or dump.source.inner is None:
        return not_applicable("a dump and a network")
    witness = _witness(case)
    if witness is None:
        return not_applicable("a tensor of the dump that tells samples apart")
    inner, plan = dump.source.inner, dump.source.plan
    tensors = dict(enumerate(_tensors(case, witness)))
    wrong = []
    for place, index in plan.pairs[:_MOST_PAIRS]:
        if place not in tensors:
            continue
        held = witness.reading.sample(index if witness.reading.samples > 1 else 0)
        own = cosine(tensors[place], held)
        if own >= witness.same:
            continue
        best, other = max((cosine(tensor, held), number) for number, tensor in tensors.items())
        if other != place and best >= witness.same and best > own:
            wrong.append((inner.identities[place], own, inner.identities[other], best))
    looked = min(len(plan.pairs), _MOST_PAIRS)
    if not wrong:
        return passed(f"No other sample of the input fits '{witness.row}' of the dump better ({looked} looked at).")
    first = wrong[0]
    measured = (
        f"In '{witness.row}' the dump has a cosine of {first[1]:.4f} with '{first[0]}', with which it is compared, and "
        f"{first[3]:.4f} with '{first[2]}'; so in {len(wrong)} of {looked} samples."
    )
    columns = ("compared with", "cosine", "fits", "cosine there")
    return found("error", measured, layers=[witness.row], columns=columns, rows=wrong)


def _witness(case: Case) -> _Witness | None:
    """The network's input where the dump holds it, else the first dumped tensor of some size."""
    for entry in input_views(case):
        value = next(one.value for one in case.first.inputs if one.name == entry.name)
        if entry.fed.size >= TINY_ELEMENTS:
            return _Witness(entry.row, value, entry.reading, _SAME)
    assert case.dump is not None
    assert case.dump.match is not None
    sizes = {id(view.reading): view for view in views(case)}
    for matched in case.dump.match.matched:
        view: View | None = sizes.get(id(matched.reading))
        if view is not None and view.reference.size >= TINY_ELEMENTS:
            return _Witness(view.row, matched.value, matched.reading, _ALIKE)
    return None


def _tensors(case: Case, witness: _Witness) -> Iterator[Array]:
    """The witness in the float network, for the samples of the input."""
    assert case.dump is not None
    assert case.dump.source.inner is not None
    shapes = {entry.name: entry.shape for entry in case.first.inputs}
    fed = {entry.value: entry.name for entry in case.first.inputs}
    runner = None
    if witness.value not in fed:
        runner = LayerRunner(case.first, layers_before(case.first, witness.value), [witness.value])
    for index, arrays in enumerate(case.dump.source.inner.batches(1, shapes)):
        if index >= _MOST_SAMPLES:
            return
        if runner is None:
            yield arrays[fed[witness.value]]
        else:
            yield runner.run({value: arrays[name] for value, name in fed.items()})[witness.value]


CHECK = Check(
    id="dump-image",
    group=Group.COMPARABILITY,
    title="The dump is of the sample that it is compared with",
    failure="The dump was made of another sample",
    why=(
        "nnie_mapper keeps the tensors of the last calibration image only; compared with those of another image, every "
        "layer looks broken."
    ),
    remedy="Give --input the sample that was dumped (for nnie_mapper the last of its image_list), or --input dump.",
    how=(
        "Cosine of the dump's own input (else of its first tensor of 64 values or more) with the float network's, for "
        "up to 256 samples of the input: 0.99 (0.98) and more is the same sample."
    ),
    run=run,
)
