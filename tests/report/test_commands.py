"""`gfpq-inspect report` and `gfpq-inspect show`, and where the page's files are found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gfpq_inspect.cli.main import run
from gfpq_inspect.report import assets
from gfpq_inspect.report.html import render_html
from gfpq_inspect.report.jsonfile import read_result
from tests.report.golden import SAMPLES

RESULT = str(SAMPLES / "typical.json")
FORMS = ("html", "csv", "parquet", "markdown", "dot", "model-explorer", "json")


def test_every_form_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for form in FORMS for word in (f"--{form}", str(tmp_path / f"out.{form}"))]
    assert run(["report", RESULT, *words]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"out.{form}" for form in FORMS)
    assert capsys.readouterr().out.count("wrote ") == len(FORMS)
    assert (tmp_path / "out.json").read_bytes() == Path(RESULT).read_bytes()
    assert (tmp_path / "out.html").read_text(encoding="utf-8") == render_html(read_result(Path(RESULT)))


def test_nothing_is_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert run(["report", RESULT, "--html", str(page)]) == 2
    assert page.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err
    assert run(["report", RESULT, "--html", str(page), "--force"]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_baseline_is_set_beside_it(tmp_path: Path) -> None:
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    assert run(["report", RESULT, "--baseline", RESULT, "--html", str(page), "--markdown", str(summary)]) == 0
    assert 'id="compare"' in page.read_text(encoding="utf-8")
    assert "Against the baseline" in summary.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["report", RESULT], "nothing to write"),
        (["report", "missing.json", "--csv", "x.csv"], "missing.json: cannot be read"),
        (["report", RESULT, "--csv", "a.csv", "--dot", "a.csv"], "named for two reports"),
        (["report", RESULT, "--csv", "no/such/folder/a.csv"], "there is no folder"),
        (["show", RESULT, "res3c_branch2z"], "near to it: res3c_branch2"),
        (["show", str(SAMPLES / "golden" / "tiny.txt")], "is not JSON"),
    ],
)
def test_complaints(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_show_prints_the_result_or_one_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", RESULT]) == 0
    assert "First bad layer" in capsys.readouterr().out
    assert run(["show", RESULT, "-v"]) == 0
    assert "All 197 layers" in capsys.readouterr().out
    assert run(["show", RESULT, "res3c_branch2a"]) == 0
    text = capsys.readouterr().out
    assert "residual_db" in text
    assert "Coefficients" in text


def test_the_pages_files_come_from_the_package_where_they_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(assets.assets(), tmp_path / "reports")  # type: ignore[arg-type]  # a path in a tree
    (tmp_path / "reports" / "template" / "report.css").write_text("/* the package's */")
    monkeypatch.setattr(assets.resources, "files", lambda _: tmp_path)
    assert assets.read_asset("template", "report.css") == "/* the package's */"
    monkeypatch.setattr(assets.resources, "files", lambda _: tmp_path / "nowhere")
    assert assets.read_asset("template", "report.css").startswith(":root")
