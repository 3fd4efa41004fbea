"""The HTML report in a real browser: what a reader does, on three sizes of network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from gfpq_inspect.report import story
from gfpq_inspect.report.compare import compare_results
from gfpq_inspect.report.text import cosine_text, sqnr_text, visible
from tests.browser.conftest import NARROW, WIDE, Opened, sample
from tests.report import samples

pytestmark = pytest.mark.browser
Open = Callable[..., Opened]
ARTEFACTS = Path(__file__).resolve().parents[1] / "artefacts"


@pytest.mark.parametrize("name", ["tiny", "typical", "large"])
def test_verdict_findings_and_every_layer_are_there(open_page: Open, name: str) -> None:
    opened = open_page(name)
    result = sample(name)
    assert opened.page.locator("h1").first.inner_text() == result.judgement.sentence
    opened.page.wait_for_function(
        "n => document.querySelectorAll('#layer-table tbody tr').length === n", arg=len(result.layers)
    )
    for finding in result.findings:
        assert opened.page.get_by_text(finding.title).count() >= 1
    assert opened.page.locator("#layer-count").inner_text() == f"{len(result.layers)} layers"
    opened.wait_for_charts()


@pytest.mark.parametrize("name", ["tiny", "typical", "large"])
def test_a_number_of_the_charts_table_is_that_of_the_result(open_page: Open, name: str) -> None:
    opened = open_page(name)
    opened.wait_for_charts()
    opened.page.locator("#network-chart summary").click()
    row = story.worst_first(sample(name))[0]
    line = opened.page.locator(
        "#network-chart tbody tr", has=opened.page.get_by_role("rowheader", name=row.name, exact=True)
    )
    line.wait_for()  # the table is filled once it is opened
    titles = opened.page.locator("#network-chart thead th").all_text_contents()
    judged = sample(name).judgement.comparison
    column = next(i for i, title in enumerate(titles) if title.startswith(f"{judged}: "))
    shown = line.locator("th, td").nth(column).inner_text()
    assert float(shown.replace("\u202f", "")) == pytest.approx(row.scores[judged].sqnr_db, rel=1e-4)


def test_sorting_by_click_and_by_address(open_page: Open) -> None:
    opened = open_page("typical")
    result = sample("typical")
    scored = [row for row in result.layers if row.scores]
    worst = sorted(scored, key=lambda row: row.scores["both"].sqnr_db or 0)
    header = opened.page.locator("#layer-table th").filter(has_text=re.compile(r"^both dB"))
    header.get_by_role("button").click()
    assert opened.rows()[:5] == [row.name for row in worst[:5]]
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert opened.rows()[:3] == [row.name for row in worst[::-1][:3]]
    address = opened.page.url.split("#")[1]
    assert "sort=-both.sqnr_db" in address
    again = open_page("typical", f"#{address}")
    assert again.rows()[:3] == opened.rows()[:3]


def test_search_filters_and_ranges(open_page: Open) -> None:
    opened = open_page("typical")
    opened.page.keyboard.press("/")
    opened.page.keyboard.type("branch2c_bn")
    expected = [row.name for row in sample("typical").layers if "branch2c_bn" in row.name]
    opened.page.wait_for_function(
        "n => document.querySelectorAll('#layer-table tbody tr').length === n", arg=len(expected)
    )
    assert sorted(opened.rows()) == sorted(expected)
    opened.page.get_by_label("Verdict", exact=True).select_option("flagged")
    flagged = [row.name for row in sample("typical").layers if row.name in expected and row.verdict.value == "flagged"]
    assert sorted(opened.rows()) == sorted(flagged)
    opened.page.get_by_role("button", name="Clear filters").click()
    opened.page.get_by_label("Range", exact=True).select_option("both.sqnr_db")
    opened.page.get_by_label("Largest value").fill("5.5")
    below = [r.name for r in sample("typical").layers if r.scores and (r.scores["both"].sqnr_db or 99) <= 5.5]
    opened.page.wait_for_function(
        "n => document.querySelectorAll('#layer-table tbody tr').length === n", arg=len(below)
    )
    assert sorted(opened.rows()) == sorted(below)
    assert "max=5.5" in opened.page.url
    opened.page.get_by_label("Search layers").fill("no such layer")
    assert "No layer passes" in opened.page.locator("#layer-table").inner_text()


def test_columns_can_be_chosen_and_copied(open_page: Open) -> None:
    opened = open_page("tiny")
    opened.page.get_by_text("Columns", exact=True).click()
    opened.page.get_by_label("both norm ratio").check()
    titles = opened.page.locator("#layer-table thead th").all_inner_texts()
    assert any(title.startswith("both norm ratio") for title in titles)
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.page.get_by_role("button", name="Copy as CSV").click()
    opened.page.get_by_role("button", name="Copied").wait_for()
    lines = opened.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(lines) == 1 + len(sample("tiny").layers)
    assert lines[0].split(",")[:3] == ["#", "verdict", "layer"]
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    row = next(row for row in sample("tiny").layers if row.name == first["layer"])
    assert float(first["both dB"]) == pytest.approx(row.scores["both"].sqnr_db, rel=1e-5)


def test_the_table_works_from_the_keyboard(open_page: Open) -> None:
    opened = open_page("typical")
    opened.page.keyboard.press("/")
    opened.page.keyboard.press("ArrowDown")
    opened.page.keyboard.press("ArrowDown")
    second = opened.rows()[1]
    assert opened.page.evaluate("document.activeElement.querySelector('a.layer').textContent") == second
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("#layer-heading").inner_text() == second
    opened.page.keyboard.press("Escape")
    assert opened.page.locator("#layer-table tr[aria-selected=true] a.layer").inner_text() == second


def test_permalinks_back_button_and_unknown_layers(open_page: Open) -> None:
    opened = open_page("typical", "#layer=res3c_branch2a")
    assert opened.page.locator("#layer-heading").inner_text() == "res3c_branch2a"
    opened.page.get_by_role("link", name="res3b_relu").click()
    assert opened.page.locator("#layer-heading").inner_text() == "res3b_relu"
    opened.page.go_back()
    opened.page.wait_for_function("() => document.querySelector('#layer-heading').textContent === 'res3c_branch2a'")
    unknown = open_page("typical", "#layer=nothing_of_the_kind")
    assert "no layer called" in unknown.page.locator("#layer").inner_text()
    broken = open_page("typical", "#layer=%E0%A4%A&view=&x=1&=&sort=none&metric=none")
    assert broken.page.locator("h1").first.is_visible()


def test_the_layers_page_has_every_lane(open_page: Open) -> None:
    result = sample("tuned")
    row = next(row for row in result.layers if row.name == "res2b_branch2c")
    opened = open_page("tuned", f"#layer={row.key}")
    text = opened.page.locator("#layer").inner_text()
    for comparison in result.comparisons:
        assert comparison.name in text
        assert cosine_text(row.scores[comparison.name].cosine) in text
        assert sqnr_text(row.scores[comparison.name]) in text
    opened.page.get_by_role("heading", name="Over the samples").wait_for()
    assert "Coefficients" in opened.page.locator("#layer").inner_text()


def test_the_layers_page_draws_its_evidence(open_page: Open) -> None:
    opened = open_page("typical", "#layer=res3c_branch2a")
    opened.wait_for_charts(6)
    panels = opened.page.locator("#layer .panel h2").all_inner_texts()
    assert panels[:4] == ["Scores", "What made the error", "This layer alone", "Coefficients"]
    assert "was added here" in opened.page.locator("#layer").inner_text()
    assert {"Output values", "Error", "Float against quantized", "Channels", "Codes in use", "Worst elements"} <= set(
        panels
    )
    part = samples.typical().details["layers"]["res3c_branch2a"]["values"][0]
    chart = opened.page.locator("#layer .panel", has_text="Output values")
    chart.locator("summary").click()
    chart.locator("tbody tr").first.wait_for()  # the table is filled once it is opened
    rows = chart.locator("tbody tr").all_inner_texts()
    numbers = [[int(n.replace("\u202f", "") or 0) for n in row.split("\t")[1:]] for row in rows]
    assert [pair[0] for pair in numbers] == part["counts"]["float"]
    assert [pair[1] for pair in numbers] == part["counts"]["both"]


def test_the_chart_reads_each_layer_alone(open_page: Open) -> None:
    opened = open_page("typical")
    opened.wait_for_charts()
    opened.page.locator("#chart-reading").select_option("alone")
    chart = "document.querySelector('#network-chart .js-plotly-plot').data"
    opened.page.wait_for_function(f"() => {chart}.some((trace) => trace.meta.comparison === 'fresh_both')")
    assert "error=alone" in opened.page.url
    opened.page.locator("#network-chart summary").click()
    row = next(row for row in sample("typical").layers if row.name == "res3c_branch2a")
    line = opened.page.locator(
        "#network-chart tbody tr", has=opened.page.get_by_role("rowheader", name=row.name, exact=True)
    )
    titles = opened.page.locator("#network-chart thead th").all_text_contents()
    column = next(i for i, title in enumerate(titles) if title.startswith("local_data: "))
    shown = float(line.locator("th, td").nth(column).inner_text())
    assert shown == pytest.approx(row.scores["local_data"].sqnr_db, rel=1e-4)


def test_clicking_the_chart_selects_the_layer(open_page: Open) -> None:
    opened = open_page("tiny")
    opened.wait_for_charts()
    opened.page.locator("#network-chart").scroll_into_view_if_needed()
    box = opened.page.locator("#network-chart .nsewdrag").first.bounding_box()
    assert box is not None
    place = opened.page.evaluate(
        """() => { const chart = document.querySelector('#network-chart .js-plotly-plot');
        const axis = chart._fullLayout.xaxis, up = chart._fullLayout.yaxis;
        const trace = chart.data.find((t) => t.meta.comparison === 'both');
        return [axis.l2p(3), up.l2p(trace.y[3])]; }"""
    )
    opened.page.mouse.move(box["x"] + place[0] - 3, box["y"] + place[1])
    opened.page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    opened.page.wait_for_selector("#network-chart .hoverlayer .hovertext, #network-chart .hoverlayer .legend")
    opened.page.mouse.down()
    opened.page.mouse.up()
    opened.page.wait_for_function("() => location.hash.includes('layer=conv2')")
    assert "conv2" in opened.page.locator("#chart-selected").inner_text()
    assert opened.page.locator("#layer-table tr[aria-selected=true] a.layer").inner_text() == "conv2"


def test_graph_table_and_chart_share_the_selection(open_page: Open) -> None:
    opened = open_page("tiny", "#view=graph")
    node = opened.page.locator(".node", has_text="conv2")
    node.click()
    assert "selected" in (node.get_attribute("class") or "")
    assert "conv2" in opened.page.locator("#graph-side").inner_text()
    assert "layer=conv2" in opened.page.url
    opened.page.locator("[data-tab=overview]").click()
    assert opened.page.locator("#layer-table tr[aria-selected=true] a.layer").inner_text() == "conv2"
    opened.page.locator("#layer-table a.layer", has_text="conv1").click()
    opened.page.get_by_role("button", name="Show in graph").click()
    assert opened.page.locator(".node.selected text").text_content() == "conv1"


def test_blocks_of_the_graph_fold_and_unfold(open_page: Open) -> None:
    opened = open_page("typical", "#view=graph")
    folded = opened.page.locator(".node").count()
    assert folded < 40
    block = opened.page.locator(".node", has_text="res3c (13)")
    block.click()
    assert opened.page.locator(".node", has_text="res3c_branch2a").count() >= 1
    assert opened.page.locator(".node").count() == folded + 12
    opened.page.get_by_role("button", name="Unfold all").click()
    assert opened.page.locator(".node").count() == len(sample("typical").layers)
    quantized = sum(len(row.inputs) for row in sample("typical").layers if row.quantized)
    assert opened.page.locator(".edge.quantized").count() == quantized
    assert opened.page.locator(".point").count() == quantized
    opened.page.locator("#graph-tools select").select_option("verdict")
    assert "colour=verdict" in opened.page.url
    assert opened.page.locator(".scale").inner_text().split() == ["flagged", "watch", "good", "not", "judged"]


def test_the_graph_works_from_the_keyboard_and_the_wheel(open_page: Open) -> None:
    opened = open_page("tiny", "#view=graph")
    opened.page.locator("#graph-canvas svg").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        opened.page.keyboard.press(key)
    assert "layer=pool1" in opened.page.url
    before = opened.page.locator("#graph-canvas svg").get_attribute("viewBox")
    opened.page.locator("#graph-canvas").hover()
    opened.page.mouse.wheel(0, 200)
    opened.page.wait_for_function(
        "old => document.querySelector('#graph-canvas svg').getAttribute('viewBox') !== old", arg=before
    )


def test_the_theme_is_kept_and_colours_follow(open_page: Open) -> None:
    opened = open_page("tiny")
    opened.wait_for_charts()
    light = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = opened.page.locator("#theme")
    button.click()
    button.click()
    assert button.inner_text() == "Theme: dark"
    opened.page.wait_for_function("before => getComputedStyle(document.body).backgroundColor !== before", arg=light)
    chart = "document.querySelector('#network-chart .js-plotly-plot')"
    opened.page.wait_for_function(
        f"() => {chart}.data.find((t) => t.meta.comparison === 'both').line.color === '#e6e9ee'"
    )
    opened.page.reload()
    opened.page.wait_for_function("() => document.documentElement.classList.contains('dark')")


def test_a_baseline_is_set_beside_the_result(open_page: Open) -> None:
    opened = open_page("typical-against-before")
    opened.page.locator("[data-tab=compare]").click()
    difference = compare_results(sample("typical"), sample("before"))
    text = opened.page.locator("#compare").inner_text()
    assert all(sentence in text for sentence in difference.sentences)
    worst = sorted((d for d in difference.deltas if d.sqnr_change_db is not None), key=lambda d: d.sqnr_change_db or 0)
    assert opened.rows("#compare-table")[:3] == [delta.key for delta in worst[:3]]
    change = opened.page.locator("#compare-table tbody tr").first.locator(".worse").inner_text()
    assert float(change.replace("▼ −", "-")) == pytest.approx(worst[0].sqnr_change_db, abs=0.06)


@pytest.mark.parametrize("number", range(len(samples.HOSTILE_NAMES)))
def test_hostile_names_stay_text_and_have_their_page(open_page: Open, number: int) -> None:
    key = samples.HOSTILE_NAMES[number]
    fragment = quote(key.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), safe="")
    opened = open_page("awkward", f"#layer={fragment}")
    assert opened.page.locator("#layer-heading").text_content() == visible(key)
    opened.wait_for_charts()
    assert opened.page.evaluate("document.querySelectorAll('img, iframe, object, embed, form').length") == 0
    assert opened.page.evaluate("document.querySelectorAll('script').length") <= 12
    opened.page.goto(opened.page.url.split("#")[0])
    opened.wait_for_charts()
    assert opened.page.evaluate("document.querySelectorAll('img, iframe, b.evil').length") == 0
    assert opened.page.evaluate("window.alerted === undefined")


def test_hostile_names_in_hover_text_are_not_markup(open_page: Open) -> None:
    opened = open_page("awkward")
    opened.wait_for_charts()
    texts = opened.page.evaluate(
        "document.querySelector('#network-chart .js-plotly-plot').data.find((t) => t.meta.comparison === 'both').text"
    )
    assert not any(re.search(r"<[a-z/]", text) for text in texts)
    assert any("&lt;script&gt;" in text for text in texts)


def test_without_javascript_the_summary_is_there(open_page: Open) -> None:
    opened = open_page("typical", java_script_enabled=False)
    text = opened.page.locator("body").inner_text()
    assert sample("typical").judgement.sentence in text
    worst = story.worst_first(sample("typical"))
    assert opened.page.locator("noscript table tbody tr").count() == 50 or all(row.name in text for row in worst[:50])
    assert worst[0].name in text
    assert "SHA-256" in text


def test_the_content_policy_forbids_requests(open_page: Open) -> None:
    opened = open_page("tiny")
    assert opened.page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"
    opened.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://example.org/x.png'}))")
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)
    opened.complaints.clear()
    opened.requests.clear()


def test_print_shows_the_overview_and_the_run(open_page: Open) -> None:
    opened = open_page("tiny", "#view=graph")
    opened.page.emulate_media(media="print")
    assert opened.page.locator("#overview").is_visible()
    assert opened.page.locator("#run").is_visible()
    assert not opened.page.locator(".bar").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize(
    ("name", "address"),
    [("typical", ""), ("typical", "#layer=res3c_branch2a"), ("typical", "#view=graph&layer=res3c_branch2a"),
     ("typical", "#view=help"), ("tuned", "#view=run"), ("tiny", ""), ("awkward", ""),
     ("typical-against-before", "#view=compare")],
)  # fmt: skip
def test_nothing_overflows_and_pictures_are_kept(
    open_page: Open, name: str, address: str, size: tuple[int, int], theme: str
) -> None:
    opened = open_page(name, address, size=size, theme=theme)
    if "view" not in address:
        opened.wait_for_charts()
    opened.page.wait_for_timeout(150)
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    view = re.sub(r"\W+", "-", address).strip("-") or "overview"
    ARTEFACTS.mkdir(exist_ok=True)
    opened.page.screenshot(path=ARTEFACTS / f"{name}-{view}-{size[0]}-{theme}.png", full_page=True)
    assert width <= size[0]
