"""The HTML report as text: sizes, determinism, one door for hostile names, golden pages."""

from __future__ import annotations

import base64
import gzip
import html.parser
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.errors import InternalError
from gfpq_inspect.report import figures
from gfpq_inspect.report.assets import chart_library, link_scripts, script_hash
from gfpq_inspect.report.compare import compare_results
from gfpq_inspect.report.html import CHART_SLOT, render_html, render_shell
from gfpq_inspect.report.jsonfile import parse_result, read_result, render_json
from gfpq_inspect.report.layer_figures import layer_figures
from gfpq_inspect.report.layout import graph_layout
from gfpq_inspect.report.page_details import details_block
from tests.report import samples
from tests.report.golden import GOLDEN, KEPT, SAMPLES, golden_page, golden_text, without_library

DATA = re.compile(r'<script type="application/json" id="page-data">(.*?)</script>', re.DOTALL)
CHUNK = re.compile(r'<script type="text/plain" id="details-\d+">(.*?)</script>', re.DOTALL)


@pytest.fixture(scope="module")
def large_page() -> str:
    return render_shell(samples.large())


def shell_of(page: str) -> str:
    return CHUNK.sub("", DATA.sub("", page)).replace(CHART_SLOT, "")


@pytest.mark.parametrize("name", KEPT)
def test_golden_pages_and_texts(name: str) -> None:
    result = read_result(SAMPLES / f"{name}.json")
    expected = (GOLDEN / f"{name}.html").read_text(encoding="utf-8")
    again = "run: python -m tests.report.rebaseline"
    assert without_library(golden_page(result)) == without_library(expected), again
    assert golden_text(result) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8"), again


@pytest.mark.parametrize("name", KEPT)
def test_kept_results_are_those_of_their_seeds(name: str) -> None:
    kept, made = read_result(SAMPLES / f"{name}.json"), samples.SAMPLES[name]()
    assert [row.key for row in kept.layers] == [row.key for row in made.layers]
    assert kept.judgement == made.judgement


def test_saved_results_render_to_the_same_bytes(tmp_path: Path) -> None:
    result = samples.tuned()
    page = render_html(result)
    assert render_html(parse_result(render_json(result), "x")) == page
    program = (
        "import sys; sys.path.insert(0, '.'); from gfpq_inspect.report.html import render_html; "
        "from tests.report.samples import tuned; open(sys.argv[1], 'w').write(render_html(tuned()))"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "again.html")], cwd=root, check=True)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_the_shell_is_small() -> None:
    assert len(shell_of(render_shell(samples.tiny())).encode()) < 120_000


def test_the_chart_library_is_small_and_whole() -> None:
    library = chart_library()
    assert len(library.packed) < 2_100_000
    source = gzip.decompress(base64.b64decode(library.packed))
    assert source.startswith(b"/**\n* plotly.js v" + library.version.encode())


def test_1500_layers_fit_the_budget(large_page: str) -> None:
    size = len(large_page.encode())
    assert size < 5_000_000
    assert size - len(shell_of(large_page).encode()) <= 3_000 * 1500 * 1.02
    assert "lost histogram bins" in large_page


def test_typical_networks_fit_the_budget() -> None:
    page = render_shell(samples.typical())
    assert len(page.encode()) - len(shell_of(page).encode()) <= 3_000 * 197 * 1.05


def test_the_healthiest_layers_lose_bins_first() -> None:
    result = samples.typical()
    whole = details_block(result, 10**9)
    assert whole.trimmed == ()
    some = details_block(result, int(whole.size * 0.8))
    assert some.trimmed
    flagged = {i for i, row in enumerate(result.layers) if row.key in result.judgement.flagged}
    assert not flagged & set(some.trimmed)
    assert some.size <= whole.size * 0.82


def test_the_page_says_nothing_of_lost_bins_where_none_are_lost() -> None:
    assert "lost histogram bins" not in render_shell(samples.tiny())


