"""Coefficient files: what a calibration or a weight quantization found, to be used again elsewhere.

Two forms. Ours is JSON, one entry a quantized tensor, with the 16-byte parameter block beside the coefficient and
whatever else its writer knew. The other is the `gfpq_param_file` of newer nnie_mapper versions,

    {"nnie": {"gfpq_param_dict": {"conv1": [8.724061965942383], "conv2": [0.5, 2.0]}}}

which holds for each layer the largest magnitudes of its grids, one an input; each is a power of two with an exponent
that is a whole number of steps, so that the coefficient follows (spec: nnie, S1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gfpq_inspect.errors import InputError, QuantizationError
from gfpq_inspect.quantize import GfpqParam, gfpq_of

FORMAT, VERSION = "gfpq-inspect coefficients", 1
ROLES = ("data", "weight")
ON_GRID_TOLERANCE = 1e-3
"""Distance of S * log2(c) from a whole number up to which c is the top of a grid and not a measured maximum."""
MAX_BYTES = 256 * 2**20
_OWN_KEYS = frozenset({"layer", "role", "index", "bits", "delta", "block", "tensor"})


@dataclass(frozen=True)
class StoredCoefficient:
    """The coefficient of one tensor.

    Attributes:
        layer: Name of the layer that reads the data, or holds the weight.
        role: 'data' or 'weight'.
        index: Number of the input for data, of the blob for weights.
        bits: 8 or 16.
        delta: The coefficient.
        tensor: Name of the tensor, where known.
        facts: What else the writer knew; JSON values.
    """

    layer: str
    role: str
    index: int
    bits: int
    delta: int
    tensor: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid_top(self) -> float:
        """Largest magnitude of the grid."""
        grid = gfpq_of(self.bits)
        return grid.value(grid.highest_code, self.delta)

    @property
    def block(self) -> str:
        """The 16-byte parameter block in hex, bytes apart."""
        return GfpqParam(self.delta).pack().hex(" ")


@dataclass(frozen=True)
class CoefficientFile:
    """A file of coefficients.

    Attributes:
        entries: In file order.
        facts: What the file says of itself: network, tool version, ...
        notes: What a reader should know, one clause each.
    """

    entries: tuple[StoredCoefficient, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def find(self, layer: str, role: str = "data", index: int = 0) -> StoredCoefficient | None:
        """Return the coefficient of one tensor, or None."""
        return next((one for one in self.entries if (one.layer, one.role, one.index) == (layer, role, index)), None)


def coefficients_json(entries: Iterable[StoredCoefficient], facts: Mapping[str, Any] | None = None) -> str:
    """Write coefficients in our form.

    Args:
        entries: The coefficients.
        facts: What to say of the file as a whole; JSON values.
    """
    rows = [
        {
            "layer": one.layer,
            "role": one.role,
            "index": one.index,
            **({"tensor": one.tensor} if one.tensor else {}),
            "bits": one.bits,
            "delta": one.delta,
            "block": one.block,
            **one.facts,
        }
        for one in entries
    ]
    document = {"format": FORMAT, "version": VERSION, **(facts or {}), "coefficients": rows}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def param_dict_json(entries: Iterable[StoredCoefficient]) -> str:
    """Write coefficients in the mapper's form: for each layer the tops of its grids, in the order of `index`.

    Raises:
        InputError: A layer has data and weights among the entries, which this form cannot tell apart.
    """
    rows = sorted(entries, key=lambda one: one.index)
    roles: dict[str, set[str]] = {}
    for one in rows:
        roles.setdefault(one.layer, set()).add(one.role)
    mixed = [layer for layer, found in roles.items() if len(found) > 1]
    if mixed:
        raise InputError(f"layer '{mixed[0]}': gfpq_param_dict holds data or weights, not both; write two files")
    tops: dict[str, list[float]] = {layer: [] for layer in roles}
    for one in rows:
        tops[one.layer].append(one.grid_top)
    return json.dumps({"nnie": {"gfpq_param_dict": tops}}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_coefficients(path: Path, *, bits: int = 8, role: str = "data") -> CoefficientFile:
    """Read a coefficient file of either form.

    Args:
        path: The file.
        bits: Bit width of the mapper's form, which does not say it.
        role: What the mapper's form holds, which it does not say either.

    Raises:
        InputError: The file is missing, no JSON, of another kind, or holds values that no tensor gives.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is too large for a coefficient file; give the JSON that was written beside it")
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({_short(error)}); give a coefficient file") from error
    if isinstance(document, dict) and isinstance(document.get("nnie"), dict):
        return _read_param_dict(path, document["nnie"].get("gfpq_param_dict"), bits, role)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path}: is no coefficient file: it has neither our format nor nnie.gfpq_param_dict")
    if document.get("version") != VERSION:
        raise InputError(f"{path}: has version {document.get('version')!r}, this program reads {VERSION}; update it")
    rows = document.get("coefficients")
    if not isinstance(rows, list):
        raise InputError(f"{path}: has no list of coefficients; write it again")
    entries = tuple(_entry(path, number, row) for number, row in enumerate(rows, start=1))
    _check_unique(path, entries)
    facts = {name: value for name, value in document.items() if name not in ("format", "version", "coefficients")}
    return CoefficientFile(entries, facts)


