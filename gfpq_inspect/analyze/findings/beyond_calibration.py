"""Do the measured samples go beyond what a calibration on other samples covered? Counted over all of them."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed


def run(case: Case) -> Outcome:
    """Count the values that the deployed network had to cut, at every quantized tensor."""
    if case.seen is None:
        return not_applicable("a calibration set, or coefficients, of their own")
    over = []
    for point, seen in zip(case.experiment.points, case.seen, strict=True):
        if seen.beyond:
            readers = [case.row_key(point.side, key) for key in point.layers]
            over.append((seen.beyond / max(1, seen.finite), seen, point, readers))
    if not over:
        return passed("No value of the measured samples lies beyond what the calibration covered.")
    over.sort(key=lambda entry: (-entry[0], entry[3][0]))
    share, seen, point, readers = over[0]
    total = sum(entry[1].beyond for entry in over)
    tensor = case.value_rows.get((point.side, point.value), point.value)
    points = f"{len(over)} of {layers_text(len(case.seen), 'quantized tensor')}"
    measured = (
        f"{total:,} values lie beyond the calibration, at {points}; the worst is '{tensor}', read by '{readers[0]}': "
        f"{seen.beyond:,} of {seen.finite:,} values ({100 * share:.3g} %), the largest {seen.magnitude:.4g}."
    )
    rows: list[tuple[Cell, ...]] = [
        (
            case.value_rows.get((point.side, point.value), point.value),
            ", ".join(readers),
            point.side.value,
            seen.beyond,
            seen.finite,
            100 * share,
            seen.magnitude,
        )
        for share, seen, point, readers in over
    ]
    columns = ("tensor", "read by", "model", "values beyond", "values", "beyond %", "largest value")
    layers = list(dict.fromkeys(key for _, _, _, readers in over for key in readers))
    return found("warning", measured, layers=layers, columns=columns, rows=rows)


CHECK = Check(
    id="beyond-calibration",
    group=Group.TENSOR,
    title="Measured samples within the calibration",
    failure="Measured samples go beyond what the calibration covered",
    why="The coefficient was made from other samples; larger values are cut to the top of its grid.",
    remedy="Add samples like these to the calibration set, or calibrate on more of it.",
    how=(
        "Over all measured samples, the values of each quantized tensor in the deployed lane at or above value(T + 1) "
        "of its coefficient, a full step above the top of the grid."
    ),
    run=run,
)
