"""`gfpq-inspect gate` as CI runs it: exit codes, files, and nothing lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

PROGRAM = str(Path(sys.executable).with_name("gfpq-inspect"))
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")} | {"NO_COLOR": "1"}
LIMITS = """
[compare]
float = "nets/float.caffemodel"
quant = "nets/quant.caffemodel"
input = "nets/test.npz"
samples = 48

[gate]
cosine = 0.98
norm_ratio = [0.95, 1.05]
findings = "error"

[[gate.limits]]
layers = "conv*"
sqnr_db = 15
over = "mean"
confidence = 0.95

[[gate.limits]]
accuracy_loss_points = 2.5
"""


def run(
    folder: Path, *words: str | Path, preexec_fn: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False, env=PLAIN | environment,
        preexec_fn=preexec_fn,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, fixtures: Path) -> Path:
    (tmp_path / "nets").symlink_to(fixtures / "digits")
    (tmp_path / "gfpq-inspect.toml").write_text(LIMITS)
    return tmp_path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, fixtures: Path) -> dict[str, Path]:
    """Results of the good pair and of the one whose float master was overwritten."""
    folder = tmp_path_factory.mktemp("saved")
    digits = fixtures / "digits"
    found = {}
    for name, quant in (("good", "quant.caffemodel"), ("broken", "broken/quant.caffemodel")):
        found[name] = folder / f"{name}.json"
        words = [digits / "float.caffemodel", digits / quant, "--input", digits / "test.npz", "--samples", "48"]
        done = run(folder, "compare", *words, "--json", found[name], "-q")
        assert done.returncode in (0, 1), done.stderr
    return found


def test_the_configuration_alone_runs_it_all_from_any_folder(project: Path) -> None:
    inner = project / "src" / "deep"
    inner.mkdir(parents=True)
    done = run(inner, "gate", "--junit", "gate.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS  The gate passes: ")
    assert "by ../../gfpq-inspect.toml." in done.stdout
    rules = {suite.get("name") for suite in ElementTree.parse(inner / "gate.xml").getroot()}
    assert rules >= {"cosine", "norm_ratio", "sqnr_db", "accuracy_loss_points", "finding", "partial"}


def test_the_command_line_goes_before_the_configuration(project: Path) -> None:
    done = run(project, "gate", "nets/float.caffemodel", "nets/broken/quant.caffemodel", "--samples", "40")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "float-master" in done.stdout
    assert "[gate.findings]" in done.stdout


def test_compare_with_a_gate_is_judged_by_it(project: Path) -> None:
    (project / "strict.toml").write_text("[gate]\nsqnr_db = 60\n")
    words = ["compare", "nets/float.caffemodel", "nets/quant.caffemodel", "--input", "nets/test.npz", "--samples", "40"]
    done = run(project, *words, "--gate", "--config", "strict.toml", "--markdown", "gate.md")
    assert done.returncode == 1, done.stderr
    assert "FAIL  The gate fails" in done.stdout
    assert (project / "gate.md").read_text().startswith("### ❌ The gate fails")
    refused = run(project, *words, "--junit", "x.xml")
    assert refused.returncode == 2
    assert "belong to --gate" in refused.stderr


def test_saved_results_pass_and_fail(project: Path, saved: dict[str, Path]) -> None:
    assert run(project, "gate", saved["good"]).returncode == 0
    done = run(project, "gate", saved["broken"], "--sarif", "g.sarif", "--json", "copy.json")
    assert done.returncode == 1
    results = json.loads((project / "g.sarif").read_text())["runs"][0]["results"]
    assert {found["ruleId"] for found in results} == {"finding"}
    assert json.loads((project / "copy.json").read_text())["format"] == "gfpq-inspect result"
    (project / "no-suffix").write_bytes(saved["good"].read_bytes())
    assert run(project, "gate", "no-suffix").returncode == 0
    quiet = run(project, "gate", saved["broken"], "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (1, "", "")


def test_a_failed_layer_points_to_its_line(project: Path, saved: dict[str, Path]) -> None:
    (project / "gfpq-inspect.toml").write_text(LIMITS.replace("cosine = 0.98", "cosine = 0.9999"))
    done = run(project, "gate", saved["good"], "--github")
    prototxt = (project / "nets" / "float.prototxt").read_text().splitlines()
    marks = [line for line in done.stdout.splitlines() if line.startswith("::error file=nets/float.prototxt,line=")]
    assert marks
    line = int(marks[0].split("line=")[1].split(",")[0])
    name = marks[0].rpartition("::")[2].split(":")[0]
    assert f'"{name}"' in "".join(prototxt[line - 1 : line + 3])


def test_in_a_workflow(project: Path, saved: dict[str, Path]) -> None:
    summary = project / "summary.md"
    summary.write_text("earlier\n")
    on_github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    done = run(project, "gate", saved["broken"], **on_github)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert f"::{token}::" in lines
    assert any(line.startswith("::error file=gfpq-inspect.toml,title=") for line in lines)
    assert summary.read_text().startswith("earlier\n### ❌")
    lost = run(project, "gate", saved["good"], **on_github | {"GITHUB_STEP_SUMMARY": str(project / "none" / "s.md")})
    assert lost.returncode == 0
    assert "summary cannot be written" in lost.stderr
    assert "::" not in run(project, "gate", saved["broken"], "--no-github", **on_github).stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cosine = 0.98", "cosin = 0.98", "gfpq-inspect.toml: gate.cosin is no key"),
        ("cosine = 0.98", "cosine = nan", "gfpq-inspect.toml: gate.cosine is NaN"),
        ("cosine = 0.98", "cosine = -1", "can never fail"),
        ('layers = "conv*"', 'layers = "cnov*"', "gate.limits[1].layers: 'cnov*' matches no layer"),
        ("samples = 48", "sample = 48", "compare.sample is no key that is known here: did you mean 'samples'"),
        ("samples = 48", 'samples = "48"', "compare.samples is the text '48'; write a whole number"),
        ("samples = 48", "quiet = true", "compare.quiet is no key"),
        ('input = "nets/test.npz"', "input = 3", "compare.input is 3"),
        ('float = "nets/float.caffemodel"', "float = true", "compare.float is true; write a text"),
        ('float = "nets/float.caffemodel"', "", "nothing to judge"),
        ("[gate]", "[gate", "is not TOML"),
    ],
)
def test_a_bad_configuration_is_2_and_named(
    old: str, new: str, told: str, project: Path, saved: dict[str, Path]
) -> None:
    (project / "gfpq-inspect.toml").write_text(LIMITS.replace(old, new, 1))
    words = ["gate", saved["good"]] if "layers" in old or "cosine" in old else ["gate"]
    done = run(project, *words)
    assert done.returncode == 2, done.stdout
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_limits_it_is_2(tmp_path: Path, saved: dict[str, Path]) -> None:
    done = run(tmp_path, "gate", saved["good"])
    assert done.returncode == 2
    assert "there are no limits" in done.stderr


BASELINE = """
[gate]
[gate.baseline]
file = "base.json"
sqnr_db = 0.5
"""


def test_baseline_from_writing_to_failing(project: Path, saved: dict[str, Path]) -> None:
    (project / "gfpq-inspect.toml").write_text(BASELINE)
    missing = run(project, "gate", saved["good"])
    assert missing.returncode == 2
    assert "--update-baseline" in missing.stderr
    first = run(project, "gate", saved["good"], "--update-baseline")
    assert first.returncode == 0, first.stderr
    assert "wrote base.json" in first.stdout
    again = run(project, "gate", saved["good"], "--update-baseline")
    assert "unchanged: base.json" in again.stdout
    assert run(project, "gate", saved["good"]).returncode == 0
    worse = run(project, "gate", saved["broken"])
    assert worse.returncode == 1
    assert "[model-changed]" in worse.stdout
    (project / "base.json").write_text((project / "base.json").read_text()[:300])
    damaged = run(project, "gate", saved["good"])
    assert damaged.returncode == 2
    assert "base.json" in damaged.stderr


def test_update_without_a_baseline_file_is_2(project: Path, saved: dict[str, Path]) -> None:
    done = run(project, "gate", saved["good"], "--update-baseline")
    assert done.returncode == 2
    assert "gate.baseline.file is missing" in done.stderr


def small_files() -> None:
    """A disk with hardly any room: writing more than 600 bytes fails as on a full one."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))


