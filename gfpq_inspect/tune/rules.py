"""Include and exclude rules of layers: when does a layer take part that serves several others?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.schema import Parameters

_OTHER_PHASE = {"TRAIN": "TEST", "TEST": "TRAIN"}


@dataclass(frozen=True)
class Rule:
    """One NetStateRule; it is met when all that it sets holds (spec: Caffe, section 5.1)."""

    phase: str | None = None
    min_level: int | None = None
    max_level: int | None = None
    stages: frozenset[str] = frozenset()
    not_stages: frozenset[str] = frozenset()

    @property
    def is_possible(self) -> bool:
        """Whether any state meets it."""
        levels = self.min_level is None or self.max_level is None or self.min_level <= self.max_level
        return levels and not self.stages & self.not_stages

    def both(self, other: Rule) -> Rule | None:
        """Return the rule that is met when both are, or None if that cannot be."""
        if self.phase and other.phase and self.phase != other.phase:
            return None
        lows = [level for level in (self.min_level, other.min_level) if level is not None]
        highs = [level for level in (self.max_level, other.max_level) if level is not None]
        merged = Rule(
            self.phase or other.phase,
            max(lows) if lows else None,
            min(highs) if highs else None,
            self.stages | other.stages,
            self.not_stages | other.not_stages,
        )
        return merged if merged.is_possible else None

    def opposite(self) -> list[Rule]:
        """Return rules of which at least one is met exactly when this one is not."""
        rules = [Rule(phase=_OTHER_PHASE[self.phase])] if self.phase else []
        if self.min_level is not None:
            rules.append(Rule(max_level=self.min_level - 1))
        if self.max_level is not None:
            rules.append(Rule(min_level=self.max_level + 1))
        rules += [Rule(not_stages=frozenset({stage})) for stage in sorted(self.stages)]
        return rules + [Rule(stages=frozenset({stage})) for stage in sorted(self.not_stages)]

    def __str__(self) -> str:
        """Write it as the content of an `include { }`."""
        parts = [f"phase: {self.phase}"] if self.phase else []
        parts += [f"min_level: {self.min_level}"] if self.min_level is not None else []
        parts += [f"max_level: {self.max_level}"] if self.max_level is not None else []
        parts += [f'stage: "{_escaped(stage)}"' for stage in sorted(self.stages)]
        parts += [f'not_stage: "{_escaped(stage)}"' for stage in sorted(self.not_stages)]
        return " ".join(parts)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def rules_of(layer: Message, path: str) -> list[Rule] | None:
    """Return the rules of which one must be met for a layer to take part; None when it always does.

    Args:
        layer: The layer.
        path: For messages.

    Raises:
        ModelError: A rule has a wrong value.
    """
    common = Parameters(layer, "LayerParameter", path, layer.text("name"))
    include = [_rule(one) for one in common.subs("include")]
    if include:
        return None if Rule() in include else [rule for rule in include if rule.is_possible]
    exclude = [_rule(one) for one in common.subs("exclude")]
    if not exclude:
        return None
    allowed: list[Rule] = []
    for choice in product(*(rule.opposite() for rule in exclude)):
        merged: Rule | None = Rule()
        for rule in choice:
            merged = merged.both(rule) if merged else None
        if merged is not None and merged not in allowed:
            allowed.append(merged)
    return allowed


def _rule(one: Parameters) -> Rule:
    stages, not_stages = one.get("stage"), one.get("not_stage")
    return Rule(
        one.string("phase") if one.has("phase") else None,
        one.integer("min_level") if one.has("min_level") else None,
        one.integer("max_level") if one.has("max_level") else None,
        frozenset(map(str, stages)) if isinstance(stages, list) else frozenset(),
        frozenset(map(str, not_stages)) if isinstance(not_stages, list) else frozenset(),
    )


def any_of(needs: Sequence[list[Rule] | None]) -> list[Rule] | None:
    """Return when a layer must take part that serves several others; None for always."""
    joined: list[Rule] = []
    for rules in needs:
        if rules is None:
            return None
        joined += [rule for rule in rules if rule not in joined]
    if {rule for rule in joined if str(rule).startswith("phase") and rule == Rule(phase=rule.phase)} >= {
        Rule(phase="TRAIN"),
        Rule(phase="TEST"),
    }:
        return None
    return joined
