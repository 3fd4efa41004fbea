"""Weaves one part of a plan: tensors of other parts come in and go out, lane by lane, in the plain layout."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from gfpq_inspect.analyze.engine.handed_over import BLOCKED_DOMAIN
from gfpq_inspect.analyze.engine.merged.refusal import LayerKey, NotMerged
from gfpq_inspect.analyze.engine.merged.segments import Segment
from gfpq_inspect.analyze.engine.merged.taps import Symbol
from gfpq_inspect.analyze.engine.merged.weave import Weaver
from gfpq_inspect.analyze.engine.merged.weights import LaneWeights
from gfpq_inspect.analyze.engine.merged.woven import Brought, Ground, Node, Woven
from gfpq_inspect.analyze.engine.plan import Action, Value
from gfpq_inspect.analyze.lanes import Lane, Side

Sharing = tuple[tuple[Value, tuple[tuple[str, ...], ...]], ...]
"""For every value that a part reads: the lanes that have it, those together that share one tensor."""

_FEWEST_CHANNELS = 4
"""ONNX Runtime lays out only multiples of so many channels; others are padded with zeros first."""


@dataclass(frozen=True)
class Crossing:
    """Between one part and the others.

    Attributes:
        sharing: Which lanes share the tensors that it reads.
        apart: Rows and values that are looked at once the tensors are handed over.
    """

    sharing: Sharing
    apart: Collection[int | Value]


class PartWeaver(Weaver):
    """Weaves one part of a plan.

    Args:
        ground: What from; nothing is captured.
        lanes: Lanes that it runs; the reference lane of each model first.
        weights: Weights of the lanes.
        segment: The part.
        crossing: What comes in, and what is left to others.
    """

    def __init__(
        self,
        ground: Ground,
        lanes: Sequence[Lane],
        weights: LaneWeights,
        *,
        segment: Segment,
        crossing: Crossing,
    ) -> None:
        super().__init__(replace(ground, experiment=replace(ground.experiment, captured=())), lanes, weights)
        self._segment = segment
        self._sharing = crossing.sharing
        self._seen = set(range(len(ground.experiment.points))) - segment.first_at
        self._actions = [
            replace(
                action,
                rows=[index for index in action.rows if index not in crossing.apart],
                measure=[value for value in action.measure if value not in crossing.apart],
            )
            for action in segment.actions
        ]

    def part(self, *, calibration: bool = False) -> Woven:
        """The part, for all lanes.

        Raises:
            NotMerged: The graph cannot be made; says which layer, row or value is to blame where that is known.
        """
        woven = self.calibration(self._actions) if calibration else self.measurement(self._actions)
        self._hand_out()
        return woven

    # ------------------------------------------------------------------------------------------------- what comes in

    def _begin(self) -> None:
        for value, groups in self._sharing:
            name = value[1]
            dtype = self._ground.dtypes.get(value)
            if dtype is None or value not in self._ground.facts.shapes:
                continue  # whoever reads it is told that it is not there
            for lanes in groups:
                symbol = self._brought(value, lanes[0], dtype)
                for lane in lanes:
                    self._values[lane, name] = symbol

    def _brought(self, value: Value, lane: str, dtype: np.dtype[np.generic]) -> Symbol:
        side, name = value
        shape = self._ground.facts.shapes[value]
        symbol = Symbol(
            self._unique(f"{side.value}/{name}/{lane}/in"),
            shape,
            floating=dtype == np.float32,
            constant=value in self._ground.constants,
        )
        self.woven.brought[symbol.name] = Brought(value, lane, dtype, shape)
        if symbol.floating:
            self.woven.shapes[symbol.name] = shape
        place = self._ground.bases[side].place(name)
        return self._in_blocks(symbol, place.channels, side) if place.channels else symbol

    def _in_blocks(self, plain: Symbol, channels: int, side: Side) -> Symbol:
        """Lay a tensor out as its readers want it: they were made to follow a layer in the same layout."""
        shape = plain.shape or ()
        if len(shape) < 3 or shape[1] != channels:
            raise NotMerged("a tensor of another part is in blocks of another axis")
        source = plain
        missing = -channels % _FEWEST_CHANNELS
        if missing:
            pads = np.array([0, missing, *[0] * (len(shape) - 2)], np.int64)
            name = self._unique(f"{plain.name}/pads")
            self.woven.initializers[name] = np.concatenate([np.zeros(len(shape), np.int64), pads])
            source = self._made_by(helper.make_node("Pad", ["x", "pads"], ["y"]), [plain, name], f"{plain.name}/padded")
        node = helper.make_node("ReorderInput", ["x"], ["y"], domain=BLOCKED_DOMAIN, channels_last=0)
        blocked = self._made_by(node, [source], f"{plain.name}/blocked")
        block = self._ground.bases[side].block
        blocked.shape = (shape[0], -(-channels // block) * block, *shape[2:])
        blocked.channels, blocked.constant, blocked.floating = channels, plain.constant, True
        self.woven.shapes[blocked.name] = blocked.shape
        return blocked

    def _made_by(self, node: onnx.NodeProto, inputs: Sequence[Symbol | str], name: str) -> Symbol:
        symbol = Symbol(self._unique(name))
        reads = [entry if isinstance(entry, str) else self._raw(entry) for entry in inputs]
        self.woven.tasks.append(Node(node, reads, [symbol.name]))
        return symbol

    # ------------------------------------------------------------------------------------------------- what goes out

    def _hand_out(self) -> None:
        lanes = {lane.name: lane for side in self._lanes for lane in self._lanes[side]}
        made: dict[str, str] = {}
        for value in self._segment.gives:
            side, name = value
            for lane in lanes.values():
                if lane.side is not side or (lane.fed_by is not None and value not in self._segment.gives_rows):
                    continue
                symbol = self._value(lane, name)
                if symbol.channels:
                    symbol = self._plain(symbol, {side: name})
                if symbol.name not in made:
                    node = helper.make_node("Identity", ["x"], ["y"])
                    made[symbol.name] = self._made_by(node, [symbol], f"{symbol.name}/out").name
                self.woven.gives.append((value, lane.name, made[symbol.name]))


def sharing_of(live: Mapping[str, Mapping[Value, object]], segment: Segment, lanes: Sequence[Lane]) -> Sharing:
    """Which lanes have one and the same tensor of what a part reads."""
    found = []
    for side, name in segment.reads:
        groups: dict[int, list[str]] = {}
        for lane in lanes:
            if lane.side is side and (side, name) in live[lane.name]:
                groups.setdefault(id(live[lane.name][side, name]), []).append(lane.name)
        found.append(((side, name), tuple(tuple(names) for names in groups.values())))
    return tuple(found)


def layers_of(actions: Sequence[Action]) -> list[LayerKey]:
    """The layers that a part runs."""
    return [(action.step.side, action.step.layer.key) for action in actions if action.step is not None]
