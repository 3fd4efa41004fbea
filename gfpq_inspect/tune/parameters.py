"""What goes beside quantized weights: qParameters, the mapper's parameter file, and a piece of its configuration."""

from __future__ import annotations

from typing import Any

from gfpq_inspect import __version__
from gfpq_inspect.inputs.coefficients import StoredCoefficient, coefficients_json, param_dict_json
from gfpq_inspect.quantize import gfpq_of
from gfpq_inspect.tune.quantize import QuantizedFiles, QuantizedWeight

PARAMETERS_SUFFIX, PARAM_DICT_SUFFIX, CFG_SUFFIX = ".qparams.json", ".gfpq_param.json", ".cfg"


def parameter_suffixes(*, caffe: bool) -> tuple[str, ...]:
    """Return the suffixes of what `parameter_files` makes."""
    suffixes = (PARAMETERS_SUFFIX, PARAM_DICT_SUFFIX)
    return (*suffixes, CFG_SUFFIX) if caffe else suffixes


def parameter_files(done: QuantizedFiles, stem: str) -> dict[str, str]:
    """Return the files that go beside quantized weights, by suffix; the mapper's file holds data where it can.

    Args:
        done: The quantized network.
        stem: Base name of the output, which the configuration refers to.
    """
    entries = [_entry(one) for one in done.weights]
    files = {
        PARAMETERS_SUFFIX: coefficients_json([*entries, *done.data], _facts(done)),
        PARAM_DICT_SUFFIX: param_dict_json(done.data or entries),
    }
    if ".caffemodel" in done.files:
        files[CFG_SUFFIX] = _mapper_cfg(done, stem)
    return files


def _entry(one: QuantizedWeight) -> StoredCoefficient:
    result = one.result
    grid, counts = gfpq_of(result.bits), result.statistics
    facts: dict[str, Any] = {
        "type": one.type,
        "shape": list(one.shape),
        "maximum": result.maximum,
        "grid_top": grid.value(grid.highest_code, result.delta),
        "grid_bottom": grid.value(0, result.delta),
        "saturated": counts.snapped + counts.beyond,
        "saturated_share": result.saturated_share,
        "underflow": counts.flushed,
        "underflow_share": result.underflow_share,
        "sqnr_db": result.sqnr_db,
        "was_on_grid": result.was_on_grid,
        "steps_lost_on_reinit": result.steps_lost_on_reinit,
    }
    return StoredCoefficient(one.layer, "weight", one.index, result.bits, result.delta, one.tensor, facts)


def _facts(done: QuantizedFiles) -> dict[str, Any]:
    folds = done.folded.folds if done.folded is not None else ()
    return {
        "tool_version": __version__,
        "network": done.name,
        "made_from": dict(sorted(done.sha256.items())),
        "folded": {fold.base: list(fold.folded) for fold in folds},
        "float_layers": [{"layer": one.layer, "type": one.type, "reason": one.reason} for one in done.float_layers],
        "notes": [*done.notes, *reinit_notes(done)],
    }


def reinit_notes(done: QuantizedFiles) -> list[str]:
    """Say which tensors a further INIT would change, and what to do; empty where there are none."""
    losing = [one for one in done.weights if one.result.steps_lost_on_reinit > 0]
    if not losing:
        return []
    most = max(one.result.steps_lost_on_reinit for one in losing)
    steps = "one step" if most == 1 else f"up to {most} steps"
    shown = ", ".join(one.layer for one in losing[:5]) + (", ..." if len(losing) > 5 else "")
    return [
        f"INIT on these weights would lower the top of {len(losing)} tensors by {steps} ({shown}): their largest "
        "value, rounded to float32, lies a hair below its grid point and INIT rounds down; use APPLY with the "
        "coefficients given here, or quantize with --settle-top"
    ]


def _mapper_cfg(done: QuantizedFiles, stem: str) -> str:
    widths = {one.result.bits for one in done.weights} or {done.bits}
    mode = 2 if len(widths) > 1 else (0 if widths == {8} else 1)
    lines = [f"[prototxt_file] ./{stem}.prototxt"] if ".prototxt" in done.files else []
    lines += [
        f"[caffemodel_file] ./{stem}.caffemodel",
        f"[compile_mode] {mode}",
        f"[gfpq_param_file] ./{stem}{PARAM_DICT_SUFFIX}",
    ]
    return "\n".join(lines) + "\n"
