"""Which sample of a dump belongs to which sample of the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.dumps.dump import Dump


@dataclass(frozen=True)
class SamplePlan:
    """Pairs of samples.

    Attributes:
        pairs: (index in the input, index in the dump), in the order of the input.
        rule: How they were paired, one sentence for the report.
    """

    pairs: tuple[tuple[int, int], ...]
    rule: str


def plan_samples(
    dump: Dump,
    held: int,
    identities: Sequence[str],
    *,
    limited: bool = False,
    find: Callable[[], int | None] = lambda: None,
) -> SamplePlan:
    """Pair the samples of a dump with those of the input.

    Args:
        dump: The dump.
        held: Samples that it holds: its folders, or the first axis of its arrays.
        identities: Names of the input's samples.
        limited: The user said how many samples to take; the first of the dump are then meant too.
        find: Finds the input sample that a dump of one sample was made of, by its values; None where that is unclear.

    Raises:
        InputError: The counts differ and nothing tells which is which.
    """
    count = len(identities)
    by_name = _by_name(dump.samples, identities) if len(dump.samples) == held else None
    if by_name is not None:
        noun = "sample was" if len(by_name) == 1 else "samples were"
        return SamplePlan(by_name, f"{len(by_name)} {noun} matched with the input by name.")
    if held == count:
        if count == 1:
            return SamplePlan(((0, 0),), "The dump's one sample was compared with the one of the input.")
        rule = f"The dump's {held} samples were matched with those of the input by their order."
        return SamplePlan(tuple((index, index) for index in range(count)), rule)
    if held == 1:
        return _single(dump, identities, find)
    if limited and count < held:
        rule = f"The first {count} of the dump's {held} samples were matched with the input by their order."
        return SamplePlan(tuple((index, index) for index in range(count)), rule)
    raise InputError(
        f"{dump.path}: the dump holds {held} samples and the input {count}, and no names tell which is which; "
        "give the samples that were dumped, in their order, or name the dump's sub-folders after the samples"
    )


def _single(dump: Dump, identities: Sequence[str], find: Callable[[], int | None]) -> SamplePlan:
    count = len(identities)
    if dump.tools[:1] == ("mapper",):
        rule = (
            f"The dump holds one sample; nnie_mapper dumps the last calibration image, so it was compared with the "
            f"last of {count} ('{identities[-1]}')."
        )
        return SamplePlan(((count - 1, 0),), rule)
    place = find()
    if place is not None:
        rule = f"The dump holds one sample; its own input is that of '{identities[place]}', with which it was compared."
        return SamplePlan(((place, 0),), rule)
    raise InputError(
        f"{dump.path}: the dump holds one sample and the input {count}; give --input the one that was dumped "
        "(or --input dump, where the dump holds the network's input)"
    )


def _by_name(names: Sequence[str], identities: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
    """Pairs whose names agree, where every sample of the dump has exactly one."""
    places: dict[str, list[int]] = {}
    for index, identity in enumerate(identities):
        for key in {identity, PurePosixPath(identity).name, PurePosixPath(identity).stem}:
            places.setdefault(key, []).append(index)
    pairs = []
    for index, name in enumerate(names):
        found = places.get(name) or places.get(PurePosixPath(name).stem) or []
        if not name or len(found) != 1:
            return None
        pairs.append((found[0], index))
    return tuple(sorted(pairs)) if len({place for place, _ in pairs}) == len(pairs) else None
