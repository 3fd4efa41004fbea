"""`gfpq-inspect compare` as its user runs it: exit codes, files, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROGRAM = str(Path(sys.executable).with_name("gfpq-inspect"))


def run(*words: str | Path, **options: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    environment = {**os.environ, "NO_COLOR": "1", **options}
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def digits(fixtures: Path) -> Path:
    return fixtures / "digits"


@pytest.fixture(scope="module")
def good_pair(digits: Path) -> list[str]:
    return [str(digits / "float.caffemodel"), str(digits / "quant.caffemodel"), "--input", str(digits / "test.npz")]


def test_the_good_pair_passes(good_pair: list[str]) -> None:
    done = run("compare", *good_pair, "--samples", "64")
    assert done.returncode == 0, done.stderr
    assert "PASS" in done.stdout
    assert done.stderr == ""


def test_a_threshold_that_it_misses_fails_with_1(good_pair: list[str]) -> None:
    done = run("compare", *good_pair, "--samples", "64", "--threshold", "0.9999")
    assert done.returncode == 1
    assert "FAIL" in done.stdout


def test_the_comparison_judged_can_be_chosen(good_pair: list[str]) -> None:
    done = run("compare", *good_pair, "--samples", "64", "--threshold", "0.9999", "--judge", "tuned_weight")
    assert done.returncode == 0, done.stdout


def test_the_overwritten_master_is_told(digits: Path) -> None:
    broken = run(
        "compare",
        digits / "float.caffemodel",
        digits / "broken" / "quant.caffemodel",
        "--input",
        digits / "test.npz",
        "--samples",
        "32",
    )
    assert "Float master overwritten" in broken.stdout
    untouched = run(
        "compare",
        digits / "float.caffemodel",
        digits / "untouched" / "quant.caffemodel",
        "--input",
        digits / "test.npz",
        "--samples",
        "32",
    )
    assert "Never fine-tuned, or the float master was overwritten" in untouched.stdout


def test_equal_runs_write_equal_bytes(good_pair: list[str], tmp_path: Path) -> None:
    for name, workers in (("a", "1"), ("b", "2")):
        (tmp_path / name).mkdir()
        done = run(
            "compare",
            *good_pair,
            *("--samples", "48", "--no-timing", "--workers", workers, "--quiet"),
            *(
                "--json",
                tmp_path / name / "r.json",
                "--html",
                tmp_path / name / "r.html",
                "--csv",
                tmp_path / name / "r.csv",
            ),
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
    for suffix in ("json", "csv"):
        first = (tmp_path / "a" / f"r.{suffix}").read_text().replace("--workers 1", "")
        second = (tmp_path / "b" / f"r.{suffix}").read_text().replace("--workers 2", "")
        assert first == second
    document = json.loads((tmp_path / "a" / "r.json").read_text())
    assert str(tmp_path) not in json.dumps(document)


def test_a_saved_result_renders_to_the_same_page(good_pair: list[str], tmp_path: Path) -> None:
    done = run(
        "compare",
        *good_pair,
        *("--samples", "16", "--quiet", "--json", tmp_path / "r.json", "--html", tmp_path / "during.html"),
    )
    assert done.returncode == 0, done.stderr
    assert run("report", tmp_path / "r.json", "--html", tmp_path / "later.html").returncode == 0
    assert (tmp_path / "during.html").read_bytes() == (tmp_path / "later.html").read_bytes()


def test_an_existing_file_is_not_replaced_unasked(good_pair: list[str], tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    target.write_text("precious")
    refused = run("compare", *good_pair, "--samples", "8", "--json", target)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert target.read_text() == "precious"
    assert run("compare", *good_pair, "--samples", "8", "--quiet", "--json", target, "--force").returncode == 0
    assert json.loads(target.read_text())["schema_version"] >= 1


def test_without_input_it_says_synthetic(digits: Path) -> None:
    done = run("compare", digits / "float.caffemodel", "--samples", "4")
    assert done.returncode in (0, 1)
    assert "ynthetic" in done.stdout


def test_a_model_against_itself_in_float_is_exact(digits: Path) -> None:
    done = run(
        "compare",
        digits / "float.caffemodel",
        digits / "float.caffemodel",
        *("--input", digits / "test.npz", "--samples", "16", "--bits", "float"),
    )
    assert done.returncode == 0
    assert "exactly equal" in done.stdout


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["absent.caffemodel"], "absent.caffemodel"),
        (["FLOAT", "--bits", "9"], "--bits 9"),
        (["FLOAT", "--threshold", "nan"], "threshold"),
        (["FLOAT", "--judge", "nobody"], "nobody"),
        (["FLOAT", "--input", "absent.npy"], "absent.npy"),
        (["FLOAT", "--input-shape", "nonsense"], "nonsense"),
        (["FLOAT", "--coefficients", "none"], "none"),
        (["FLOAT", "--no-such-option"], "no-such-option"),
        (["FLOAT", "--json", "same", "--csv", "same"], "two reports"),
    ],
)
def test_bad_use_gives_one_sentence_and_2(digits: Path, words: list[str], fragment: str) -> None:
    done = run("compare", *[str(digits / "float.caffemodel") if word == "FLOAT" else word for word in words])
    assert done.returncode == 2, done.stderr
    assert fragment in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted_it_keeps_what_it_has(digits: Path, tmp_path: Path) -> None:
    images = np.tile(np.load(digits / "test.npz")["data"], (60, 1, 1, 1))
    np.save(tmp_path / "many.npy", images)
    words = [PROGRAM, "compare", str(digits / "float.caffemodel"), "--input", str(tmp_path / "many.npy")]
    words += ["--json", str(tmp_path / "r.json"), "--quiet"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=60)
    if process.returncode in (0, 1):
        pytest.skip("the run was over before it could be interrupted")
    assert process.returncode == 130
    assert "interrupted" in complaints
    assert "Traceback" not in complaints
    if (tmp_path / "r.json").exists():
        assert json.loads((tmp_path / "r.json").read_text())["judgement"]["partial"] is True


def test_a_closed_pipe_is_no_verdict(good_pair: list[str]) -> None:
    line = " ".join(f"'{word}'" for word in [PROGRAM, "compare", *good_pair, "--samples", "8", "-v"])
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -1; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr


def test_each_layer_alone_is_measured_or_left_out(digits: Path, tmp_path: Path) -> None:
    words = ["compare", str(digits / "float.caffemodel"), "--input", str(digits / "test.npz"), "--samples", "4", "-q"]
    names = {}
    for flag in ("--isolate", "--no-isolate"):
        done = run(*words, flag, "--json", tmp_path / f"r{flag}.json")
        assert done.returncode == 0, done.stderr
        document = json.loads((tmp_path / f"r{flag}.json").read_text())
        names[flag] = {comparison["name"] for comparison in document["comparisons"]}
    assert {"local_both", "inherited_both", "fresh_both"} <= names["--isolate"]
    assert not any(name.startswith(("local", "fresh", "inherited")) for name in names["--no-isolate"])
