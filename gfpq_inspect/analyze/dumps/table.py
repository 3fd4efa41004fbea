"""The rows of a comparison with a dump: the network's layers, then what only the dump has."""

from __future__ import annotations

from gfpq_inspect.analyze.dumps.comparison import DumpComparison
from gfpq_inspect.analyze.engine.interface import Row
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.rows import TableRow, finished_rows
from gfpq_inspect.inputs.dumps.match import DumpMatch, Left
from gfpq_inspect.inputs.dumps.model import dump_layer, value_of
from gfpq_inspect.inputs.dumps.pair_dumps import PairedDumps
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.pair import Unmatched

NOT_IN_DUMP = "not in the dump"


def dump_table(comparison: DumpComparison, network: Model) -> tuple[TableRow, ...]:
    """All rows.

    Args:
        comparison: The dumps and what was matched.
        network: The first model: a network, or the first dump's.
    """
    if comparison.match is not None:
        return finished_rows([*_network_rows(comparison.match, network), *_left_rows(comparison.match.left)])
    assert comparison.pairs is not None
    return finished_rows(_pair_rows(comparison.pairs))


def _network_rows(match: DumpMatch, network: Model) -> list[TableRow]:
    matched = {entry.value: entry for entry in match.matched}
    broken = {entry.value: entry for entry in match.broken}
    rows = []
    for layer in network.layers:
        for value, name in zip(layer.outputs, layer.output_names, strict=True):
            is_output = value in network.outputs
            if value in matched:
                entry = matched[value]
                values = {Side.FIRST: value, Side.SECOND: value_of(entry.tensor)}
                layers = {Side.FIRST: layer, Side.SECOND: dump_layer(entry.tensor)}
                rows.append(TableRow(Row(name, values), layers, entry.reason, None, is_output))
                continue
            word = Unmatched("first", layer.key, NOT_IN_DUMP, understood=True)
            if value in broken:
                word = Unmatched("first", layer.key, broken[value].reason, broken[value].understood)
            rows.append(TableRow(Row(name, {Side.FIRST: value}), {Side.FIRST: layer}, "", word, is_output))
    return rows


def _left_rows(left: tuple[Left, ...]) -> list[TableRow]:
    """What nobody understands; the rest stands in the notes."""
    rows = []
    for entry in left:
        if not entry.understood:
            layer = dump_layer(entry.tensor)
            word = Unmatched("second", layer.key, entry.reason, understood=False)
            rows.append(TableRow(Row(layer.key, {Side.SECOND: layer.outputs[0]}), {Side.SECOND: layer}, "", word))
    return rows


def _pair_rows(pairs: PairedDumps) -> list[TableRow]:
    rows = []
    for pair in pairs.pairs:
        one, other = dump_layer(pair.first.tensor), dump_layer(pair.second.tensor)
        values = {Side.FIRST: one.outputs[0], Side.SECOND: f"second:{other.outputs[0]}"}
        rows.append(TableRow(Row(one.key, values), {Side.FIRST: one, Side.SECOND: other}, pair.reason))
    for first, _second, reason in pairs.broken:
        layer = dump_layer(first)
        word = Unmatched("first", layer.key, reason, understood=False)
        rows.append(TableRow(Row(layer.key, {Side.FIRST: layer.outputs[0]}), {Side.FIRST: layer}, "", word))
    for side_index, left in pairs.left:
        if left.tensor.is_output or not left.understood:
            side = (Side.FIRST, Side.SECOND)[side_index]
            layer = dump_layer(left.tensor)
            word = Unmatched(side.value, layer.key, left.reason, left.understood)
            rows.append(TableRow(Row(layer.key, {side: layer.outputs[0]}), {side: layer}, "", word))
    return rows
