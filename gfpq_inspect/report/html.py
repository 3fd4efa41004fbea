"""The HTML report: one file that opens by double click, without a network, and asks for nothing.

Verdict, findings, facts, help and a plain table of the worst layers are written here; the rest is drawn by the page's
own scripts from two blocks of data. All text that comes from models passes `visible` and the template's escaping, or
`json_block`.
"""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Sequence
from typing import Any

from gfpq_inspect.analyze.result import LayerRow, Result, Verdict
from gfpq_inspect.report import story
from gfpq_inspect.report.assets import chart_library, link_scripts, read_asset, script_hash
from gfpq_inspect.report.compare import Difference, compare_results
from gfpq_inspect.report.jsonfile import canonical
from gfpq_inspect.report.page_data import COEFFICIENT_COLUMNS, coefficient_rows, page_data
from gfpq_inspect.report.page_details import DetailsBlock, details_block
from gfpq_inspect.report.task_figure import task_loss
from gfpq_inspect.report.text import cosine_text, percent, plural, shortened, sqnr_text, visible
from gfpq_inspect.report.tuning_figure import tuning_text

PLAIN_TABLE_ROWS = 50
BYTES_A_LAYER = 3_000
SMALLEST_DETAILS_BUDGET = 96_000
PAGE_LIMIT = 5_000_000
SHELL_LIMIT = 120_000
SHOWN_OUTPUTS = 8
NAME_IN_TEXT = 80
LONGEST_TEXT = 600
CHART_SLOT = "\N{LEFTWARDS ARROW}chart library\N{RIGHTWARDS ARROW}"


def render_html(result: Result, baseline: Result | None = None) -> str:
    """Render the page.

    Args:
        result: The result.
        baseline: An earlier result of the same network to set beside it.

    Returns:
        The page; the same bytes for the same results and the same installed packages.
    """
    return render_shell(result, baseline).replace(CHART_SLOT, chart_library().packed)


def render_shell(result: Result, baseline: Result | None = None) -> str:
    """Render the page with a mark in the place of the chart library, which golden pages leave out."""
    result = canonical(result)
    difference = compare_results(result, canonical(baseline)) if baseline is not None else None
    scripts = {f"{name}_script": link_scripts(name) for name in ("theme", "main", "parsed")}
    summary = json_block(page_data(result, DetailsBlock((), (), ()), difference))
    limit = min(PAGE_LIMIT - SHELL_LIMIT, BYTES_A_LAYER * len(result.layers))
    details = details_block(result, max(SMALLEST_DETAILS_BUDGET, limit - len(summary)), coefficient_rows(result))
    context = page_context(result, difference)
    context |= {
        "policy": content_policy(list(scripts.values())),
        "styles": read_asset("template", "report.css"),
        **scripts,
        "data": json_block(page_data(result, details, difference)),
        "chunks": details.chunks,
        "trimmed": len(details.trimmed),
        "coefficient_columns": json_block(COEFFICIENT_COLUMNS),
        "chart_slot": CHART_SLOT,
        "chart_library": chart_library(),
    }
    return str(template().render(context))


@functools.cache
def template() -> Any:
    """The template, with everything escaped unless it says otherwise."""
    import jinja2  # noqa: PLC0415  (only pages need it)

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: read_asset("template", name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "visible": lambda text: visible(str(text)[:LONGEST_TEXT]),
        "name": lambda text: shortened(str(text), NAME_IN_TEXT),
        "cosine": cosine_text,
        "sqnr": sqnr_text,
        "percent": percent,
        "plural": plural,
        "number": number,
        "fragment": fragment,
    }
    return environment.get_template("report.html")


def json_block(value: Any) -> str:
    """JSON that cannot end its script element, whatever names it holds; the one door for names into scripts."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def content_policy(scripts: Sequence[str]) -> str:
    """The content policy: only our own scripts, known by their hashes, and the chart library from its own blob."""
    hashes = " ".join(script_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} blob:; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; base-uri 'none'; form-action 'none'"
    )


def fragment(key: str) -> str:
    """The address, within the page, of a layer's page."""
    from urllib.parse import quote  # noqa: PLC0415  (small)

    text = key.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return html.escape(f"#layer={quote(text, safe='')}")


