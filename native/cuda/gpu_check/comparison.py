"""`gfpq-inspect compare --device cuda` against the CPU's engine on this machine: agreement, findings, time an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .build import ROOT
from .report import Report

LARGE = 4096
"""Elements from which scores are compared; below, a single code that falls to the other side shows."""

COSINE, SQNR_DB = 1e-4, 0.1


def run(report: Report, work: Path) -> None:
    """Compare two networks on both engines."""
    digits = ROOT / "fixtures" / "digits"
    made = work / "residual.onnx"
    make_network(made)
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("digits, 64 images", {"first": digits / "float.caffemodel", "second": digits / "quant.caffemodel",
                               "inputs": (str(_images(digits / "test.npz", work, 64)),)}, 64),
        ("residual network 3x224x224, 24 images", {"first": made}, 24),
    ]  # fmt: skip
    lines = []
    for title, options, count in cases:
        for bits in (8, 16):
            cpu, cpu_s = _compare({**options, "bits": bits}, count, "cpu")
            _compare({**options, "bits": bits}, min(count, 2), "cuda")  # libraries are loaded, kernels compiled
            gpu, gpu_s = _compare({**options, "bits": bits}, count, "cuda")
            text = f"{title}, {bits} bit"
            agree(report, text, cpu, gpu)
            lines.append(
                f"{text}: {cpu_s / count * 1e3:.1f} ms an image on the CPU, {gpu_s / count * 1e3:.1f} ms on the GPU "
                f"({cpu_s / gpu_s:.1f} times as fast); {gpu.run.engine}"
            )
            print("   " + lines[-1], flush=True)
    report.texts["compare on both engines"] = "\n".join(lines)


def agree(report: Report, title: str, one: Any, other: Any) -> None:
    """Check two results: findings, verdict, statuses, scores of large tensors."""
    cosine = sqnr_db = 0.0
    compared = 0
    statuses = []
    for row, twin in zip(one.layers, other.layers, strict=True):
        for name, scores in row.scores.items():
            found = twin.scores[name]
            if scores.status != found.status:
                statuses.append(f"{row.name} {name}: {scores.status} and {found.status}")
            if row.elements < LARGE or scores.cosine is None or found.cosine is None:
                continue
            compared += 1
            cosine = max(cosine, abs(scores.cosine - found.cosine))
            if scores.sqnr_db is not None and found.sqnr_db is not None:
                sqnr_db = max(sqnr_db, abs(scores.sqnr_db - found.sqnr_db))
    deltas = [
        f"{a.layer} {a.tensor}: {a.delta} and {b.delta}"
        for a, b in zip(one.coefficients, other.coefficients, strict=True)
        if a.delta != b.delta
    ]
    detail = f"cosine within {cosine:.1e}, SQNR within {sqnr_db:.4f} dB over {compared} scores"
    report.check("compare", f"{title}: scores", cosine <= COSINE and sqnr_db <= SQNR_DB, detail)
    report.check("compare", f"{title}: coefficients", not deltas, "; ".join(deltas[:5]))
    report.check("compare", f"{title}: statuses", not statuses, "; ".join(statuses[:5]))
    findings = [[(entry.id, entry.severity, entry.layers) for entry in result.findings] for result in (one, other)]
    report.check("compare", f"{title}: findings", findings[0] == findings[1], f"{len(findings[0])} findings")
    flagged = [(result.judgement.good, result.judgement.flagged) for result in (one, other)]
    report.check("compare", f"{title}: verdict", flagged[0] == flagged[1], one.judgement.sentence)


def _compare(options: dict[str, Any], count: int, device: str) -> tuple[Any, float]:
    """The result, and the seconds that calibrating and measuring took (reading and findings are the same on both)."""
    from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare  # noqa: PLC0415  (importable once it was built)
    from gfpq_inspect.analyze.session import compare_networks  # noqa: PLC0415
    from gfpq_inspect.inputs.options import InputOptions  # noqa: PLC0415

    request = prepare(ComparisonOptions(preprocessing=InputOptions(samples=count, seed=5), device=device, **options))
    result = compare_networks(request)
    assert result.timing is not None
    return result, result.timing.phases_s["calibrate"] + result.timing.phases_s["measure"]


def _images(file: Path, work: Path, count: int) -> Path:
    target = work / "digits.npz"
    with np.load(file) as archive:
        np.savez(target, data=archive["data"][:count])
    return target


def make_network(path: Path) -> None:
    """A residual network with seeded weights: 22 convolutions, 1.2 thousand million multiply-adds an image."""
    import onnx  # noqa: PLC0415  (only this check needs it)
    from onnx import helper, numpy_helper  # noqa: PLC0415

    random = np.random.default_rng(12)
    nodes, initializers = [], []

    def node(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(source: str, name: str, channels: tuple[int, int], stride: int, kernel: int = 3) -> str:
        scale = (2.0 / (channels[0] * kernel**2)) ** 0.5
        weight = (scale * random.standard_normal((channels[1], channels[0], kernel, kernel))).astype(np.float32)
        bias = (0.05 * random.standard_normal(channels[1])).astype(np.float32)
        initializers.extend([numpy_helper.from_array(weight, f"{name}_w"), numpy_helper.from_array(bias, f"{name}_b")])
        edge = kernel // 2
        return node("Conv", [source, f"{name}_w", f"{name}_b"], name, pads=[edge] * 4, strides=[stride] * 2)

    value = node("Relu", [conv("data", "stem", (3, 32), 2, 7)], "stem_relu")
    value = node("MaxPool", [value], "stem_pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 32
    for stage, wide in enumerate((48, 96, 192, 256)):
        for block in range(2):
            name, stride = f"s{stage}b{block}", 2 if block == 0 and stage else 1
            first = node("Relu", [conv(value, f"{name}_1", (channels, wide), stride)], f"{name}_relu")
            second = conv(first, f"{name}_2", (wide, wide), 1)
            if channels != wide:
                value = conv(value, f"{name}_side", (channels, wide), stride, 1)
            value = node("Relu", [node("Add", [second, value], f"{name}_sum")], f"{name}_out")
            channels = wide
    value = node("Flatten", [node("GlobalAveragePool", [value], "pool")], "flat")
    weight = (0.05 * random.standard_normal((channels, 100))).astype(np.float32)
    initializers.append(numpy_helper.from_array(weight, "fc_w"))
    node("MatMul", [value, "fc_w"], "logits")
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 100])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
