"""Every code of every quantized tensor, and every bin of every layer: what a report has no room for, as one file.

The file is a .npz, which NumPy reads without this package: `index.json` says what each array is. It holds no dates, so
the same comparison gives the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.channels import PointTable
from gfpq_inspect.analyze.engine.interface import Point
from gfpq_inspect.analyze.engine.tensors import as_floating
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.histograms import bin_edges
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.quantize import kernels

_EPOCH = (1980, 1, 1, 0, 0, 0)

VERSION = 1


def full_histograms(case: Case) -> bytes:
    """All histograms of a comparison.

    Args:
        case: What was measured.

    Returns:
        A .npz with these members:

        * `index.json`: `version`, `samples` (number of samples counted), and `arrays`: a list of objects with `array`
          (name of the member without .npy), `kind` and what else is said below;
        * kind `codes`: int64 [2, T + 1], how often positive (row 0) and negative values (row 1) use each code; with
          `model`, `role` (data, weight), `tensor`, `layers` (keys), `bits`, `coefficient` (None where each sample has
          its own), `finite`, `flushed`, `snapped`, `beyond` (elements);
        * kind `values`: int64 [3, B]: values of the float lane, of the quantized one, and errors in the bins of
          `edges`; with `layer` (key) and `lane`;
        * `edges`: float64 [B + 1]; bin i holds edges[i] <= value < edges[i + 1] above zero, edges[i] < value <=
          edges[i + 1] below it, and the middle one what is nearly zero.
    """
    arrays: dict[str, NDArray[Any]] = {"edges": bin_edges()}
    entries: list[dict[str, Any]] = []

    def add(kind: str, array: NDArray[np.int64], **said: Any) -> None:
        name = f"{kind}_{sum(entry['kind'] == kind for entry in entries):05d}"
        arrays[name] = array
        entries.append({"array": name, "kind": kind, **said})

    for side in case.models:
        for _, point, table in case.points(side):
            if table.histogram.size:
                add("codes", table.histogram, **_of_point(case, side, point, table))
        _add_weights(case, side, add)
    lane = "tuned" if case.second is not None else "both"
    for row, counted in sorted(case.evidence.histograms.items()):
        entry = case.rows[row]
        add("values", counted.counts, layer=entry.key, lane="both" if entry.side == "first" else lane)
    index = {"version": VERSION, "samples": case.evidence.samples, "arrays": entries}
    return _archive(arrays, json.dumps(index, ensure_ascii=True, indent=1) + "\n")


def _of_point(case: Case, side: Side, point: Point, table: PointTable) -> dict[str, Any]:
    tensor = case.value_rows.get((side, point.value), point.value)
    known = (
        entry.delta
        for entry in case.coefficients
        if (entry.model, entry.role, entry.tensor) == (side.value, "data", tensor) and entry.bits == point.bits
    )
    return {
        "model": side.value,
        "role": "data",
        "tensor": tensor,
        "layers": [case.row_key(side, key) for key in point.layers],
        "bits": point.bits,
        "coefficient": next(known, None),
        "finite": table.finite,
        "flushed": table.flushed,
        "snapped": table.snapped,
        "beyond": table.beyond,
    }


def _add_weights(case: Case, side: Side, add: Any) -> None:
    for layer in case.models[side].layers:
        for name, entry in case.experiment.weights.of_layer(side, layer).items():
            if entry.own_format is not None or entry.delta is None:
                continue
            codes = kernels.code_statistics(as_floating(entry.stored), entry.bits, entry.delta)
            add(
                "codes",
                codes.histogram,
                model=side.value,
                role="weight",
                tensor=name,
                layers=[case.row_key(side, layer.key)],
                bits=entry.bits,
                coefficient=entry.delta,
                finite=codes.finite,
                flushed=codes.flushed,
                snapped=codes.snapped,
                beyond=codes.beyond,
            )


def _archive(arrays: dict[str, NDArray[Any]], index: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(_member("index.json"), index)
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(_member(f"{name}.npy"), member.getvalue())
    return stream.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    return member