def number(value: Any) -> str:
    """A plain value of an evidence table, for people."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return visible(str(value)[:LONGEST_TEXT])
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if isinstance(value, int) else f"{value:.5g}"


def page_context(result: Result, difference: Difference | None) -> dict[str, Any]:
    """Everything that the template writes itself."""
    told = [f for f in result.findings if f.severity in {"error", "warning", "note"}]
    told.sort(key=lambda f: story.SEVERITIES.index(f.severity))
    rows = {row.key: row for row in result.layers}
    return {
        "result": result,
        "run": result.run,
        "judgement": result.judgement,
        "title": page_title(result),
        "models_text": story.models_text(result),
        "judged_text": story.judged_text(result),
        "notices": story.notices(result),
        "tiles": tiles(result),
        "first_bad": story.first_bad(result),
        "isolation": story.isolation_of(result, found.row) if (found := story.first_bad(result)) else None,
        "votes": story.votes_text(result),
        "task": story.task_tables(result),
        "task_chart": task_loss(result) is not None,
        "tuning": tuning_text(result),
        "change_columns": story.CHANGE_COLUMNS,
        "causes": story.causes_text(result),
        "findings": told,
        "passed": [f for f in result.findings if f.severity == "passed"],
        "inapplicable": [f for f in result.findings if f.severity == "not applicable"],
        "rows": rows,
        "not_compared": reasons(story.not_compared(result)),
        "plain_rows": story.worst_first(result)[:PLAIN_TABLE_ROWS],
        "outputs": story.outputs(result)[:SHOWN_OUTPUTS],
        "lanes": story.lanes_shown(result),
        "difference": difference,
        "metrics": metric_help(),
    }


def page_title(result: Result) -> str:
    """Title of the browser's tab: verdict and network."""
    name = result.run.models[0].name if result.run.models else "network"
    return f"{'PASS' if result.judgement.good else 'FAIL'} {shortened(name, NAME_IN_TEXT)} · gfpq-inspect"


def tiles(result: Result) -> list[tuple[str, str, str]]:
    """The few numbers beside the verdict: label, number, small print."""
    judged = [row for row in result.layers if row.verdict is not Verdict.NOT_JUDGED]
    flagged = sum(row.verdict is Verdict.FLAGGED for row in judged)
    watched = sum(row.verdict is Verdict.WATCH for row in judged)
    found = [("flagged layers", f"{flagged}", f"of {len(judged)} judged, {watched} to watch")]
    scored = [row for row in judged if story.judged_scores(result, row)]
    for label, rows in (("worst output", story.outputs(result)), ("worst layer", scored)):
        row = min(rows, key=lambda candidate: story.badness(result, candidate), default=None)
        scores = story.judged_scores(result, row) if row is not None else None
        if row is not None and scores is not None:
            found.append((label, cosine_text(scores.cosine), f"{sqnr_text(scores)} dB · {shortened(row.name, 24)}"))
    samples = result.run.inputs.sample_count
    found.append(("samples", f"{samples}", "synthetic noise" if result.run.inputs.synthetic else "measured"))
    return found


def reasons(rows: Sequence[LayerRow]) -> list[tuple[str, str, list[LayerRow]]]:
    """Layers that were not compared, by status and reason."""
    grouped: dict[tuple[str, str], list[LayerRow]] = {}
    for row in rows:
        grouped.setdefault((row.status.value.lower().replace("_", " "), row.reason), []).append(row)
    return [(status, reason, members) for (status, reason), members in grouped.items()]


def metric_help() -> Sequence[Any]:
    """The table of metrics with their formulas, from the room that computes them."""
    from gfpq_inspect.analyze.metrics import METRICS  # noqa: PLC0415  (loads the native core)

    return METRICS