def test_a_full_disk_leaves_the_old_baseline(project: Path, saved: dict[str, Path]) -> None:
    (project / "gfpq-inspect.toml").write_text(BASELINE)
    run(project, "gate", saved["good"], "--update-baseline")
    before = (project / "base.json").read_bytes()
    full = run(project, "gate", saved["broken"], "--update-baseline", preexec_fn=small_files)
    assert full.returncode == 2
    assert "base.json: cannot be written" in full.stderr
    assert "Traceback" not in full.stderr
    assert (project / "base.json").read_bytes() == before
    assert not list(project.glob(".*.part"))
    report = run(project, "gate", saved["good"], "--junit", "g.xml", preexec_fn=small_files)
    assert report.returncode == 2
    assert not (project / "g.xml").exists()


def test_a_device_that_is_full(project: Path, saved: dict[str, Path]) -> None:
    done = run(project, "gate", saved["good"], "--sarif", "/dev/full")
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert Path("/dev/full").is_char_device()


def test_a_folder_that_takes_no_files(project: Path, saved: dict[str, Path]) -> None:
    done = run(project, "gate", saved["good"], "--junit", "/proc/gate.xml")
    assert done.returncode == 2
    assert "/proc/gate.xml" in done.stderr
    assert run(project, "gate", saved["good"], "--junit", "none/gate.xml").returncode == 2


