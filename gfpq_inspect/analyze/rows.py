"""The rows of the table: which tensors are measured, in which order, and what is listed without a measurement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gfpq_inspect.analyze.engine.interface import Row
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.pair import Pairing, Unmatched


@dataclass(frozen=True)
class TableRow:
    """One line of the table before anything is measured.

    Attributes:
        row: What the engine measures.
        layers: The layer in each model that has it.
        reason: How it was paired when not by equal names.
        unmatched: The pairing's word on it where it has no partner.
        is_output: A network output of a model that has it.
        inputs: Keys of the rows that the layer reads.
    """

    row: Row
    layers: Mapping[Side, Layer]
    reason: str = ""
    unmatched: Unmatched | None = None
    is_output: bool = False
    inputs: tuple[str, ...] = ()

    @property
    def layer(self) -> Layer:
        """The layer that names the row: the first model's where it has one."""
        return self.layers[Side.FIRST] if Side.FIRST in self.layers else self.layers[Side.SECOND]


def table_rows(models: Mapping[Side, Model], pairing: Pairing | None) -> tuple[TableRow, ...]:
    """All rows, in the order of the first model; layers of the second alone stand after what they follow there.

    Args:
        models: The first model, and the second where there is one.
        pairing: Where there are two.
    """
    rows: list[TableRow] = []
    if pairing is None:
        for layer in models[Side.FIRST].layers:
            rows += _rows({Side.FIRST: layer}, models)
        return finished_rows(rows)
    partners = {pair.first: pair for pair in pairing.pairs}
    explained = {(entry.side, entry.layer): entry for entry in pairing.unmatched}
    second = {layer.key: layer for layer in models[Side.SECOND].layers}
    following = _second_only(models[Side.SECOND], {pair.second for pair in pairing.pairs})

    def alone(layers: Iterable[Layer]) -> None:
        for layer in layers:
            rows.extend(_rows({Side.SECOND: layer}, models, unmatched=explained["second", layer.key]))

    alone(following.get("", ()))
    for layer in models[Side.FIRST].layers:
        pair = partners.get(layer.key)
        if pair is None:
            rows += _rows({Side.FIRST: layer}, models, unmatched=explained["first", layer.key])
        else:
            rows += _rows({Side.FIRST: layer, Side.SECOND: second[pair.second]}, models, pair.reason)
            alone(following.get(pair.second, ()))
    return finished_rows(rows)


def _second_only(model: Model, paired: set[str]) -> dict[str, list[Layer]]:
    """Layers without a partner, by the paired layer that they follow ('' at the start)."""
    following: dict[str, list[Layer]] = {}
    last = ""
    for layer in model.layers:
        if layer.key in paired:
            last = layer.key
        else:
            following.setdefault(last, []).append(layer)
    return following


def _rows(
    layers: Mapping[Side, Layer],
    models: Mapping[Side, Model],
    reason: str = "",
    unmatched: Unmatched | None = None,
) -> list[TableRow]:
    """A row for every output; of two layers, the i-th output of one belongs to the i-th of the other."""
    rows = []
    for index in range(max(len(layer.outputs) for layer in layers.values())):
        having = {side: layer for side, layer in layers.items() if index < len(layer.outputs)}
        values = {side: layer.outputs[index] for side, layer in having.items()}
        namer = having[Side.FIRST] if Side.FIRST in having else having[Side.SECOND]
        word = unmatched
        if len(having) < len(layers):
            side = next(iter(having))
            text = f"the partner has only {index} outputs"
            word = Unmatched(side.value, namer.key, text, understood=False)
        is_output = any(value in models[side].outputs for side, value in values.items())
        rows.append(TableRow(Row(namer.output_names[index], values), having, reason, word, is_output))
    return rows


def finished_rows(rows: list[TableRow]) -> tuple[TableRow, ...]:
    """Make keys unique and name the rows that each row's layer reads."""
    used: set[str] = set()
    keys: dict[int, str] = {}
    own, others = [[i for i, row in enumerate(rows) if (Side.FIRST in row.layers) is first] for first in (True, False)]
    for index in (*own, *others):
        base = rows[index].row.key
        if base in used and Side.FIRST not in rows[index].layers:
            base = f"{base}@second"
        key, count = base, 0
        while key in used:
            count += 1
            key = f"{base}@{count}"
        used.add(key)
        keys[index] = key
    unique = [replace(row, row=Row(keys[index], row.row.values)) for index, row in enumerate(rows)]
    by_value = {(side, value): row.row.key for row in unique for side, value in row.row.values.items()}
    result = []
    for row in unique:
        side = Side.FIRST if Side.FIRST in row.layers else Side.SECOND
        read = [by_value[side, value] for value in row.layers[side].inputs if (side, value) in by_value]
        result.append(replace(row, inputs=tuple(dict.fromkeys(read))))
    return tuple(result)
