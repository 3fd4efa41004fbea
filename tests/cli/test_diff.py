"""`gfpq-inspect diff`: what moved between two results, at 80 and 200 columns, and its exit code."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from gfpq_inspect.analyze.result import Finding, Judgement, Result, Status
from gfpq_inspect.report.diff import diff_results, render_diff_json, render_diff_markdown, render_diff_terminal
from gfpq_inspect.report.jsonfile import write_result
from tests.gate.results import result, row, scores, task

PROGRAM = str(Path(sys.executable).with_name("gfpq-inspect"))
EXACT = replace(scores(1.0), status=Status.EXACT, sqnr_db=None, max_abs_error=0.0)


def pair() -> tuple[Result, Result]:
    before = result(row("same"), row("up", judged=scores(0.9, 10.0)), row("down"), row("exact", judged=EXACT),
                    row("old"), row("lost"), task=task(0.4))  # fmt: skip
    after = result(
        row("same", judged=scores(0.999, 30.2)), row("up", judged=scores(0.99, 20.0)),
        row("down", judged=scores(0.98, 14.0)), row("exact", judged=scores(0.9999999, 90.0)), row("fresh"),
        row("lost", status=Status.UNMATCHED, reason="no counterpart", scores={}),
        task=task(0.9), findings=(Finding("f", "Scale is off", "error", "x"),),
        judgement=Judgement(False, "both", 0.98, "Not good."),
    )  # fmt: skip
    return before, after


def test_what_moved() -> None:
    found = diff_results(*pair(), 0.5)
    assert [delta.key for delta in found.worse] == ["exact", "down"]
    assert [delta.key for delta in found.better] == ["up"]
    assert found.same == 1
    assert found.new == (("fresh", ""),)
    assert found.gone == (("old", ""), ("lost", "no counterpart"))
    assert [(change.before, change.after) for change in found.tasks] == [(0.4, 0.9)]
    assert found.new_findings == ("Scale is off",)
    assert found.verdict_lost
    assert found.is_worse
    back = diff_results(*pair()[::-1], 0.5)
    assert [delta.key for delta in back.better] == ["exact", "down"]
    assert [delta.key for delta in back.worse] == ["up"]
    assert back.gone_findings == ("Scale is off",)


def test_nan_is_worse_than_anything() -> None:
    damaged = replace(scores(0.99, 40.0), nonfinite_test=1)
    found = diff_results(result(row("a")), result(row("a", judged=damaged)), 0.5)
    assert [delta.key for delta in found.worse] == ["a"]


def test_a_result_against_itself_is_no_worse() -> None:
    found = diff_results(pair()[1], pair()[1], 0.0)
    assert not found.is_worse
    assert (found.worse, found.better, found.new, found.gone) == ((), (), (), ())


@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    names = ["x" * 300, "bild\u202e[bold]/\n::error::", "模型" * 60, "short"]
    before = result(*(row(name) for name in names))
    after = result(*(row(name, judged=scores(0.9, 10.0 + at)) for at, name in enumerate(names[:3])))
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    render_diff_terminal(diff_results(before, after, 0.5), console)
    lines = stream.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    assert not any("\u202e" in line or "\x1b" in line for line in lines)
    assert any(line.split()[-1] == "-20.0" for line in lines if line.strip())


def test_json_and_markdown(tmp_path: Path) -> None:
    found = diff_results(*pair(), 0.5)
    document = json.loads(render_diff_json(found))
    assert document["format"] == "gfpq-inspect diff"
    assert [entry["layer"] for entry in document["worse"]] == ["exact", "down"]
    assert document["gone"] == [{"layer": "old", "reason": ""}, {"layer": "lost", "reason": "no counterpart"}]
    assert render_diff_json(found) == render_diff_json(diff_results(*pair(), 0.5))
    text = render_diff_markdown(found)
    assert text.startswith("### ❌ 2 layers worse, 1 better, 1 the same, 1 new, 2 gone")
    assert "| `down` |" in text
    hostile = diff_results(result(row("a|`<img>@x")), result(row("a|`<img>@x", judged=scores(0.5, 1.0))), 0.5)
    assert "<img" not in render_diff_markdown(hostile).replace("\\<img", "")


def test_the_command(tmp_path: Path) -> None:
    for name, one in zip(("a", "b"), pair(), strict=True):
        write_result(one, tmp_path / f"{name}.json")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, "diff", *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    worse = run("a.json", "b.json", "--json", "d.json", "--markdown", "d.md")
    assert worse.returncode == 1, worse.stderr
    assert "2 layers worse" in worse.stdout
    assert json.loads((tmp_path / "d.json").read_text())["is_worse"] is True
    assert run("a.json", "b.json", "--json", "d.json").returncode == 2
    assert run("b.json", "b.json").returncode == 0
    assert run("a.json", "none.json").returncode == 2
    assert run("a.json", "b.json", "--noticeable", "nan").returncode == 2
    quiet = run("a.json", "b.json", "-q")
    assert (quiet.returncode, quiet.stdout) == (1, "")
