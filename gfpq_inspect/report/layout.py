"""Positions of the layers when the network is drawn as a graph; computed here, so that the browser computes none.

A layer's rank is the longest way to it from an input, so that every edge points down. Within a rank, layers are put in
the order that the mean position of what they read suggests, and set apart by one column. All positions are small
integers; the page turns them into pixels and closes up ranks that folding leaves empty.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gfpq_inspect.analyze.result import LayerRow

SWEEPS = 4
SMALLEST_GROUP = 3
LARGEST_GROUP_SHARE = 0.6
FAMILY = re.compile(r"^(.*?[0-9]+[a-z]?)(?=[_./-]|$)|^(.+?)(?=[_./-])")


@dataclass(frozen=True)
class GraphLayout:
    """Where each layer stands.

    Attributes:
        rank: Row from the top, a layer.
        column: Doubled position across, centred on 0, a layer.
        edges: Pairs of layer positions, reader last.
        groups: Name of the block that a layer belongs to, or '' where it belongs to none.
        folded_into: Position of the layer that a folded layer is drawn with, or -1.
    """

    rank: tuple[int, ...]
    column: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    groups: tuple[str, ...]
    folded_into: tuple[int, ...]


def graph_layout(rows: Sequence[LayerRow]) -> GraphLayout:
    """Lay a network out.

    Args:
        rows: The layer table; edges to rows that are not in it, or that point backwards in a loop, are left out.

    Returns:
        Ranks, columns, edges and groups.
    """
    position = {row.key: index for index, row in enumerate(rows)}
    edges = tuple(
        (position[key], index) for index, row in enumerate(rows) for key in dict.fromkeys(row.inputs) if key in position
    )
    edges = tuple((source, reader) for source, reader in edges if source != reader)
    inputs = neighbours(edges, reverse=True)
    rank = ranks(len(rows), inputs)
    column = columns(rank, inputs, neighbours(edges))
    folded = tuple(position.get(row.folded_into or "", -1) for row in rows)
    return GraphLayout(rank, column, edges, groups([row.key for row in rows]), folded)


def neighbours(edges: Sequence[tuple[int, int]], *, reverse: bool = False) -> dict[int, list[int]]:
    """Readers of each layer, or its inputs."""
    found: dict[int, list[int]] = defaultdict(list)
    for source, reader in edges:
        found[reader if reverse else source].append(source if reverse else reader)
    return found


def ranks(count: int, inputs: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    """Longest way from an input; a loop, which only a damaged file can hold, is cut at its first layer."""
    rank = [-1] * count
    for start in range(count):
        stack = [(start, iter(inputs.get(start, ())))]
        open_layers = {start}
        while rank[start] < 0:
            layer, pending = stack[-1]
            following = next((i for i in pending if rank[i] < 0 and i not in open_layers), None)
            if following is None:
                known = [rank[i] for i in inputs.get(layer, ()) if rank[i] >= 0]
                rank[layer] = max(known, default=-1) + 1
                open_layers.discard(layer)
                stack.pop()
            else:
                open_layers.add(following)
                stack.append((following, iter(inputs.get(following, ()))))
    return tuple(rank)


def columns(
    rank: Sequence[int], inputs: Mapping[int, Sequence[int]], readers: Mapping[int, Sequence[int]]
) -> tuple[int, ...]:
    """Positions across, by a few sweeps down and up over the mean position of the neighbours."""
    rows: dict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rank):
        rows[row].append(index)
    place: dict[int, float] = {}
    for members in rows.values():
        spread(members, dict.fromkeys(members, 0.0), place)
    for sweep in range(SWEEPS):
        sources = inputs if sweep % 2 == 0 else readers
        for row in sorted(rows, reverse=sweep % 2 == 1):
            wanted = {m: mean([place[i] for i in sources.get(m, ())], place[m]) for m in rows[row]}
            spread(rows[row], wanted, place)
    middle = sorted(place.values())[len(place) // 2] if place else 0.0
    return tuple(round(place[index] - middle) for index in range(len(rank)))


def spread(members: list[int], wanted: Mapping[int, float], place: dict[int, float]) -> None:
    """Put the layers of one rank where they want to be, in that order and two units apart, around their mean wish."""
    members.sort(key=lambda member: (wanted[member], member))
    placed: list[float] = []
    for member in members:
        placed.append(max(wanted[member], placed[-1] + 2) if placed else wanted[member])
    shift = mean([wanted[m] for m in members], 0.0) - mean(placed, 0.0)
    for member, at in zip(members, placed, strict=True):
        place[member] = round(at + shift)


def mean(values: Sequence[float], otherwise: float) -> float:
    """Mean, or a value for none."""
    return sum(values) / len(values) if values else otherwise


def groups(keys: Sequence[str]) -> tuple[str, ...]:
    """Blocks by common prefix: the path before the last '/' or '.', else the numbered family ('res2a', 'conv4').

    A block has at least three layers and not most of the network.
    """
    separator = next((sep for sep in ("/", ".") if sum(sep in key for key in keys) * 2 >= len(keys) > 0), None)
    found = [prefix(key, separator) for key in keys]
    size = Counter(found)
    most = max(SMALLEST_GROUP, int(LARGEST_GROUP_SHARE * len(keys)))
    return tuple(name if SMALLEST_GROUP <= size[name] <= most else "" for name in found)


def prefix(key: str, separator: str | None) -> str:
    """The block that a name suggests."""
    if separator is not None:
        return key.rpartition(separator)[0]
    match = FAMILY.match(key[:200])
    return next((part for part in match.groups() if part), "") if match else ""