class Elements(html.parser.HTMLParser):
    """Collects elements, attributes and the text outside of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        self.inside = tag if tag in {"script", "style"} else self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.text.append(data)


def parsed(page: str) -> Elements:
    elements = Elements()
    elements.feed(page)
    return elements


def test_hostile_names_add_no_element_and_no_listener() -> None:
    elements = parsed(render_shell(samples.awkward()))
    assert not {"img", "b1", "iframe", "object", "link", "form"} & set(elements.names)
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    scripts = elements.names.count("script")
    assert scripts == parsed(render_shell(samples.tiny())).names.count("script")
    addresses = [value or "" for name, value in elements.attributes if name in {"href", "src"}]
    assert all(address.startswith("#") for address in addresses)
    assert not set("".join(elements.text)) & set("\x1b\x07\u202e\u200f\u2028\u2029")


def test_data_cannot_end_its_element() -> None:
    match = DATA.search(render_shell(samples.awkward()))
    assert match is not None
    assert not set(match[1]) & set("<>&\u2028\u2029")
    data = json.loads(match[1])
    assert set(samples.HOSTILE_NAMES) <= set(data["strings"])


def test_only_our_own_scripts_may_run() -> None:
    page = render_html(samples.tiny())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = html.unescape(policy[1])
    assert "default-src 'none'" in rules
    assert "unsafe-eval" not in rules
    assert "script-src 'sha256-" in rules
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 3
    assert all(script_hash(script) in rules for script in scripts)


def test_no_address_of_another_host_is_in_the_page() -> None:
    page = shell_of(render_shell(samples.typical()))
    addresses = set(re.findall(r"https?://[^\s\"'<>`)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_no_markup_is_ever_made_from_text_in_our_scripts() -> None:
    script = link_scripts("main")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert word not in script


def test_every_figure_is_one_that_plotly_accepts() -> None:
    for name in KEPT:
        result = samples.SAMPLES[name]()
        for metric in figures.NETWORK_METRICS:
            figures.figure(figures.network_error(result, metric, reading="alone"))
            figure = figures.figure(figures.network_error(result, metric))
            judged = next(t for t in figure.data if (t.meta or {}).get("comparison") == result.judgement.comparison)
            values = [getattr(r.scores.get(result.judgement.comparison), metric, None) for r in result.layers]
            assert list(judged.y) == values or judged.name == "flagged"
        for evidence in list(result.details.get("layers", {}).values())[:12]:
            for _, title, note, spec in layer_figures(evidence):
                figures.figure(spec)
                assert title
                assert note.endswith(".")


def test_charts_need_no_part_of_the_evidence() -> None:
    evidence = samples.tiny().details["layers"]["conv1"]
    everything = {identifier for identifier, *_ in layer_figures(evidence)}
    assert everything == {"values-0", "errors", "density", "channels", "ranges", "codes"}
    for part in evidence:
        left = layer_figures({name: value for name, value in evidence.items() if name != part})
        assert {identifier for identifier, *_ in left} < everything or part == "worst"
    assert layer_figures({}) == []


def test_names_in_hover_text_are_escaped() -> None:
    assert figures.plotly_text('<a href="x">&lt;') == '&lt;a href="x"&gt;&amp;lt;'
    texts = next(trace["text"] for trace in figures.network_error(samples.awkward())["data"] if "text" in trace)
    assert not any("<" in text for text in texts)


def test_results_without_scores_or_layers_still_render() -> None:
    empty = replace(samples.tiny(), layers=(), coefficients=(), findings=(), comparisons=(), details={}, timing=None)
    assert "page-data" in render_shell(empty)
    bare = [replace(row, scores={}, isolation=None) for row in samples.tiny().layers]
    assert "page-data" in render_shell(replace(samples.tiny(), layers=tuple(bare)))
    float_only = replace(samples.tiny(), run=replace(samples.tiny().run, bits=None))
    assert "GFPQ, None" not in render_shell(float_only)


def test_a_baseline_adds_its_view() -> None:
    result, before = samples.typical(), samples.typical_before()
    difference = compare_results(result, before)
    assert {delta.direction for delta in difference.deltas} == {"better", "worse", "same"}
    assert set(difference.new) == {"loc_conv", "loc_perm"}
    assert set(difference.gone) == {"loc_conv_old", "loc_perm_old"}
    page = render_shell(result, before)
    assert 'id="compare"' in page
    assert "loc_conv_old" in page
    assert 'id="compare"' not in render_shell(result)


def test_the_same_result_against_itself_shows_no_change() -> None:
    difference = compare_results(samples.tuned(), samples.tuned())
    assert all(delta.direction == "same" for delta in difference.deltas)
    assert difference.new == difference.gone == ()


# ----- layout of the graph -----------------------------------------------------------------------------------------


def test_edges_point_down_and_boxes_do_not_overlap() -> None:
    for make in (*samples.SAMPLES.values(), lambda: samples.large(details=False)):
        rows = make().layers
        layout = graph_layout(rows)
        assert all(layout.rank[a] < layout.rank[b] for a, b in layout.edges)
        places = list(zip(layout.rank, layout.column, strict=True))
        assert len(set(places)) == len(places)
        by_rank: dict[int, list[int]] = {}
        for rank, column in places:
            by_rank.setdefault(rank, []).append(column)
        for columns in by_rank.values():
            columns.sort()
            assert all(b - a >= 2 for a, b in itertools.pairwise(columns))


def test_loops_of_a_damaged_file_end() -> None:
    rows = list(samples.tiny().layers)
    rows[1] = replace(rows[1], inputs=(rows[4].key,))
    rows[3] = replace(rows[3], inputs=(rows[3].key, "nothing"))
    assert len(graph_layout(rows).rank) == len(rows)


def test_blocks_come_from_prefixes() -> None:
    names = dict(
        zip((row.key for row in samples.typical().layers), graph_layout(samples.typical().layers).groups, strict=True)
    )
    assert names["res3c_branch2a_bn"] == "res3c"
    assert names["res3c"] == "res3c"
    assert names["data"] == ""
    deep = samples.large(details=False).layers
    grouped = dict(zip((row.key for row in deep), graph_layout(deep).groups, strict=True))
    assert grouped["stage5/block20/branch2b"] == "stage5/block20"


# ----- joining script modules ---------------------------------------------------------------------------------------


def link(modules: dict[str, str], entry: str = "a") -> str:
    return link_scripts(entry, modules.__getitem__)


def test_modules_are_joined_in_the_order_of_need() -> None:
    joined = link({"a": 'import { b } from "./b.js";\nb();\n', "b": "export function b() {}\n"})
    assert joined == '(() => {\n"use strict";\nfunction b() {}\nb();\n})();\n'


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ({"a": 'import { c } from "./b.js";\n', "b": "export const b = 1;\n"}, "does not export c"),
        (
            {"a": 'import { b } from "./b.js";\nconst x = 1;\n', "b": "const x = 2;\nexport const b = 1;\n"},
            "both declare x",
        ),
        ({"a": 'import { b } from "./b.js";\n', "b": 'import { a } from "./a.js";\n'}, "import each other"),
        ({"a": 'import b from "./b.js";\n'}, "not of the form"),
        ({"a": 'const x = "</script>";\n'}, "would end the script"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(modules: dict[str, str], words: str) -> None:
    with pytest.raises(InternalError, match=words):
        link(modules)


def test_evidence_of_an_unknown_kind_is_passed_over() -> None:
    odd: dict[str, Any] = {"layers": {"conv1": {"later": [1, 2]}, "no such layer": {"values": []}}}
    result: Result = replace(samples.tiny(), details=odd)
    assert "page-data" in render_shell(result)