def test_reports_are_not_replaced_unasked(project: Path, saved: dict[str, Path]) -> None:
    (project / "g.xml").write_text("mine")
    assert run(project, "gate", saved["good"], "--junit", "g.xml").returncode == 2
    assert (project / "g.xml").read_text() == "mine"
    assert run(project, "gate", saved["good"], "--junit", "g.xml", "--force").returncode == 0
    assert run(project, "gate", saved["good"], "--junit", "a", "--sarif", "a").returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bits", "16"], "--bits"),
        (["--samples", "4"], "--samples"),
        (["--resume"], "--resume"),
        (["x"], "second network"),
    ],
)
def test_a_saved_result_cannot_be_run_otherwise(
    words: list[str], told: str, project: Path, saved: dict[str, Path]
) -> None:
    done = run(project, "gate", saved["good"], *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_nothing_that_is_read_is_replaced(project: Path, saved: dict[str, Path]) -> None:
    (project / "r.json").write_bytes(saved["good"].read_bytes())
    for words in (["r.json", "--json", "r.json"], ["r.json", "--junit", "gfpq-inspect.toml"],
                  ["nets/float.caffemodel", "--json", "nets/test.npz", "--input", "nets/test.npz"],
                  ["--sarif", "nets/quant.caffemodel"]):  # fmt: skip
        done = run(project, "gate", *words, "--force")
        assert done.returncode == 2
        assert "would be lost" in done.stderr
    assert (project / "gfpq-inspect.toml").read_text() == LIMITS


def test_runs_at_once_leave_one_whole_report(project: Path, saved: dict[str, Path]) -> None:
    words = [PROGRAM, "gate", str(saved["good"]), "--junit", "g.xml", "-q"]
    runs = [subprocess.Popen(words, cwd=project, env=PLAIN, stderr=subprocess.PIPE) for _ in range(3)]
    codes = sorted(process.wait() for process in runs)
    for process in runs:
        process.communicate()
    assert codes.count(0) == 1
    assert set(codes) == {0, 2}
    ElementTree.parse(project / "g.xml")
    assert not list(project.glob(".*.part"))


@pytest.fixture
def long_run(project: Path, fixtures: Path) -> Path:
    np.save(project / "many.npy", np.tile(np.load(fixtures / "digits" / "test.npz")["data"], (120, 1, 1, 1)))
    limits = LIMITS.replace('"nets/test.npz"', '"many.npy"').replace("samples = 48\n", "")
    (project / "gfpq-inspect.toml").write_text(
        limits.replace("[[gate.limits]]\naccuracy_loss_points = 2.5\n", BASELINE[7:])
    )
    (project / "base.json").write_text("old")
    return project


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_is_no_pass_and_keeps_the_baseline(stop: signal.Signals, long_run: Path) -> None:
    words = [PROGRAM, "gate", "--update-baseline", "--junit", "g.xml", "-q"]
    process = subprocess.Popen(words, cwd=long_run, env=PLAIN, stderr=subprocess.PIPE, text=True)
    time.sleep(5)
    process.send_signal(stop)
    _, complaints = process.communicate(timeout=120)
    if process.returncode in (0, 1):
        pytest.skip("the run was over before it could be stopped")
    assert process.returncode == (130 if stop is signal.SIGINT else -9), complaints
    assert "Traceback" not in complaints
    assert (long_run / "base.json").read_text() == "old"
    if (long_run / "g.xml").exists():
        assert 'name="partial" tests="1" failures="1"' in (long_run / "g.xml").read_text()
