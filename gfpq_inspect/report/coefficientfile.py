"""The coefficients of a result as a file of their own: to be used again here, or by the mapper."""

from __future__ import annotations

from typing import Any

from gfpq_inspect.analyze.result import Coefficient, Result
from gfpq_inspect.errors import UsageError
from gfpq_inspect.inputs.coefficients import StoredCoefficient, coefficients_json, param_dict_json

QUANT_TYPES = frozenset({"Quant"})


def render_coefficients(result: Result) -> str:
    """All coefficients, of data and weights and of both models, each with its 16-byte block.

    Args:
        result: The result.

    Raises:
        UsageError: It has no coefficients that a file could hold.
    """
    rows = _stored(result)
    facts: dict[str, Any] = {
        "tool_version": result.run.tool_version,
        "calibration": result.run.calibration,
        "networks": {model.role: {"name": model.name, "sha256": dict(model.sha256)} for model in result.run.models},
    }
    calibrated = result.run.calibration_inputs or result.run.inputs
    facts["samples"] = {"description": calibrated.description, "sha256": calibrated.sha256}
    entries = (_entry(row, row.layer, row.index, {"model": row.model, "maximum": row.maximum}) for row in rows)
    return coefficients_json(entries, facts)


def render_param_dict(result: Result) -> str:
    """The tops of the grids of the deployed model's data, by layer, as nnie_mapper's `gfpq_param_dict`.

    Layers behind a Quant layer stand in its place: the deployed network has none.

    Raises:
        UsageError: The result has no coefficients that a file could hold.
    """
    deployed = result.run.models[-1].role
    entries = []
    for row in _stored(result):
        if row.model == deployed and row.role == "data":
            entries += [_entry(row, name, index, {}) for name, index in _readers(result, row)]
    return param_dict_json(entries)


def _readers(result: Result, row: Coefficient) -> list[tuple[str, int]]:
    """The layer that reads the tensor, and its number there; behind a Quant layer all that read what it hands on."""
    own = next((layer for layer in result.layers if row.layer in (layer.layer, layer.partner)), None)
    if own is None or own.type not in QUANT_TYPES:
        return [(row.layer, row.index)]
    readers = [layer for layer in result.layers if own.key in layer.inputs and layer.quantized]
    return [(layer.name, layer.inputs.index(own.key)) for layer in readers] or [(row.layer, row.index)]


def _stored(result: Result) -> list[Coefficient]:
    rows = [row for row in result.coefficients if row.delta is not None]
    own = result.run.coefficients == "sample"
    if not rows or own:
        reason = "each sample has its own coefficients" if own else "there are none"
        raise UsageError(f"the result holds no GFPQ coefficients to save ({reason}); calibrate over the set.")
    return rows


def _entry(row: Coefficient, layer: str, index: int, facts: dict[str, Any]) -> StoredCoefficient:
    assert row.delta is not None
    return StoredCoefficient(layer, row.role, index, row.bits, row.delta, row.tensor, facts)
