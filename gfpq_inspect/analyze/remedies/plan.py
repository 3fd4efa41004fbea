"""A plan: which layers get 16 bit. Written as JSON, replayed by `compare --plan`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfpq_inspect.analyze.remedies.changes import with_bits
from gfpq_inspect.errors import InputError
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.pair import plain_name

FORMAT = "gfpq-inspect plan"
VERSION = 1


@dataclass(frozen=True)
class Plan:
    """Bit widths of layers.

    Attributes:
        bits: Of all other layers.
        layers: Layer key to its bit width.
        target: Cosine that every network output should reach.
        reached: Lowest cosine of a network output that was measured with the plan.
        before: The same without it.
    """

    bits: int
    layers: Mapping[str, int]
    target: float
    reached: float
    before: float

    def text(self) -> str:
        """The plan as JSON."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "bits": self.bits,
            "layers": dict(self.layers),
            "target": self.target,
            "measured": {"worst_output_cosine_before": self.before, "worst_output_cosine": self.reached},
        }
        return json.dumps(content, indent=2, ensure_ascii=True) + "\n"


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: The file is no plan.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: this plan cannot be read ({error}); give a file that gfpq-inspect remedy wrote"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(f"{path} is no plan of version {VERSION}; give a file that gfpq-inspect remedy wrote")
    layers = content.get("layers")
    if (
        not isinstance(layers, dict)
        or any(width not in (8, 16) for width in layers.values())
        or content.get("bits") not in (8, 16)
    ):
        raise InputError(f"{path}: 'layers' must give 8 or 16 for layer names, 'bits' one of them for the rest")
    measured = content.get("measured") or {}
    return Plan(
        content["bits"],
        layers,
        float(content.get("target", 0.98)),
        float(measured.get("worst_output_cosine", 0.0)),
        float(measured.get("worst_output_cosine_before", 0.0)),
    )


def apply_plan(model: Model, plan: Plan, path: Path) -> Model:
    """Give a model's layers the plan's bit widths; layers may be named with or without `_hp`.

    Raises:
        InputError: A layer that the model does not have.
    """
    by_name = {plain_name(layer.key): layer.key for layer in model.layers}
    by_name.update({layer.key: layer.key for layer in model.layers})
    widths = {}
    for name, width in plan.layers.items():
        key = by_name.get(name) or by_name.get(plain_name(name))
        if key is None:
            raise InputError(
                f"{path} names layer '{name}', which the network does not have; use the plan of this network"
            )
        widths[key] = width
    return with_bits(model, widths)


def with_hp_names(prototxt: str, layers: Sequence[Layer]) -> str:
    """The prototxt with `_hp` at the end of some layers' names; every other character stays.

    Args:
        prototxt: Its text.
        layers: Layers to rename, with their lines.

    Raises:
        InputError: A layer whose name does not stand where its line says.
    """
    lines = prototxt.splitlines(keepends=True)
    for layer in layers:
        if layer.name.endswith("_hp"):
            continue
        pattern = re.compile(r"""(\bname\s*:\s*["'])""" + f"({re.escape(layer.name)})" + r"""(["'])""")
        start = (layer.source_line or 1) - 1
        place = next((index for index in range(start, len(lines)) if pattern.search(lines[index])), None)
        if place is None:
            raise InputError(f"the prototxt has no layer named '{layer.name}' from line {start + 1} on")
        lines[place] = pattern.sub(r"\g<1>\g<2>_hp\g<3>", lines[place], count=1)
    return "".join(lines)