def _entry(path: Path, number: int, row: object) -> StoredCoefficient:
    where = f"{path}: coefficient {number}"
    if not isinstance(row, dict) or not isinstance(row.get("layer"), str):
        raise InputError(f"{where}: names no layer; write the file again")
    where += f" (layer '{row['layer']}')"
    if row.get("role") not in ROLES:
        raise InputError(f"{where}: its role is {row.get('role')!r}; it must be 'data' or 'weight'")
    values = {name: row.get(name) for name in ("index", "bits", "delta")}
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{where}: '{name}' is {value!r}; it must be a whole number")
    entry = StoredCoefficient(
        row["layer"],
        row["role"],
        row["index"],
        row["bits"],
        row["delta"],
        str(row.get("tensor", "")),
        {name: value for name, value in row.items() if name not in _OWN_KEYS},
    )
    try:
        GfpqParam(entry.delta).validate(entry.bits)
        if "block" in row:
            stored = GfpqParam.unpack(bytes.fromhex(str(row["block"])))
            if stored.delta != entry.delta:
                raise InputError(f"{where}: its block holds the coefficient {stored.delta}, delta says {entry.delta}")
    except (QuantizationError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error
    return entry


def _read_param_dict(path: Path, tops: object, bits: int, role: str) -> CoefficientFile:
    if not isinstance(tops, dict):
        raise InputError(f"{path}: nnie.gfpq_param_dict is missing; give the file that the exporter wrote")
    grid = gfpq_of(bits)
    entries: list[StoredCoefficient] = []
    beside: list[str] = []
    for layer, values in tops.items():
        for index, top in enumerate(values if isinstance(values, list) else [values]):
            if isinstance(top, bool) or not isinstance(top, int | float) or not 0 < top < math.inf:
                raise InputError(f"{path}: layer '{layer}': the grid top {top!r} is no positive number")
            steps = grid.steps_per_octave * math.log2(top)
            whole = round(steps)
            if abs(steps - whole) > ON_GRID_TOLERANCE:
                whole = math.floor(steps)
                beside.append(layer)
            entries.append(StoredCoefficient(layer, role, index, bits, whole - grid.highest_code))
    notes: tuple[str, ...] = (f"taken as {bits} bit, which the file does not say",)
    if beside:
        shown = ", ".join(dict.fromkeys(beside[:5])) + (", ..." if len(beside) > 5 else "")
        notes += (
            f"{len(beside)} values are measured maxima and no grid tops, the coefficient of INIT was taken ({shown})",
        )
    for entry in entries:
        try:
            GfpqParam(entry.delta).validate(bits)
        except QuantizationError as error:
            raise InputError(f"{path}: layer '{entry.layer}': {error}") from error
    return CoefficientFile(tuple(entries), notes=notes)


def _check_unique(path: Path, entries: Iterable[StoredCoefficient]) -> None:
    seen: set[tuple[str, str, int, str]] = set()
    for one in entries:
        key = (one.layer, one.role, one.index, str(one.facts.get("model", "")))
        if key in seen:
            raise InputError(f"{path}: layer '{one.layer}' has two coefficients for {one.role} {one.index}; keep one")
        seen.add(key)


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 100 else text[:97] + "..."
