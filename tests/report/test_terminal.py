"""The terminal report: complete, plain in a pipe, fitting its width, deaf to hostile names."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from gfpq_inspect.analyze.result import Result, Verdict
from gfpq_inspect.errors import UsageError
from gfpq_inspect.report import story
from gfpq_inspect.report.terminal import make_console, render_terminal
from gfpq_inspect.report.terminal_layer import find_row, render_layer
from gfpq_inspect.report.text import cosine_text, shortened, visible
from tests.report import samples


def printed(result: Result, width: int, *, terminal: bool = False, verbose: bool = False, **options: object) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, highlight=False, **options)  # type: ignore[arg-type]  # options of the test
    render_terminal(result, console, verbose=verbose, files=["report.html"])
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", sorted(samples.SAMPLES))
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    text = printed(samples.SAMPLES[name](), width, terminal=True, color_system=None, verbose=True)
    assert max(cell_len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("name", sorted(samples.SAMPLES))
def test_a_pipe_gets_plain_text_without_trailing_spaces(name: str) -> None:
    text = printed(samples.SAMPLES[name](), 200, verbose=True)
    assert "\x1b" not in text
    assert not re.search(r"[^\S\n]+$", text, flags=re.MULTILINE)
    assert text == printed(samples.SAMPLES[name](), 200, verbose=True)


def test_the_verdict_comes_first_and_the_files_last() -> None:
    lines = printed(samples.typical(), 80).splitlines()
    assert lines[0].startswith("✗ FAIL")
    assert samples.typical().judgement.sentence in lines[0]
    assert lines[-1] == "wrote report.html"


def test_the_first_bad_layer_is_the_one_that_was_planted() -> None:
    found = story.first_bad(samples.typical())
    assert found is not None
    assert found.row.name == "res3c_branch2a"
    assert "data" in found.why
    assert "starts here" in found.origin
    text = printed(samples.typical(), 80)
    assert "First bad layer\n  res3c_branch2a (Convolution, " in text


def test_a_layer_that_hands_on_an_error_is_not_called_its_origin() -> None:
    result = samples.typical()
    found = story.first_bad(result)
    assert found is not None
    assert all(key not in result.judgement.flagged for key in found.row.inputs)


def test_good_results_name_no_bad_layer() -> None:
    assert story.first_bad(samples.tiny()) is None
    assert "First bad layer" not in printed(samples.tiny(), 80)


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("name", ["tiny", "typical", "tuned"])
def test_the_worst_layer_stands_with_cosine_and_db_of_every_lane(name: str, width: int) -> None:
    result = samples.SAMPLES[name]()
    worst = story.worst_first(result)[0]
    text = printed(result, width)
    section = text[text.index("Worst layers") :]
    block = section[section.index(worst.name) :][:700]
    for comparison in story.lanes_shown(result):
        scores = worst.scores[comparison.name]
        assert cosine_text(scores.cosine, 6) in block
        assert f"{scores.sqnr_db:.1f}" in block


def test_synthetic_input_is_said_in_plain_sight() -> None:
    lines = printed(samples.awkward(), 80).splitlines()
    assert any("Synthetic input" in line for line in lines[:8])
    assert "Synthetic" not in printed(samples.typical(), 80)


def test_findings_come_with_their_remedies() -> None:
    text = printed(samples.typical(), 120)
    for finding in samples.typical().findings:
        told = finding.severity in {"error", "warning"}
        assert (finding.title in text) is told
        assert (finding.remedy in text) is told or not finding.remedy
    assert "1 check passed, 1 not applicable" in text
    assert "needs a second network" in printed(samples.typical(), 120, verbose=True)


def test_verbose_lists_every_layer_in_order() -> None:
    result = samples.typical()
    text = printed(result, 200, verbose=True)
    section = text[text.index("All 197 layers") :]
    positions = [section.index(f" {row.name} ") for row in result.layers]
    assert positions == sorted(positions)


def test_coverage_and_what_is_missing_are_told_with_reasons() -> None:
    text = printed(samples.awkward(), 120)
    assert samples.awkward().coverage.sentence in text
    assert "unmatched: only first: no layer of this name in the second network" in text


def test_shares_are_drawn_in_their_proportions() -> None:
    text = printed(samples.typical(), 80)
    assert "████████████" in text
    assert "▒" in text


def test_ascii_consoles_get_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    result = replace(samples.tiny(), findings=samples.typical().findings)
    render_terminal(result, Console(file=stream, width=80, highlight=False))
    stream.flush()


@pytest.mark.parametrize("width", [80, 200])
def test_hostile_names_stay_text(width: int) -> None:
    result = samples.awkward()
    text = printed(result, width, verbose=True)
    assert not set(text) & set("\x1b\x07\t\u202e\u200f\u2028\u2029")
    assert "[bold red]rich[/bold red]" in text
    assert ("</script>" in text) is (width == 200)
    assert "n" * 300 not in text
    for row in result.layers:
        stream = io.StringIO()
        render_layer(result, row, Console(file=stream, width=width, highlight=False))
        assert not set(stream.getvalue()) & set("\x1b\x07\t\u202e\u200f\u2028\u2029")


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system="truecolor", highlight=False)
    render_terminal(samples.typical(), console)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", stream.getvalue())


def test_a_pipe_is_wide_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console(io.StringIO()).width == 200
    monkeypatch.setenv("COLUMNS", "90")
    assert make_console(io.StringIO()).width == 90


def test_layers_are_found_by_what_people_type() -> None:
    result = samples.awkward()
    assert find_row(result, "non-finite").key == "non-finite"
    assert find_row(result, "NON-FINITE").key == "non-finite"
    assert find_row(result, r"\u202egnp.exe\u202c right\u200fto left").index == 4
    with pytest.raises(UsageError, match="near to it: non-finite"):
        find_row(result, "nonfinite")


def test_one_layer_shows_every_lane() -> None:
    result = samples.tuned()
    row = next(row for row in result.layers if row.verdict is Verdict.FLAGGED)
    stream = io.StringIO()
    render_layer(result, row, Console(file=stream, width=80, highlight=False))
    text = stream.getvalue()
    for comparison in result.comparisons:
        assert f"{row.scores[comparison.name].cosine:.8f}" in text
    assert "drift" in text
    assert "Coefficients" in text


def test_cosines_are_never_rounded_up_to_one() -> None:
    assert cosine_text(0.98123) == "0.98123"
    assert cosine_text(0.9999999999) == "0.99999999"
    assert cosine_text(0.9999999, 6) == "0.999999"
    assert cosine_text(1.0) == "1.00000000"[: len(cosine_text(1.0))]


def test_names_are_cut_in_the_middle() -> None:
    assert shortened("abcdefghij", 7) == "abc…hij"
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 1) == "…"
    assert visible("a\x1b\u202e") == r"a\x1b\u202e"
    assert visible("ñ 名前 \U0001f600") == "ñ 名前 \U0001f600"
