"""What the hooks remember about a module."""

from __future__ import annotations

from dataclasses import dataclass

from gfpq_inspect.tune.torch_quant.point import FakeQuantize
from gfpq_inspect.tune.torch_quant.swap import WeightSwap

HOOKED = "_nnieqat"
"""Name under which a module holds it, outside its registered state."""


@dataclass
class Hooked:
    """What a module remembers; it is copied and pickled with the module.

    Attributes:
        swap: Its weight; several modules that share a weight share this.
        point: What it reads.
        registered: Whether forward quantizes.
    """

    swap: WeightSwap | None
    point: FakeQuantize | None
    registered: bool = True
