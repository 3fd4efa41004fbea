"""Rows, coefficients and details of a sample result: noise that later layers pass on, and what planted faults add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gfpq_inspect.analyze.result import (
    Coefficient,
    Isolation,
    LayerRow,
    Scores,
    Spread,
    Status,
    Task,
    Verdict,
)
from gfpq_inspect.analyze.task import DecisionMeter
from gfpq_inspect.inputs.labels import Labels

from .sample_networks import QUANTIZED_TYPES, WITH_WEIGHTS, Fault, Node


def scores_of(power: float, rng: np.random.Generator, elements: int, samples: int, gain: float = 1.0) -> Scores:
    """Scores that belong to one relative noise power."""
    if power == 0:
        return Scores(
            Status.EXACT,
            count=elements * samples,
            cosine=1.0,
            rel_l2=0.0,
            norm_ratio=1.0,
            max_abs_error=0.0,
            mae=0.0,
            rmse=0.0,
            mean_error=0.0,
            gain=1.0,
            offset=0.0,
            equal_share=1.0,
        )
    cosine = gain / math.sqrt(gain * gain + power)
    total = power + (gain - 1) ** 2
    sqnr = -10 * math.log10(total)
    rmse = 0.8 * math.sqrt(total)
    lowest = max(-1.0, 1 - (1 - cosine) * (1.5 + rng.random()))
    worst = f"image_{rng.integers(samples):03d}.jpg"
    return Scores(
        status=Status.OK,
        count=elements * samples,
        cosine=cosine,
        sqnr_db=sqnr,
        rel_l2=math.sqrt(total),
        norm_ratio=math.sqrt(gain * gain + power),
        max_abs_error=rmse * (4 + 3 * rng.random()),
        mae=rmse * 0.7,
        rmse=rmse,
        mean_error=rmse * 0.04 * rng.standard_normal(),
        gain=gain,
        offset=rmse * 0.02 * rng.standard_normal(),
        residual_db=sqnr + 0.2 * rng.random(),
        equal_share=0.02 * rng.random(),
        cosine_spread=Spread(1 - (1 - cosine) * 0.98, lowest, worst, 1 - (1 - cosine) * 1.3) if samples > 1 else None,
        sqnr_db_spread=Spread(sqnr + 0.2, sqnr - 2.5 * rng.random(), worst, sqnr - 1.2) if samples > 1 else None,
    )


class Lanes:
    """Noise powers of the data, weight and both lanes as they run through a network."""

    def __init__(self, nodes: Sequence[Node], faults: Sequence[Fault], rng: np.random.Generator, scale: float) -> None:
        self.powers: list[dict[str, float]] = []
        planted = {fault.layer: fault for fault in faults}
        for node in nodes:
            arriving = [self.powers[index] for index in node.inputs] or [{"data": 0.0, "weight": 0.0}]
            share = 0.965 if node.type in QUANTIZED_TYPES else 0.995
            power = {lane: max(p[lane] for p in arriving) for lane in ("data", "weight")}
            # A planted fault fades within a few blocks, as it does where later layers average over many inputs.
            power = {lane: value * (share - min(value, 0.12)) for lane, value in power.items()}
            if node.type in QUANTIZED_TYPES:
                power["data"] += scale * 10 ** (-3.9 + 0.25 * rng.standard_normal())
            if node.type in WITH_WEIGHTS:
                power["weight"] += scale * 10 ** (-4.0 + 0.25 * rng.standard_normal())
            fault = planted.get(node.name)
            if fault is not None:
                power["data"] += fault.data
                power["weight"] += fault.weight
            if node.type == "Softmax":
                power = {lane: value * 0.3 for lane, value in power.items()}
            cross = 0.12 * rng.standard_normal() * math.sqrt(power["data"] * power["weight"])
            power["both"] = max(power["data"] + power["weight"] + cross, 0.0)
            self.powers.append(power)


def verdict_of(cosine: float | None, threshold: float) -> Verdict:
    """The default bands."""
    if cosine is None:
        return Verdict.NOT_JUDGED
    if cosine < threshold:
        return Verdict.FLAGGED
    return Verdict.WATCH if cosine < 0.99 else Verdict.GOOD


def isolation_of(power: dict[str, float]) -> Isolation | None:
    """Shares that add to 1."""
    if power["both"] == 0:
        return None
    data, weight = power["data"] / power["both"], power["weight"] / power["both"]
    return Isolation(data, weight, 1 - data - weight)


def rows_of(
    nodes: Sequence[Node],
    faults: Sequence[Fault],
    *,
    seed: int,
    samples: int,
    two_models: bool,
    local: bool,
    threshold: float,
) -> list[LayerRow]:
    """The layer table of a sample network."""
    rng = np.random.default_rng(seed)
    first = Lanes(nodes, faults, rng, 1.0).powers
    tuned = Lanes(nodes, [replace(f, data=f.data * 0.1, weight=f.weight * 0.05) for f in faults], rng, 0.8).powers
    judged = "total" if two_models else "both"
    read = {index for node in nodes for index in node.inputs}
    rows = []
    for index, node in enumerate(nodes):
        elements = math.prod(node.shape)
        quantized = node.type in QUANTIZED_TYPES
        listed = node.type in {"Input", "Dropout", "Split"}
        scores: dict[str, Scores] = {}
        drift = 0.0
        if not listed:
            for lane in ("data", "weight", "both"):
                scores[lane] = scores_of(first[index][lane], rng, elements, samples)
            if local:
                fault = next((f for f in faults if f.layer == node.name), Fault(node.name))
                own = {
                    "data": (10 ** (-4 + 0.2 * rng.standard_normal()) if quantized else 0.0) + fault.data,
                    "weight": (10 ** (-4 + 0.2 * rng.standard_normal()) if quantized else 0.0) + fault.weight,
                }
                own["both"] = own["data"] + own["weight"]
                for lane, power in own.items():
                    scores[f"local_{lane}"] = scores_of(power, rng, elements, samples)
                arrived = max(first[index]["both"] - own["both"], 0.0)
                scores["inherited_both"] = scores_of(arrived, rng, elements, samples)
                scores["fresh_both"] = scores_of(own["both"] * 1.02, rng, elements, samples)
                if two_models:
                    for name in ("local_tuned", "inherited_tuned", "fresh_tuned"):
                        scores[name] = scores_of(tuned[index]["both"] * 0.5, rng, elements, samples)
            if two_models:
                drift = 0.002 * (1 + index / len(nodes)) + (0.09 if index == len(nodes) // 3 else 0.0)
                scores["drift"] = scores_of(drift, rng, elements, samples)
                for lane in ("data", "weight", "both"):
                    name = "tuned" if lane == "both" else f"tuned_{lane}"
                    scores[name] = scores_of(tuned[index][lane], rng, elements, samples)
                scores["total"] = scores_of(drift + tuned[index]["both"], rng, elements, samples)
        verdict = Verdict.NOT_JUDGED if listed else verdict_of(scores[judged].cosine, threshold)
        isolation = None if listed else isolation_of(first[index])
        cause, reason = None, ""
        if verdict is Verdict.FLAGGED and isolation is not None:
            drifts = two_models and drift > 4 * tuned[index]["both"]
            cause = "drift" if drifts else isolation.dominant
            part = isolation.share_data if cause == "data" else isolation.share_weight
            reason = "training moved this feature" if drifts else f"{cause}: {part:.0%} of the error's energy"
        rows.append(
            LayerRow(
                key=node.name,
                layer=node.name,
                name=node.name,
                type=node.type,
                index=index,
                side="both",
                partner=node.name if two_models else None,
                status=Status.SKIPPED if listed else Status.OK,
                reason=f"{node.type} computes nothing that could differ" if listed else "",
                understood=True,
                shape=node.shape,
                elements=elements,
                quantized=quantized,
                quantization_reason=f"NNIE quantizes what a {node.type} reads" if quantized else "stays float",
                is_output=index not in read and not listed,
                scores=scores,
                verdict=verdict,
                cause=cause,
                cause_reason=reason,
                isolation=isolation,
                tuned_isolation=isolation_of(tuned[index]) if two_models and not listed else None,
                multiply_adds=elements * 576 if node.type in WITH_WEIGHTS else None,
                source_line=10 + 12 * index,
                inputs=tuple(nodes[i].name for i in node.inputs),
            )
        )
    return rows


def coefficients_of(rows: Sequence[LayerRow], *, two_models: bool, seed: int, bits: int) -> list[Coefficient]:
    """One coefficient for each tensor that is read by a quantized layer, and one for each weight."""
    rng = np.random.default_rng(seed + 1)
    coefficients = []
    for model in ("first", "second") if two_models else ("first",):
        for row in rows:
            if not row.quantized:
                continue
            for role in ("data", "weight") if row.type in WITH_WEIGHTS else ("data",):
                delta = int(rng.integers(-8, 40)) - (80 if role == "weight" else 0)
                top = 2.0 ** (delta / 16) * 255.0
                coefficients.append(
                    Coefficient(
                        layer=row.layer,
                        tensor=row.inputs[0] if role == "data" and row.inputs else f"{row.layer}.weight",
                        role=role,
                        model=model,
                        bits=bits,
                        delta=delta,
                        delta_low=delta,
                        delta_high=delta,
                        block=rng.bytes(16).hex(),
                        maximum=top * (0.96 + 0.08 * rng.random()),
                        grid_top=top,
                        grid_bottom=top / 255,
                        snapped_share=1e-5 * rng.random(),
                        beyond_share=0.0,
                        flushed_share=0.03 * rng.random() ** 4,
                        on_grid=(model == "second") if role == "weight" else None,
                    )
                )
    return coefficients


def quantized_values(values: np.ndarray, top: float) -> np.ndarray:
    """Round to a grid of sixteen steps an octave, eight octaves deep; a likeness of the 8-bit grid, not its codec."""
    magnitude = np.abs(values)
    step = np.round(16 * np.log2(np.maximum(magnitude, 1e-30) / top))
    return np.where(magnitude < top * 2**-8.0, 0.0, np.sign(values) * top * 2.0 ** (np.clip(step, -127, 0) / 16))


def details_of(row: LayerRow, rng: np.random.Generator) -> dict[str, Any]:
    """Evidence of one layer, of drawn values."""
    values = rng.laplace(0, 1, 4000) * (1 + 0.3 * rng.random())
    if row.type in {"ReLU", "Pooling"}:
        values = np.maximum(values, 0)
    top = float(np.abs(values).max()) * (0.8 if row.verdict is Verdict.FLAGGED else 1.0)
    noise = math.sqrt(10 ** (-(row.scores["both"].sqnr_db or 60) / 10)) * float(values.std())
    quantized = quantized_values(np.clip(values, -top, top), top) + noise * rng.standard_normal(values.size) * 0.5
    octaves = top * 2.0 ** np.arange(-7, 1, 0.25)
    edges = np.concatenate([-octaves[::-1], octaves])
    error = quantized - values
    error_edges = np.linspace(-4 * error.std(), 4 * error.std(), 61)
    limits = np.linspace(-top, top, 41)
    channels = min(row.shape[1] if len(row.shape) > 1 else 1, 512)
    base = row.scores["both"].sqnr_db or 60.0
    return {
        "values": [
            {
                "title": "Output values",
                "tensor": row.key,
                "role": "output",
                "bits": 8,
                "edges": [round(float(e), 6) for e in edges],
                "counts": {
                    "float": np.histogram(values, edges)[0].tolist(),
                    "both": np.histogram(quantized, edges)[0].tolist(),
                },
            }
        ],
        "errors": {
            "edges": [round(float(e), 6) for e in error_edges],
            "counts": {"both": np.histogram(error, error_edges)[0].tolist()},
        },
        "density": {
            "edges": [round(float(e), 5) for e in limits],
            "counts": np.histogram2d(quantized, values, (limits, limits))[0].astype(int).tolist(),
        },
        "channels": {
            "sqnr_db": [round(float(base + 3 * x), 2) for x in rng.standard_normal(channels)],
            "maximum": [round(float(top * x), 4) for x in rng.random(channels)],
            "saturated_share": [round(float(0.02 * x**6), 6) for x in rng.random(channels)],
            "headroom_octaves": [round(float(3 * x), 3) for x in rng.random(channels)],
            "dead": [int(x) for x in rng.choice(channels, min(2, channels - 1), replace=False)],
            "outlier": [int(rng.integers(channels))],
        },
        "codes": {
            "tensor": row.key,
            "bits": 8,
            "codes_used": 203,
            "codes_total": 255,
            "binned_by": "code",
            "negative": [int(x) for x in 40 * np.exp(-(((np.arange(128) - 90) / 30) ** 2))],
            "positive": [int(x) for x in 60 * np.exp(-(((np.arange(128) - 95) / 25) ** 2))],
        },
        "worst": [
            {
                "sample": f"image_{rng.integers(64):03d}.jpg",
                "index": [int(rng.integers(max(n, 1))) for n in row.shape[1:]],
                "float": round(float(values[i]), 6),
                "quantized": round(float(quantized[i]), 6),
            }
            for i in np.argsort(-np.abs(error))[:10]
        ],
    }


def whole_details(rows: Sequence[LayerRow], evidence: dict[str, Any], samples: int) -> dict[str, Any]:
    """What stands beside the evidence of single layers: where errors begin."""
    flagged = [row.key for row in rows if row.verdict is Verdict.FLAGGED and row.cause != "drift"]
    details: dict[str, Any] = {}
    for row in rows:
        if "fresh_both" in row.scores and row.isolation is not None:
            part = {"inherited_share": 0.7, "fresh_share": 0.28, "cross_share": 0.02, "noise_gain": 0.94}
            evidence.setdefault(row.key, {})["propagation"] = {"both": part}
    if evidence:
        details["layers"] = evidence
    if flagged:
        votes = {key: samples - 3 * place for place, key in enumerate(flagged[:3])}
        details["origins"] = {"comparison": "both", "samples": samples, "votes": votes}
    return details


def task_of(rows: Sequence[LayerRow], identities: Sequence[str], *, two_models: bool, seed: int) -> Task | None:
    """Decisions of ten classes at the network's last output: float is mostly right, lanes mostly agree."""
    rng = np.random.default_rng(seed + 3)
    truth = rng.integers(10, size=len(identities))
    values = rng.normal(0.0, 1.0, (len(identities), 10)) + 5.0 * np.eye(10)[truth]
    lanes = {"float": 0.0, "data": 0.1, "weight": 0.2, "both": 0.3}
    lanes |= {"tuned_float": 0.1, "tuned_data": 0.15, "tuned_weight": 0.2, "tuned": 0.25} if two_models else {}
    output = [row.key for row in rows if row.is_output][-1]
    meter = DecisionMeter(
        {output: 10}, Labels(tuple(int(x) for x in truth), "labels.txt"), only_output=True, chosen=False
    )
    noise = rng.normal(0.0, 1.0, values.shape)
    meter.add(0, len(identities), {(output, lane): values + size * noise for lane, size in lanes.items()})
    judged = "tuned" if two_models else "both"
    return Task(len(identities), "labels.txt", judged, (), meter.result(judged, identities))
