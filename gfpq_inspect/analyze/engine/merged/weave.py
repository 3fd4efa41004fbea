"""Makes one graph of all lanes: every lane gets its copy of each layer, and taps stand between the layers.

What lanes share is there once: a node that would read the very tensors and weights of another lane's is that lane's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import RowProblem, RowState
from gfpq_inspect.analyze.engine.merged.refusal import NotMerged, blamed
from gfpq_inspect.analyze.engine.merged.taps import Read, Symbol, Tap, Target
from gfpq_inspect.analyze.engine.merged.weights import LaneWeights
from gfpq_inspect.analyze.engine.merged.woven import Ground, Node, Woven
from gfpq_inspect.analyze.engine.plan import Action
from gfpq_inspect.analyze.engine.rows import Group, groups_of
from gfpq_inspect.analyze.lanes import Lane, Side, deployed_lane, reference_lane
from gfpq_inspect.models.model import Layer
from gfpq_inspect.quantize.kernels import MOST_LANES

Array = NDArray[Any]


class Weaver:
    """Weaves one graph.

    Args:
        ground: What from.
        lanes: Lanes that it runs; the reference lane of each model first.
        weights: Weights of the lanes.
    """

    def __init__(self, ground: Ground, lanes: Sequence[Lane], weights: LaneWeights) -> None:
        self._ground = ground
        self._experiment = ground.experiment
        self._lanes = {side: [lane for lane in lanes if lane.side is side] for side in ground.experiment.models}
        self._weights = weights
        self._points = {
            (point.side, point.value, point.bits): index for index, point in enumerate(ground.experiment.points)
        }
        self._groups = groups_of(ground.experiment)
        self._values: dict[tuple[str, str], Symbol] = {}
        self._made: dict[tuple[Any, ...], list[Symbol]] = {}
        self._laid_out: dict[tuple[Any, ...], Symbol] = {}
        self._seen: set[int] = set()
        self._names: set[str] = set()
        self.woven = Woven(initializers=weights.arrays)

    # ---------------------------------------------------------------------------------------------------- measurement

    def measurement(self, plan: Sequence[Action]) -> Woven:
        """All lanes with all rows.

        Raises:
            NotMerged: The graph cannot be made.
        """
        self._begin()
        for action in plan:
            if action.step is not None:
                with blamed(layer=(action.step.side, action.step.layer.key)):
                    self._layer(action.step.side, action.step.layer, action.step.quantized)
            for index in action.rows:
                with blamed(look=index):
                    self._row(index)
            self._owned(action)
        return self.woven

    def calibration(self, plan: Sequence[Action]) -> Woven:
        """The lanes as far as the points need them; taps note the largest magnitudes."""
        self._begin()
        for action in plan:
            if action.step is not None:
                with blamed(layer=(action.step.side, action.step.layer.key)):
                    self._layer(action.step.side, action.step.layer, {})
            for side, name in action.measure:
                with blamed(look=(side, name)):
                    symbol = self._floating(self._value(reference_lane(side), name), side, name)
                tap = self._tap([symbol])
                for (point_side, value, _), index in self._points.items():
                    if (point_side, value) == (side, name):
                        tap.magnitudes.append((0, index))
            self._owned(action)
        return self.woven

    def _owned(self, action: Action) -> None:
        owner = None if action.step is None else (action.step.side, action.step.layer.key)
        self.woven.owners += [owner] * (len(self.woven.tasks) - len(self.woven.owners))

    def _begin(self) -> None:
        for side, model in self._experiment.models.items():
            for entry in model.inputs:
                value = (side, entry.value)
                name = self._unique(f"{side.value}/{entry.value}")
                self.woven.inputs[value] = name
                symbol = self._symbol(side, entry.value, name)
                for lane in self._lanes[side]:
                    self._values[lane.name, entry.value] = symbol

    # ---------------------------------------------------------------------------------------------------------- layers

    def _layer(self, side: Side, layer: Layer, quantized: Mapping[str, int]) -> None:
        base = self._ground.bases[side]
        for lane in self._lanes[side]:
            own: dict[str, Symbol] = {}
            for node in base.nodes[layer.key]:
                inputs = [self._input(lane, layer, own, name, quantized) for name in node.input]
                if node.op_type in ("Shape", "Size") and node.domain in ("", "ai.onnx"):
                    inputs = [self._input(reference_lane(side), layer, own, name, {}) for name in node.input]
                made = zip(node.output, self._node(side, lane, node, inputs), strict=True)
                own.update((name, symbol) for name, symbol in made if name)
            for name, symbol in own.items():
                self._values[lane.name, name] = symbol
            for name in layer.outputs:
                place = base.place(name).tensor
                if place in own:
                    self._values[lane.name, name] = own[place]

    def _input(
        self, lane: Lane, layer: Layer, own: Mapping[str, Symbol], name: str, quantized: Mapping[str, int]
    ) -> Read | str:
        base = self._ground.bases[lane.side]
        if not name:
            return ""
        if name in base.initializers and (lane.side, name) not in self._ground.facts.shapes:
            return self._weights.name(lane, layer, name)
        chain: list[onnx.NodeProto] = []
        root = name
        while root in base.layout:
            chain.append(base.layout[root])
            root = base.layout[root].input[0]
        if root in own:
            read = self._raw(own[root])
        else:
            value = base.value_of.get(root, root)
            source = lane.fed_by or lane.name
            symbol = self._value_of(lane, source, value)
            bits = quantized.get(value) if lane.quantizes_data else None
            read = self._raw(symbol) if bits is None else self._quantized(lane, symbol, value, bits)
        for node in reversed(chain):
            read = self._raw(self._layout(read, node))
        return read

    def _value_of(self, lane: Lane, source: str, value: str) -> Symbol:
        symbol = self._values.get((source, value))
        if symbol is not None:
            return symbol
        base = self._ground.bases[lane.side]
        if value not in base.initializers:
            raise NotMerged(f"the tensor '{value}' is read before it is there")
        name = self._weights.constant(lane.side, value)
        symbol = self._symbol(lane.side, value, name)
        for every in self._lanes[lane.side]:
            self._values[every.name, value] = symbol
        return symbol

    def _value(self, lane: Lane, value: str) -> Symbol:
        return self._value_of(lane, lane.name, value)

    def _node(self, side: Side, lane: Lane, node: onnx.NodeProto, inputs: list[Read | str]) -> list[Symbol]:
        key = (side, *node.output, *(read.key if isinstance(read, Read) else read for read in inputs))
        if key not in self._made:
            base = self._ground.bases[side]
            outputs = []
            for name in node.output:
                unique = self._unique(f"{side.value}/{name}/{lane.name}") if name else ""
                outputs.append(self._symbol(side, base.value_of.get(name, name), unique, name))
            self._made[key] = outputs
            self.woven.tasks.append(Node(node, inputs, [symbol.name for symbol in outputs]))
        return self._made[key]

    def _symbol(self, side: Side, value: str, name: str, tensor: str | None = None) -> Symbol:
        """A new symbol; its shape is known where the trial saw the value."""
        base, facts = self._ground.bases[side], self._ground.facts
        place = base.place(value)
        constant = (side, value) in self._ground.constants
        symbol = Symbol(name, constant=constant)
        if (side, value) in facts.shapes and (tensor is None or tensor == place.tensor):
            shape = list(facts.shapes[side, value])
            if shape and not constant:
                shape[0] *= self._ground.samples
            if place.channels:
                if len(shape) < 3 or shape[1] != place.channels:
                    raise NotMerged(f"the tensor '{value}' is in blocks of another axis")
                shape[1] = -(-place.channels // base.block) * base.block
            symbol.shape = tuple(shape)
            symbol.channels = place.channels
            symbol.floating = self._ground.dtypes.get((side, value)) == np.float32
            if symbol.floating:
                self.woven.shapes[name] = symbol.shape
        return symbol

    def _unique(self, name: str) -> str:
        unique, count = name, 0
        while unique in self._names:
            count += 1
            unique = f"{name}/{count}"
        self._names.add(unique)
        return unique

    def _raw(self, symbol: Symbol) -> Read:
        if symbol.tap is None:
            symbol.reads += 1
        else:
            tap, slot = symbol.tap
            tap.passed.add(slot)
        return Read(symbol, symbol.tap)

    def _quantized(self, lane: Lane, symbol: Symbol, value: str, bits: int) -> Read:
        point = self._points[lane.side, value, bits]
        self._floating(symbol, lane.side, value)
        if symbol.tap is None:
            self._tap([symbol])
        assert symbol.tap is not None
        tap, slot = symbol.tap
        evidence = lane == deployed_lane(lane.side) and point not in self._seen
        if evidence:
            self._seen.add(point)
        tap.quantize(slot, point, bits, evidence=evidence)
        return Read(symbol, symbol.tap, point)

    def _layout(self, read: Read, node: onnx.NodeProto) -> Symbol:
        key = (*read.key, node.output[0])
        if key not in self._laid_out:
            name = self._unique(f"{read.name}/{node.output[0]}")
            self._laid_out[key] = Symbol(name, constant=read.symbol.constant)
            self.woven.tasks.append(Node(node, [read], [name]))
        return self._laid_out[key]

    def _floating(self, symbol: Symbol, side: Side, value: str) -> Symbol:
        if not symbol.floating or symbol.shape is None:
            dtype = self._ground.dtypes.get((side, value))
            raise NotMerged(f"the tensor '{value}' is {'no tensor' if dtype is None else dtype}, not float32")
        return symbol

    def _tap(self, symbols: Sequence[Symbol], *, final: bool = False) -> Tap:
        """A tap for symbols of one shape and layout; unless it is final, they go on behind it."""
        name = self._unique(f"tap{len(self.woven.tasks)}")
        reads = [self._raw(symbol) for symbol in symbols]
        tap = Tap(name, reads, symbols[0].channels, symbols[0].constant)
        self.woven.tasks.append(tap)
        if not final:
            for slot, symbol in enumerate(symbols):
                symbol.tap = (tap, slot)
        for symbol in symbols:
            if symbol.shape is not None:
                self.woven.shapes[tap.output_name(symbols.index(symbol), None)] = symbol.shape
        return tap

    # ------------------------------------------------------------------------------------------------------------ rows

    def _row(self, index: int) -> None:
        row = self._experiment.rows[index]
        scored: list[tuple[Group, list[tuple[int, Symbol]], Symbol]] = []
        for group in self._groups:
            if group.reference.side not in row.values:
                continue
            found = self._scored(index, group)
            if found:
                scored.append((group, found, self._symbol_of(group.reference, index)))
        captured = []
        if row.key in self._experiment.captured:
            for side, lanes in self._lanes.items():
                if side in row.values:
                    for lane in lanes:
                        if lane.fed_by is None:
                            symbol = self._floating(self._symbol_of(lane, index), side, row.values[side])
                            captured.append((lane, symbol))
        symbols = {symbol.name: symbol for _, symbol in captured}
        for _, found, reference in scored:
            symbols[reference.name] = reference
            symbols.update((symbol.name, symbol) for _, symbol in found)
        if symbols:
            taps = self._taps_for(index, symbols)
            for group, found, reference in scored:
                self._measure(index, group, found, reference, taps)
            self._taken(index, taps)
            for lane, symbol in captured:
                tap, slot = taps[symbol.name]
                shape = self._ground.facts.shapes[lane.side, row.values[lane.side]]
                tap.captures.append((slot, len(self.woven.results.captures)))
                self.woven.results.captures.append(((row.key, lane.name), shape, symbol.constant))

    def _taken(self, index: int, taps: Mapping[str, tuple[Tap, int]]) -> None:
        """For who wants more of a row's tensors than their scores: by symbol the tap that they go through."""

    def _symbol_of(self, lane: Lane, index: int) -> Symbol:
        return self._value(lane, self._experiment.rows[index].values[lane.side])

    def _scored(self, index: int, group: Group) -> list[tuple[int, Symbol]]:
        """Members of a group that can be scored in a row; notes why the others cannot."""
        row, facts, dtypes = self._experiment.rows[index], self._ground.facts, self._ground.dtypes
        reference_value = (group.reference.side, row.values[group.reference.side])
        reference = self._symbol_of(group.reference, index)
        found = []
        for member, lane in enumerate(group.lanes):
            if lane.side not in row.values:
                continue
            value = (lane.side, row.values[lane.side])
            symbol = self._symbol_of(lane, index)
            key = (index, group.columns[member])
            if dtypes.get(value) is None or dtypes.get(reference_value) is None:
                raise NotMerged(f"the value '{row.key}' is no tensor")
            if facts.shapes[value] != facts.shapes[reference_value]:
                one, other = ("x".join(map(str, facts.shapes[entry])) or "scalar" for entry in (value, reference_value))
                self.woven.problems[key] = RowProblem(
                    RowState.SHAPE_MISMATCH, f"shape {one} against {other} of the reference"
                )
            elif value in facts.floating and reference_value in facts.floating:
                found.append((member, self._floating(symbol, *value)))
                self._floating(reference, *reference_value)
            elif symbol is reference:
                reason = f"{dtypes[reference_value]} against {dtypes[value]}"
                self.woven.problems[key] = RowProblem(RowState.NOT_FLOAT, reason)
                elements = int(np.prod(facts.shapes[value], dtype=np.int64))
                self.woven.unscored.append((*key, elements * (1 if symbol.constant else self._ground.samples)))
            else:
                raise NotMerged(f"the whole numbers of '{row.key}' may differ between lanes")
        return found

    def _taps_for(self, index: int, symbols: Mapping[str, Symbol]) -> dict[str, tuple[Tap, int]]:
        """A tap for every shape among the symbols; blocked ones beside plain ones are laid out plainly first."""
        row = self._experiment.rows[index]
        mixed = len({symbol.channels for symbol in symbols.values()}) > 1
        classes: dict[tuple[Any, ...], list[tuple[str, Symbol]]] = {}
        for name, symbol in symbols.items():
            tapped = symbol
            if mixed and symbol.channels:
                tapped = self._plain(symbol, row.values)
            classes.setdefault((tapped.shape, tapped.constant), []).append((name, tapped))
        taps: dict[str, tuple[Tap, int]] = {}
        for members in classes.values():
            tap = self._tap([symbol for _, symbol in members])
            taps.update((name, (tap, slot)) for slot, (name, _) in enumerate(members))
        return taps

    def _plain(self, symbol: Symbol, values: Mapping[Side, str]) -> Symbol:
        side = next(side for side in values if symbol.name.startswith(f"{side.value}/"))
        value = values[side]
        node = self._ground.bases[side].layout[value]
        plain = self._layout(self._raw(symbol), node)
        if plain.shape is None:
            shape = list(self._ground.facts.shapes[side, value])
            shape[0] *= 1 if symbol.constant else self._ground.samples
            plain.shape = tuple(shape)
            self.woven.shapes[plain.name] = plain.shape
        return plain

    def _measure(
        self,
        index: int,
        group: Group,
        found: Sequence[tuple[int, Symbol]],
        reference: Symbol,
        taps: Mapping[str, tuple[Tap, int]],
    ) -> None:
        unique = list({symbol.name: symbol for _, symbol in found})
        if len(unique) > MOST_LANES:
            raise NotMerged("too many lanes are compared with one")
        tap, slot = taps[reference.name]
        slots = [taps[name][1] for name in unique]
        if any(taps[name][0] is not tap for name in unique):
            raise NotMerged(f"lanes have tensors of different kinds at '{self._experiment.rows[index].key}'")
        results = self.woven.results
        sums, products = results.room(len(unique))
        tap.measured.append((slot, slots, sums, products))
        place = {member: unique.index(symbol.name) for member, symbol in found}
        shares = None
        if group.shares is not None and all(member in place for member in group.shares[1]):
            side, (data, weight, both) = group.shares[0], (place[member] for member in group.shares[1])
            first = products + both * len(unique)
            shares = (list(Side).index(side), [first + data, first + weight, first + both])
        results.targets.append(
            Target(
                index,
                [group.columns[member] for member, _ in found],
                [sums + place[member] for member, _ in found],
                shares,
            )
        )
