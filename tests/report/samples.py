"""Results that look like real ones, made from a seed: for tests of every renderer, and for the sample pages.

A network is a list of blocks; each quantized layer adds noise to the lanes, later layers pass it on, and planted
faults add much more. The numbers of a row agree with each other (cosine, SQNR, relative L2, isolation), as those of a
real run do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gfpq_inspect.analyze.result import (
    Coefficient,
    Comparison,
    Coverage,
    Finding,
    InputFacts,
    Isolation,
    Judgement,
    LayerRow,
    ModelFacts,
    Result,
    Run,
    Scores,
    Spread,
    Status,
    Task,
    Timing,
    Verdict,
)
from gfpq_inspect.analyze.task import DecisionMeter
from gfpq_inspect.analyze.task_meter import judgement_with_task
from gfpq_inspect.inputs.labels import Labels

ONE_MODEL = (
    Comparison("data", "data", "float", "quantization", "data quantized"),
    Comparison("weight", "weight", "float", "quantization", "weights quantized"),
    Comparison("both", "both", "float", "quantization", "both quantized"),
)
LOCAL = (
    Comparison("local_data", "local_data", "float", "local", "this layer alone, data quantized"),
    Comparison("local_weight", "local_weight", "float", "local", "this layer alone, weights quantized"),
    Comparison("local_both", "local_both", "float", "local", "this layer alone, data and weights quantized"),
    Comparison("inherited_both", "inherited_both", "float", "inherited", "what arrived from before"),
    Comparison("fresh_both", "both", "inherited_both", "fresh", "what this layer added"),
)
LOCAL_TUNED = (
    Comparison("local_tuned", "local_tuned", "tuned_float", "local", "second model, this layer alone"),
    Comparison(
        "inherited_tuned", "inherited_tuned", "tuned_float", "inherited", "second model, what arrived from before"
    ),
    Comparison("fresh_tuned", "tuned", "inherited_tuned", "fresh", "second model, what this layer added"),
)
TWO_MODELS = (
    *ONE_MODEL,
    Comparison("drift", "tuned_float", "float", "drift", "what training changed"),
    Comparison("tuned_data", "tuned_data", "tuned_float", "quantization", "tuned, data quantized"),
    Comparison("tuned_weight", "tuned_weight", "tuned_float", "quantization", "tuned, weights quantized"),
    Comparison("tuned", "tuned", "tuned_float", "quantization", "tuned, as deployed"),
    Comparison("total", "tuned", "float", "total", "tuned as deployed, against float"),
)
QUANTIZED_TYPES = {"Convolution", "InnerProduct", "Pooling", "Deconvolution", "DepthwiseConvolution"}
WITH_WEIGHTS = QUANTIZED_TYPES - {"Pooling"}
HOSTILE_NAMES = (
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "\"quoted\" & 'single' `tick` ${x} {{ 7*7 }}",
    "\u202egnp.exe\u202c right\u200fto left",
    "[bold red]rich[/bold red] [link=http://x]y[/link] [/]",
    "line\nbreak\ttab\x1b[31mred\x07\u2028\u2029",
    '=HYPERLINK("http://x","y")',
    "名前 \U0001f600 ñ",
    "lone \ud800 surrogate",
    "__proto__",
    "constructor",
    "n" * 5000,
)


@dataclass(frozen=True)
class Node:
    """A layer of a sample network."""

    name: str
    type: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


def lenet() -> list[Node]:
    """Ten layers in a chain."""
    return [
        Node("data", "Input", (), (1, 1, 28, 28)),
        Node("conv1", "Convolution", (0,), (1, 20, 24, 24)),
        Node("pool1", "Pooling", (1,), (1, 20, 12, 12)),
        Node("conv2", "Convolution", (2,), (1, 50, 8, 8)),
        Node("pool2", "Pooling", (3,), (1, 50, 4, 4)),
        Node("ip1", "InnerProduct", (4,), (1, 500)),
        Node("relu1", "ReLU", (5,), (1, 500)),
        Node("drop1", "Dropout", (6,), (1, 500)),
        Node("ip2", "InnerProduct", (6,), (1, 10)),
        Node("prob", "Softmax", (8,), (1, 10)),
    ]


def residual_network(layers: int, *, separator: str = "_") -> list[Node]:
    """Residual blocks with BatchNorm and Scale, named as Caffe's ResNets are, or with slashes as ONNX exporters do."""
    nodes = [Node("data", "Input", (), (1, 3, 224, 224))]

    def add(name: str, kind: str, inputs: Sequence[int], shape: tuple[int, ...]) -> int:
        nodes.append(Node(name, kind, tuple(inputs), shape))
        return len(nodes) - 1

    shape: tuple[int, ...] = (1, 64, 112, 112)
    top = add("conv1", "Convolution", [0], shape)
    top = add("conv1_relu", "ReLU", [top], shape)
    shape = (1, 64, 56, 56)
    top = add("pool1", "Pooling", [top], shape)
    block = 0
    while len(nodes) < layers - 12:
        stage, letter = 2 + block // 6, chr(ord("a") + block % 6) + ("" if block < 600 else str(block))
        prefix = f"res{stage}{letter}" if separator == "_" else f"stage{stage}/block{block}"
        if block % 12 == 11 and shape[2] > 7:
            shape = (1, min(shape[1] * 2, 2048), shape[2] // 2, shape[3] // 2)
        shortcut = top
        for branch in ("branch2a", "branch2b", "branch2c"):
            top = add(f"{prefix}{separator}{branch}", "Convolution", [top], shape)
            top = add(f"{prefix}{separator}{branch}_bn", "BatchNorm", [top], shape)
            top = add(f"{prefix}{separator}{branch}_scale", "Scale", [top], shape)
            if branch != "branch2c":
                top = add(f"{prefix}{separator}{branch}_relu", "ReLU", [top], shape)
        if block % 6 == 0:
            shortcut = add(f"{prefix}{separator}branch1", "Convolution", [shortcut], shape)
        top = add(prefix if separator == "_" else f"{prefix}/add", "Eltwise", [shortcut, top], shape)
        top = add(f"{prefix}{separator}relu", "ReLU", [top], shape)
        block += 1
    pool = add("pool5", "Pooling", [top], (1, shape[1], 1, 1))
    score = add("fc1000", "InnerProduct", [pool], (1, 1000))
    add("prob", "Softmax", [score], (1, 1000))
    boxes = add("loc_conv", "Convolution", [top], (1, 16, 7, 7))
    boxes = add("loc_perm", "Permute", [boxes], (1, 7, 7, 16))
    confidence = add("conf_conv", "Convolution", [top], (1, 8, 7, 7))
    confidence = add("conf_perm", "Permute", [confidence], (1, 7, 7, 8))
    add("concat", "Concat", [boxes, confidence], (1, 7, 7, 24))
    return nodes


@dataclass(frozen=True)
class Fault:
    """Extra noise power, relative to the signal, that a layer adds.

    Attributes:
        layer: Name of the layer.
        data: Added by quantizing data.
        weight: Added by quantizing weights.
    """

    layer: str
    data: float = 0.0
    weight: float = 0.0


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


def findings_of(rows: Sequence[LayerRow]) -> tuple[Finding, ...]:
    """A few findings of every severity."""
    flagged = [row for row in rows if row.verdict is Verdict.FLAGGED and row.cause != "drift"]
    worst = sorted(flagged, key=lambda row: row.scores["both"].cosine or 0)[:6]
    found = []
    if worst:
        found.append(
            Finding(
                id="outlier-channel",
                title=f"One channel sets the range of {worst[0].name}",
                severity="error",
                measured="Channel 17 reaches 41.2, the median channel 0.9: 5.5 octaves of the grid serve one channel.",
                why="One coefficient serves the whole tensor, so a single large channel pushes all others towards "
                "the bottom of the grid, where they are flushed to zero.",
                remedy="Equalize channel 17 against the layer before, or run this layer in 16 bit (rename it to _hp).",
                how="log2(largest channel maximum / median channel maximum), flagged above 4 octaves.",
                layers=tuple(row.key for row in worst),
                evidence_columns=("layer", "largest channel", "median channel", "octaves"),
                evidence_rows=tuple((row.key, 41.2 - i, 0.9, 5.5 - 0.1 * i) for i, row in enumerate(worst)),
            )
        )
        found.append(
            Finding(
                id="underflow",
                title="A third of the values are flushed to zero",
                severity="warning",
                measured="33 % of the non-zero values that the layer reads lie below the grid's smallest level.",
                why="They vanish for this layer, whatever they carry.",
                remedy="Lower the coefficient by one or two steps, or use 16 bit here.",
                how="Share of non-zero elements that quantize to zero.",
                layers=tuple(row.key for row in worst[:1]),
            )
        )
    return (
        *found,
        Finding(
            "float-reference",
            "The float lane computes finite, varying outputs",
            "passed",
            "All outputs are finite; none is constant over the samples.",
        ),
        Finding(
            "weights-off-grid", "Weights of the tuned network off the grid", "not applicable", "needs a second network"
        ),
    )


def judge(rows: Sequence[LayerRow], comparison: str, threshold: float) -> Judgement:
    """The verdict in the words of a real run."""
    flagged = [row for row in rows if row.verdict is Verdict.FLAGGED]
    counted = [row for row in flagged if row.cause != "drift"]
    failed = [row for row in rows if row.is_output and (row.scores[comparison].cosine or 0) < threshold]
    good = not counted and not failed
    judged = sum(row.verdict is not Verdict.NOT_JUDGED for row in rows)
    if good:
        sentence = f"The network survives: all {judged} judged layers keep a cosine of at least {threshold}."
    else:
        sentence = f"The network does not survive: {len(counted)} of {judged} layers fall below cosine {threshold}."
    return Judgement(
        good=good,
        comparison=comparison,
        threshold=threshold,
        sentence=sentence,
        flagged=tuple(row.key for row in counted),
        drifted=tuple(row.key for row in flagged if row.cause == "drift"),
        failed_outputs=tuple(row.key for row in failed),
        few_values=tuple(row.key for row in rows if row.is_output and row.elements < 64),
    )


def coverage_of(rows: Sequence[LayerRow]) -> Coverage:
    """Count what was compared."""
    compared = sum(bool(row.scores) for row in rows)
    skipped = sum(row.status is Status.SKIPPED for row in rows)
    unmatched = sum(row.status is Status.UNMATCHED for row in rows)
    rest = [f"{skipped} skipped"] * bool(skipped) + [f"{unmatched} unmatched"] * bool(unmatched)
    sentence = f"{compared} of {len(rows)} layers compared" + (f", {', '.join(rest)}" if rest else "") + "."
    return Coverage(len(rows), compared, skipped, unmatched, sentence)


def make_result(
    nodes: Sequence[Node],
    *,
    faults: Sequence[Fault] = (),
    seed: int = 0,
    samples: int = 64,
    two_models: bool = False,
    local: bool = False,
    synthetic: bool = False,
    details: bool = False,
    labels: bool = False,
    threshold: float = 0.98,
    bits: int = 8,
    name: str = "network",
) -> Result:
    """Make a whole result of a sample network.

    Args:
        nodes: The network.
        faults: What breaks it.
        seed: Of every drawn number.
        samples: Samples measured.
        two_models: Whether a fine-tuned network is compared with it.
        local: Whether local scores are there.
        synthetic: Whether the input was noise.
        details: Whether the layers have evidence.
        labels: Whether the true classes are known.
        threshold: Cosine below which a layer is flagged.
        bits: Bit width.
        name: The network's name.
    """
    rows = rows_of(nodes, faults, seed=seed, samples=samples, two_models=two_models, local=local, threshold=threshold)
    comparisons = TWO_MODELS if two_models else ONE_MODEL
    if local:
        comparisons += LOCAL + (LOCAL_TUNED if two_models else ())
    models = [
        ModelFacts(
            "first",
            "caffe",
            name,
            f"{name}.prototxt",
            f"{name}.caffemodel",
            "given by --float-prototxt",
            {f"{name}.caffemodel": "5f" * 32, f"{name}.prototxt": "a1" * 32},
        )
    ]
    if two_models:
        models.append(
            ModelFacts(
                "second",
                "caffe",
                f"{name} tuned",
                f"{name}_quant.prototxt",
                f"{name}_quant.caffemodel",
                "beside the weights",
                {f"{name}_quant.caffemodel": "7c" * 32},
            )
        )
    inputs = InputFacts(
        synthetic=synthetic,
        description="seeded uniform noise, seed 0" if synthetic else f"{samples} images from photographs/*.jpg",
        sample_count=samples,
        samples=tuple(f"image_{index:03d}.jpg" for index in range(samples)),
        preprocessing={} if synthetic else {"--mean": "104,117,123", "--channel-order": "bgr"},
        seed=0 if synthetic else None,
        sha256="0d" * 32,
    )
    second = f" {name}_quant.caffemodel" if two_models else ""
    rng = np.random.default_rng(seed + 2)
    evidence = {row.key: details_of(row, rng) for row in rows if row.scores} if details else {}
    task = task_of(rows, inputs.samples, two_models=two_models, seed=seed) if labels else None
    return Result(
        run=Run(
            tool_version="0.1.0",
            command=f"gfpq-inspect compare {name}.caffemodel{second} --input 'photographs/*.jpg'",
            models=tuple(models),
            inputs=inputs,
            bits=bits,
            coefficients="set",
            calibration=f"one coefficient a tensor from all {samples} samples (UPDATE, then APPLY_ONLY)",
            view="as stored",
            engine="layered",
            versions={"onnxruntime": "1.32.0", "numpy": "2.4.6", "python": "3.11"},
        ),
        comparisons=comparisons,
        coverage=coverage_of(rows),
        judgement=judgement_with_task(judge(rows, "total" if two_models else "both", threshold), task),
        layers=tuple(rows),
        coefficients=tuple(coefficients_of(rows, two_models=two_models, seed=seed, bits=bits)),
        findings=findings_of(rows) if faults else (),
        timing=Timing("2026-11-23T15:30:00Z", 12.34, {"read": 0.4, "plan": 0.9, "run": 11.04}, 412.0, {"cores": "2"}),
        task=task,
        details=whole_details(rows, evidence, samples),
    )


def tiny() -> Result:
    """Ten layers of a healthy network, with evidence."""
    return make_result(lenet(), seed=1, samples=500, details=True, labels=True, name="lenet")


def typical() -> Result:
    """Two hundred layers, two models, broken in the middle, with evidence."""
    faults = (Fault("res3c_branch2a", data=0.09), Fault("res4a_branch2c", weight=0.05), Fault("conf_conv", data=0.3))
    return make_result(residual_network(200), faults=faults, seed=2, details=True, local=True, name="resnet_ssd")


def typical_before() -> Result:
    """The network of `typical` before a change: another layer was broken, and a few layers had other names."""
    faults = (Fault("res2b_branch2a", data=0.12), Fault("conf_conv", data=0.3))
    nodes = [
        replace(node, name=f"{node.name}_old") if node.name.startswith("loc") else node
        for node in residual_network(200)
    ]
    return make_result(nodes, faults=faults, seed=6, local=True, name="resnet_ssd")


def tuned() -> Result:
    """Eighty layers, two models: a fine-tuned network that drifted in one place and survives."""
    faults = (Fault("res2c_branch2b", data=0.1),)
    return make_result(
        residual_network(80),
        faults=faults,
        seed=3,
        two_models=True,
        local=True,
        labels=True,
        samples=16,
        name="resnet_small",
    )


def large(layers: int = 1500, *, details: bool = True, two_models: bool = False) -> Result:
    """As many layers as a report must carry."""
    nodes = residual_network(layers, separator="/")
    faults = (Fault("stage5/block20/branch2b", data=0.06), Fault("stage9/block45/branch2a", weight=0.08))
    return make_result(nodes, faults=faults, seed=4, local=True, details=details, two_models=two_models, name="deep")


def awkward() -> Result:
    """Every status and every hostile name in one small result, on synthetic input."""
    chain = [Node("data", "Input", (), (1, 3, 8, 8))]
    for name in HOSTILE_NAMES:
        chain.append(Node(name, "Convolution", (len(chain) - 1,), (1, 4, 8, 8)))
    faults = (Fault(HOSTILE_NAMES[3], data=0.2), Fault(HOSTILE_NAMES[4], weight=0.1))
    result = make_result(chain, faults=faults, seed=5, samples=1, synthetic=True, details=True, name="<b>evil</b>")
    rows = list(result.layers)
    special = (
        ("exact", Scores(Status.EXACT, count=64, cosine=1.0, rel_l2=0.0, norm_ratio=1.0, equal_share=1.0)),
        ("both zero", Scores(Status.BOTH_ZERO, "both sides are zero everywhere", count=64, cosine=1.0)),
        ("reference zero", Scores(Status.REF_ZERO, "the float side is zero everywhere", count=64, cosine=0.0)),
        (
            "test zero",
            Scores(
                Status.TEST_ZERO,
                "the quantized side is zero everywhere",
                count=64,
                cosine=0.0,
                sqnr_db=0.0,
                rel_l2=1.0,
                norm_ratio=0.0,
            ),
        ),
        (
            "non-finite",
            Scores(
                Status.NONFINITE,
                "3 NaN in the quantized lane, first at element 7",
                (Status.TINY,),
                count=61,
                cosine=0.91,
                sqnr_db=7.1,
                nonfinite_test=3,
                first_nonfinite=7,
            ),
        ),
        ("constant", Scores(Status.CONSTANT, "the float side is constant", count=64, cosine=0.999, sqnr_db=27.0)),
        ("tiny", Scores(Status.TINY, "10 values in all", count=10, cosine=0.97, sqnr_db=12.0)),
        ("integers", Scores(Status.NOT_FLOAT, "int64", count=64, equal_share=0.75)),
    )
    base = rows[-1]
    for name, scores in special:
        flagged = scores.status in {Status.NONFINITE, Status.REF_ZERO, Status.TEST_ZERO}
        rows.append(
            replace(
                base,
                key=name,
                layer=name,
                name=name,
                type="Reshape",
                index=len(rows),
                quantized=False,
                inputs=(rows[-1].key,),
                scores=dict.fromkeys(("data", "weight", "both"), scores),
                isolation=None,
                is_output=False,
                verdict=Verdict.FLAGGED if flagged else Verdict.NOT_JUDGED,
                cause="non-finite" if scores.status is Status.NONFINITE else "mixed" if flagged else None,
                cause_reason=scores.reason if flagged else "",
            )
        )
    unmatched = replace(
        base,
        key="only first",
        layer="only first",
        name="only first",
        index=len(rows),
        side="first",
        status=Status.UNMATCHED,
        reason="no layer of this name in the second network",
        understood=False,
        scores={},
        isolation=None,
        verdict=Verdict.FLAGGED,
        cause="unmatched",
        cause_reason="not paired",
        is_output=False,
    )
    misshapen = replace(
        unmatched,
        key="shapes",
        layer="shapes",
        name="shapes",
        index=len(rows) + 1,
        side="both",
        partner="shapes",
        status=Status.SHAPE_MISMATCH,
        reason="1x4x8x8 against 1x8x8x8",
        understood=True,
        cause="mixed",
    )
    rows += [unmatched, misshapen]
    return replace(
        result,
        layers=tuple(rows),
        coverage=coverage_of(rows),
        judgement=replace(judge(rows, "both", 0.98), partial=True),
        findings=result.findings,
    )


SAMPLES = {"tiny": tiny, "typical": typical, "tuned": tuned, "awkward": awkward}
"""The samples that are kept as files; `large` is made when it is wanted."""
