"""Markdown, Parquet, Model Explorer and Graphviz: whole, harmless, deterministic."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess

import pandas
import pytest
from markdown_it import MarkdownIt

from gfpq_inspect.report import story
from gfpq_inspect.report.frame import layer_frame
from gfpq_inspect.report.markdown import render_markdown
from gfpq_inspect.report.overlays import render_dot, render_model_explorer
from gfpq_inspect.report.parquetfile import render_parquet
from tests.report import samples

NAMES = sorted(samples.SAMPLES)


@pytest.mark.parametrize("name", NAMES)
def test_parquet_holds_the_frame(name: str) -> None:
    result = samples.SAMPLES[name]()
    table = pandas.read_parquet(io.BytesIO(render_parquet(result)))
    expected = layer_frame(result)
    assert list(table.columns) == list(expected.columns)
    assert list(table["both.cosine"].astype(object)) == pytest.approx(
        list(expected["both.cosine"].astype(object)), nan_ok=True
    )
    assert render_parquet(result) == render_parquet(result)


@pytest.mark.parametrize("name", NAMES)
def test_markdown_says_what_matters(name: str) -> None:
    result = samples.SAMPLES[name]()
    tokens = MarkdownIt("commonmark").enable("table").parse(render_markdown(result))
    text = "".join(child.content for token in tokens for child in token.children or [])
    assert result.judgement.sentence in text
    assert result.coverage.sentence in text
    found = story.first_bad(result)
    assert found is None or story.numbers_text(found.row.scores[result.judgement.comparison]) in text
    assert ("Synthetic input" in text) is result.run.inputs.synthetic


def test_markdown_of_hostile_names_has_no_links_images_or_html() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(render_markdown(samples.awkward()))
    kinds = {child.type for token in tokens for child in token.children or []} | {token.type for token in tokens}
    assert not kinds & {"html_inline", "html_block", "link_open", "image"}
    assert not set(render_markdown(samples.awkward())) & set("\x1b\u202e\u2028")


def test_markdown_sets_a_baseline_beside_it() -> None:
    text = render_markdown(samples.typical(), samples.typical())
    assert "Against the baseline" in text
    assert "0 layers better and 0 worse" in text


@pytest.mark.parametrize("name", NAMES)
def test_model_explorer_finds_every_scored_layer(name: str) -> None:
    result = samples.SAMPLES[name]()
    data = json.loads(render_model_explorer(result))
    judged = result.judgement.comparison
    for row in result.layers:
        value = row.scores[judged].sqnr_db if judged in row.scores else None
        assert (row.key in data["results"]) is (value is not None)
    assert data["gradient"][0]["stop"] == 0
    assert data["gradient"][-1]["stop"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_dot_has_every_layer_and_edge(name: str) -> None:
    result = samples.SAMPLES[name]()
    text = render_dot(result)
    assert len(re.findall(r"^  n\d+ \[", text, re.MULTILINE)) == len(result.layers)
    assert len(re.findall(r"^  n\d+ -> n\d+", text, re.MULTILINE)) == sum(len(set(row.inputs)) for row in result.layers)
    for line in text.splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it() -> None:
    subprocess.run(["dot", "-Tsvg"], input=render_dot(samples.awkward()), text=True, check=True, capture_output=True)
