"""What a comparison knows of the dumps that take part: which side, what was matched, and the lanes that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gfpq_inspect.analyze.lanes import Lane, Side, Weights, comparisons_for, lanes_for
from gfpq_inspect.analyze.result import Comparison
from gfpq_inspect.inputs.dumps.dump import Dump
from gfpq_inspect.inputs.dumps.match import DumpMatch
from gfpq_inspect.inputs.dumps.pair_dumps import PairedDumps
from gfpq_inspect.inputs.dumps.source import DumpSource


class DumpRole(StrEnum):
    """What a dump is compared with."""

    TESTED = "tested"  # a dump against a network and its simulation
    REFERENCE = "reference"  # a network and its simulation against a dump
    BOTH = "both"  # a dump against a dump


DUMP = Lane("dump", Side.SECOND, Weights.STORED, quantizes_data=False)
FIRST_DUMP = Lane("first_dump", Side.FIRST, Weights.STORED, quantizes_data=False)
SECOND_DUMP = Lane("second_dump", Side.SECOND, Weights.STORED, quantizes_data=False)

_TOTAL = Comparison("total", "dump", "float", "total", "the dump against the network in float")
_SIMULATION = Comparison("simulation", "dump", "both", "simulation", "the dump against our simulation of the chip")
_REFERENCE = Comparison("reference", "float", "dump", "reference", "the network in float against the dump")
_TOTAL_OF_SIMULATION = Comparison("total", "both", "dump", "total", "our simulation of the chip against the dump")
_TOTAL_IN_FLOAT = Comparison("total", "float", "dump", "total", "the network in float against the dump")
_DUMPS = Comparison("total", "second_dump", "first_dump", "total", "the second dump against the first")


@dataclass(frozen=True)
class DumpComparison:
    """The dumps of a comparison. The network, where there is one, is always the first model.

    Attributes:
        role: What is compared with what.
        dumps: One, or the two that are compared.
        source: Samples and dumped tensors.
        match: Which tensor is which, where a network takes part.
        pairs: The same of two dumps.
        notes: For the record, each one sentence.
    """

    role: DumpRole
    dumps: tuple[Dump, ...]
    source: DumpSource
    match: DumpMatch | None = None
    pairs: PairedDumps | None = None
    notes: tuple[str, ...] = ()

    @property
    def dump(self) -> Dump:
        """The dump that is looked at: the only one, or the second."""
        return self.dumps[-1]


def dump_lanes(role: DumpRole, *, quantized: bool, isolate: bool) -> tuple[tuple[Lane, ...], tuple[Comparison, ...]]:
    """The lanes of a comparison with a dump, and what is measured.

    Args:
        role: What is compared with what.
        quantized: Whether the deployment of the network is simulated.
        isolate: Whether each layer's own error is told apart.
    """
    if role is DumpRole.BOTH:
        return (FIRST_DUMP, SECOND_DUMP), (_DUMPS,)
    lanes = lanes_for(second=False, quantized=quantized, isolate=isolate)
    own: Sequence[Comparison] = comparisons_for(second=False, quantized=quantized, isolate=isolate)
    if role is DumpRole.TESTED:
        against = (_TOTAL, _SIMULATION) if quantized else (_TOTAL,)
    else:
        against = (_REFERENCE, _TOTAL_OF_SIMULATION) if quantized else (_TOTAL_IN_FLOAT,)
    return (*lanes, DUMP), (*own, *against)
