"""What folding works on and what it says: layers as units, folds, refusals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A layer as folding sees it.

    Attributes:
        key: Name of the layer.
        type: Its type, for reasons.
        nodes: Positions of its nodes in the graph, in order.
        is_base: It may take other units into its weights.
        is_step: It may be folded into a base; always listed when it is not.
        is_pass: It hands on what it reads: it stands in nobody's way, and goes where it stands between the two.
        is_quiet: It is listed only where it stands behind a base and would have been folded but for its surroundings.
        refusal: Why it must stay, where somebody else knows; ''.
    """

    key: str
    type: str
    nodes: tuple[int, ...]
    is_base: bool = False
    is_step: bool = False
    is_pass: bool = False
    is_quiet: bool = False
    refusal: str = ""


@dataclass(frozen=True)
class Fold:
    """One layer that took others in.

    Attributes:
        base: Key of the layer that stays.
        folded: Keys of the layers that are gone, in order.
        output: Value that the base makes now: the one that the last of them made.
        weight: Its initializer before and after.
        bias: Its bias initializer after, or None.
        nodes: Names of its nodes after.
    """

    base: str
    folded: tuple[str, ...]
    output: str
    weight: tuple[str, str]
    bias: str | None
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """A layer that could not be folded, and why: one clause."""

    key: str
    type: str
    reason: str
