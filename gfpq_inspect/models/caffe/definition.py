"""Layers as defined: the current format's common fields, typed, and the rules that say which layers take part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.schema import Parameters

MAX_CONNECTIONS = 65_536
"""Bottoms and tops of one network, all layers together."""


@dataclass(frozen=True)
class NetState:
    """What Caffe filters layers by.

    Attributes:
        phase: 'TEST' or 'TRAIN'.
        level: A number that rules compare with.
        stages: Names that rules ask for.
    """

    phase: str = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LayerDefinition:
    """One layer that takes part, not yet connected; attributes as in `NetLayer`."""

    name: str
    type: str
    message: Message
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    phase: str

    @property
    def line(self) -> int | None:
        """Line in the prototxt."""
        return self.message.line

    def problem(self, what: str, path: str, remedy: str, field: str | None = None, index: int = 0) -> Problem:
        """Return a problem at this layer, or at one of its fields."""
        values = self.message.fields.get(field, []) if field else []
        place = values[index] if index < len(values) else self.message
        return Problem(what, path, self.name, place.line, place.column, remedy=remedy)


def define_layers(
    messages: Sequence[Message], state: NetState, path: str, problems: Problems, *, filtered: bool
) -> list[LayerDefinition]:
    """Read the common fields of every layer that takes part in a state.

    A network beyond `MAX_CONNECTIONS` ends there, with a problem.

    Args:
        messages: Layers in the current format.
        state: Phase, level and stages.
        path: File, for messages.
        problems: Receives layers without a type and contradictory rules.
        filtered: Apply the include and exclude rules and each layer's own `phase`. False for the structure inside a
            caffemodel, which Caffe has filtered already, for the phase it was trained in.
    """
    layers: list[LayerDefinition] = []
    connections = 0
    for message in messages:
        connections += len(message.fields.get("bottom", ())) + len(message.fields.get("top", ()))
        if connections > MAX_CONNECTIONS:
            what = f"the network has more than {MAX_CONNECTIONS} bottoms and tops"
            problems.add(Problem(what, path, line=message.line, column=message.column, remedy="cut it into parts"))
            break
        common = Parameters(message, "LayerParameter", path, message.text("name"))
        try:
            if filtered and not _takes_part(common, state):
                continue
            phase = common.string("phase") if filtered and common.has("phase") else state.phase
        except ModelError as error:
            problems.extend(error.problems)
            continue
        if not message.text("type"):
            problems.add(common.problem("has no type", "give the layer a type"))
            continue
        layers.append(
            LayerDefinition(
                message.text("name"),
                message.text("type"),
                message,
                tuple(message.texts("bottom")),
                tuple(message.texts("top")),
                phase,
            )
        )
    return layers


def _takes_part(layer: Parameters, state: NetState) -> bool:
    include, exclude = layer.subs("include"), layer.subs("exclude")
    for rule in (*include, *exclude):
        for name in rule.unknown():
            raise ModelError(rule.problem(f"its rule has an unknown field '{name}'", "correct the rule", name))
    if include and exclude:
        raise ModelError(
            layer.problem("has both include and exclude rules", "keep one kind (Caffe refuses both)", "exclude")
        )
    if include:
        return any(_is_met(rule, state) for rule in include)
    return not any(_is_met(rule, state) for rule in exclude)


def _is_met(rule: Parameters, state: NetState) -> bool:
    if rule.has("phase") and rule.string("phase") != state.phase:
        return False
    if rule.has("min_level") and state.level < rule.integer("min_level"):
        return False
    if rule.has("max_level") and state.level > rule.integer("max_level"):
        return False
    wanted, unwanted = rule.get("stage"), rule.get("not_stage")
    assert isinstance(wanted, list)
    assert isinstance(unwanted, list)
    return all(stage in state.stages for stage in wanted) and not any(stage in state.stages for stage in unwanted)
