"""Results that look like real ones, made from a seed: for tests of every renderer, and for the sample pages.

A network is a list of blocks; each quantized layer adds noise to the lanes, later layers pass it on, and planted
faults add much more. The numbers of a row agree with each other (cosine, SQNR, relative L2, isolation), as those of a
real run do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gfpq_inspect.analyze.result import (
    Coverage,
    Finding,
    InputFacts,
    Judgement,
    LayerRow,
    ModelFacts,
    Result,
    Run,
    Scores,
    Status,
    Timing,
    Verdict,
)
from gfpq_inspect.analyze.task_meter import judgement_with_task

from .sample_networks import (
    HOSTILE_NAMES,
    LOCAL,
    LOCAL_TUNED,
    ONE_MODEL,
    TWO_MODELS,
    Fault,
    Node,
    lenet,
    residual_network,
)
from .sample_rows import coefficients_of, details_of, rows_of, task_of, whole_details


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
