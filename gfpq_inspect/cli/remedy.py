"""`gfpq-inspect remedy`: tries cures of flagged layers and plans the fewest 16-bit layers that reach a target."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.input_options import FeedArguments, Seed
from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_PASS
from gfpq_inspect.cli.network_options import AllowMissing, AllowUnknownFields, InputShapes
from gfpq_inspect.cli.option_groups import with_option_groups
from gfpq_inspect.cli.progress import shown_progress
from gfpq_inspect.errors import UsageError
from gfpq_inspect.files import check_writable, write_atomically
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from gfpq_inspect.analyze.remedies.search import Remedy


@with_option_groups
def remedy(
    network: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float network: .caffemodel, .h5 or .onnx.")],
    *,
    feed: FeedArguments,
    prototxt: Annotated[Path | None, typer.Option(help="Its structure; otherwise looked for beside it.")] = None,
    input_shape: InputShapes = None,
    allow_missing: AllowMissing = False,
    allow_unknown_fields: AllowUnknownFields = False,
    fold: Annotated[bool, typer.Option("--fold", help="Fold BatchNorm, Scale and Bias first.")] = False,
    seed: Seed = 0,
    bits: Annotated[int, typer.Option(help="8 or 16: width of the layers that no remedy touches.")] = 8,
    target: Annotated[float, typer.Option(help="Cosine that every network output should reach.")] = 0.98,
    most: Annotated[int, typer.Option(min=0, max=1000, help="Layers on which every remedy is tried.")] = 3,
    candidates: Annotated[int, typer.Option(min=1, max=10000, help="Layers that the plan may choose from.")] = 24,
    by_cost: Annotated[
        bool, typer.Option("--by-cost", help="Spare multiply-adds in 16 bit rather than layers.")
    ] = False,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="Write the plan (compare --plan replays it).")
    ] = None,
    prototxt_out: Annotated[
        Path | None, typer.Option(help="Write the prototxt with _hp at the end of the planned layers' names.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all that was tried.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace output files that exist.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Samples in flight, one thread each.")] = 2,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Try remedies on the layers that cost most, and plan the fewest 16-bit layers that reach a target.

    Tried are: 16 bit, float, another coefficient, a percentile, equalization with the layer before, bias correction;
    each is run through the whole network, so that the gains are measured.

    Exit code 0: the plan reaches the target; 1: it does not; 2: usage or bad input.

    Example: gfpq-inspect remedy net.caffemodel --input 'photographs/*.jpg' --target 0.99 --plan net.plan.json
    """
    from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
    from gfpq_inspect.analyze.remedies import search
    from gfpq_inspect.analyze.remedies.plan import with_hp_names
    from gfpq_inspect.analyze.remedies.trial import Bench
    from gfpq_inspect.analyze.session import compare_networks
    from gfpq_inspect.inputs.options import parse_input_shapes

    if bits not in (8, 16):
        raise UsageError(f"GFPQ has 8 and 16 bits, not {bits}; give 8 or 16.")
    if not 0 < target <= 1:
        raise UsageError(f"the target {target:g} is no cosine: give a number above 0 and up to 1.")
    for path in (plan_file, prototxt_out, json_file):
        if path is not None:
            check_writable(path, overwrite=force)
    request = prepare(
        ComparisonOptions(
            first=network,
            first_structure=prototxt,
            input_shapes=parse_input_shapes(input_shape or ()),
            inputs=feed.sources,
            preprocessing=feed.preprocessing(seed),
            bits=bits,
            fold=fold,
            workers=workers,
            allow_missing=allow_missing,
            allow_unknown_fields=allow_unknown_fields,
            timing=False,
        )
    )
    with shown_progress(quiet=quiet) as progress:
        result = compare_networks(replace(request, threshold=target), progress)
        bench = Bench(request.first, request.source, bits, workers)
        ranked = search.candidates(result, request.first, max(most, candidates))
        progress.phase("trying remedies", most + candidates)
        trials = search.Search.of(bench, progress)
        tried: list[Remedy] = []
        for candidate in ranked[:most]:
            progress.advance(1, candidate.layer.name)
            evidence = result.details.get("layers", {}).get(candidate.row, {})
            tried += trials.all_of(candidate, evidence)
        plan, chosen = trials.plan(ranked[:candidates], target, by_cost=by_cost)
    base = trials.base
    print(f"Without a remedy: lowest output cosine {base.worst_output:.5f} ({base.output_db:.2f} dB).")
    for one in tried:
        print(
            visible(
                f"  {one.layer}: {one.text}: {one.layer_gain_db:+.2f} dB at the layer, {one.output_gain_db:+.2f} dB "
                f"at the outputs (cosine {one.output_cosine:.5f})"
            )
        )
    reaches = plan.reached >= target
    names = ", ".join(candidate.layer.name for candidate in chosen) or "no layer"
    cost = sum(candidate.layer.multiply_adds or 0 for candidate in chosen)
    word = "reaches" if reaches else "does not reach"
    print(visible(f"Plan: 16 bit for {names} ({len(chosen)} layers, {cost:,} multiply-adds)."))
    print(f"With it the lowest output cosine is {plan.reached:.5f}, which {word} {target:g}.")
    if plan_file is not None:
        write_atomically(plan_file, plan.text(), overwrite=force)
    if prototxt_out is not None:
        structure = request.first.origin.structure_file
        if structure is None or not structure.endswith(".prototxt"):
            raise UsageError(
                "--prototxt-out needs a network with a prototxt of its own; write the plan with --plan instead"
            )
        text = with_hp_names(Path(structure).read_text(encoding="utf-8"), [one.layer for one in chosen])
        write_atomically(prototxt_out, text, overwrite=force)
    if json_file is not None:
        content = {"remedies": [asdict(one) for one in tried], "plan": json.loads(plan.text())}
        write_atomically(json_file, json.dumps(content, indent=2) + "\n", overwrite=force)
    written = [str(path) for path in (plan_file, prototxt_out, json_file) if path is not None]
    if written:
        print(f"Wrote {', '.join(written)}.")
    return EXIT_PASS if reaches else EXIT_GATE_FAILED
