"""The GitHub Action, the pre-commit hook and the GitLab job: read as those services read them, and their steps run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("gfpq-inspect")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "PIP_"))}
LIMITS = """
[compare]
float = "nets/float.caffemodel"
quant = "nets/quant.caffemodel"
input = "nets/test.npz"
samples = 40

[gate]
cosine = 0.98
"""


@pytest.fixture
def checkout(tmp_path: Path, fixtures: Path) -> Path:
    """A repository of a user, with networks and limits."""
    folder = tmp_path / "checkout"
    (folder / "nets").mkdir(parents=True)
    for name in ("float.caffemodel", "float.prototxt", "quant.caffemodel", "quant.prototxt", "test.npz"):
        shutil.copy(fixtures / "digits" / name, folder / "nets" / name)
    (folder / "gfpq-inspect.toml").write_text(LIMITS)
    return folder


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


class Runner:
    """Runs the steps of a composite action as GitHub's runner does."""

    def __init__(self, checkout: Path, temporary: Path, **inputs: str) -> None:
        self.action = load("action.yml")
        self.checkout = checkout
        self.inputs = {name: entry["default"] for name, entry in self.action["inputs"].items()} | inputs
        self.files = {name: temporary / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in self.files.values():
            file.touch()
        self.environment = CLEAN | {name: str(file) for name, file in self.files.items()}
        self.environment |= {
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(checkout),
            "GITHUB_ACTION_PATH": str(ROOT),
            "RUNNER_TEMP": str(temporary),
        }

    def filled(self, text: str) -> str:
        """Replace `${{ inputs.NAME }}`; an input that the action does not declare is an error."""
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: self.inputs[found[1]], text)

    def step(self, name: str) -> subprocess.CompletedProcess[str]:
        (step,) = (step for step in self.action["runs"]["steps"] if step["name"] == name)
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input in the text of a script would be run"
        script = self.files["GITHUB_OUTPUT"].with_name("step.sh")
        script.write_text(step["run"])
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.checkout / self.filled(step.get("working-directory", ".")),
            env=self.environment | {key: self.filled(value) for key, value in step["env"].items()},
            capture_output=True,
            text=True,
            check=False,
        )

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.files["GITHUB_OUTPUT"].read_text().splitlines())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A runner's temporary folder where the first step has installed this environment's program."""
    program = tmp_path / "gfpq-inspect" / "bin" / "gfpq-inspect"
    program.parent.mkdir(parents=True)
    program.symlink_to(PROGRAM)
    return tmp_path


def test_the_action_passes(checkout: Path, installed: Path) -> None:
    runner = Runner(checkout, installed, junit="gate.xml")
    done = runner.step("Gate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert runner.outputs() == {"exit-code": "0", "sarif": "gfpq-inspect.sarif"}
    assert json.loads((checkout / "gfpq-inspect.sarif").read_text())["version"] == "2.1.0"
    assert (checkout / "gate.xml").exists()
    assert runner.files["GITHUB_STEP_SUMMARY"].read_text().startswith("### ✅")


def test_the_action_fails_and_marks_the_prototxt(checkout: Path, installed: Path) -> None:
    (checkout / "strict.toml").write_text(LIMITS.replace("0.98", "0.9999"))
    runner = Runner(checkout, installed, config="strict.toml", sarif="")
    done = runner.step("Gate")
    assert done.returncode == 1
    assert runner.outputs() == {"exit-code": "1"}
    assert "::error file=nets/float.prototxt,line=" in done.stdout
    assert runner.files["GITHUB_STEP_SUMMARY"].read_text().startswith("### ❌")
    again = Runner(checkout, installed, config="none.toml")
    assert again.step("Gate").returncode == 2


def test_arguments_of_the_action_are_words_and_nothing_is_run(checkout: Path, installed: Path) -> None:
    arguments = (
        "nets/float.caffemodel\n\n--input\nnets/test.npz\n--samples\n40\n--json\n$(touch pwned); touch pwned.json\n"
    )
    done = Runner(checkout, installed, arguments=arguments).step("Gate")
    assert done.returncode == 0, done.stderr
    assert (checkout / "$(touch pwned); touch pwned.json").exists()
    assert not (checkout / "pwned").exists()


def test_the_action_runs_in_another_folder(checkout: Path, installed: Path) -> None:
    inner = checkout / "inner"
    inner.mkdir()
    runner = Runner(checkout, installed, **{"working-directory": "inner"})
    assert runner.step("Gate").returncode == 0
    assert (inner / "gfpq-inspect.sarif").exists()


@pytest.mark.slow
def test_the_action_installs_and_runs(checkout: Path, tmp_path: Path) -> None:
    runner = Runner(checkout, tmp_path)
    # The wheel is built by the tools of this environment and its dependencies are this environment's, so that the step
    # needs no network here; what it runs is the same.
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    runner.inputs |= {"package": str(wheel), "python": sys.executable}
    runner.environment |= {"PIP_NO_DEPS": "1", "PYTHONPATH": sysconfig.get_paths()["purelib"]}
    done = runner.step("Install gfpq-inspect")
    assert done.returncode == 0, done.stderr
    runner.environment["PYTHONPATH"] = os.pathsep.join(
        [str(next((tmp_path / "gfpq-inspect" / "lib").glob("python*/site-packages"))), runner.environment["PYTHONPATH"]]
    )
    done = runner.step("Gate")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_declares_what_it_uses() -> None:
    action = load("action.yml")
    assert action["runs"]["using"] == "composite"
    text = (ROOT / "action.yml").read_text("utf-8")
    used = set(re.findall(r"inputs\.([\w-]+)", text))
    assert used == set(action["inputs"])
    for entry in [*action["inputs"].values(), *action["outputs"].values()]:
        assert entry["description"]
    outputs = set(re.findall(r"steps\.gate\.outputs\.([\w-]+)", text))
    assert outputs == set(re.findall(r'echo "([\w-]+)=', text)) == set(action["outputs"])


def test_the_example_workflow_gives_only_inputs_that_exist() -> None:
    workflow = load("docs/ci/github.yml")
    (step,) = (step for step in workflow["jobs"]["gate"]["steps"] if step.get("id") == "gate")
    assert set(step["with"]) <= set(load("action.yml")["inputs"])


def test_the_hook_runs_in_a_repository(checkout: Path) -> None:
    (hook,) = load(".pre-commit-hooks.yaml")
    assert {"id", "name", "entry", "language"} <= set(hook)
    (used,) = load("docs/ci/pre-commit-config.yaml")["repos"]
    assert [entry["id"] for entry in used["hooks"]] == [hook["id"]]
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    pattern = re.compile(hook["files"])
    triggering = [path for path in checkout.rglob("*") if pattern.search(path.relative_to(checkout).as_posix())]
    assert {path.name for path in triggering} >= {"float.prototxt", "quant.caffemodel", "gfpq-inspect.toml"}
    assert not pattern.search("nets/test.npz")
    words = shlex.split(hook["entry"]) + ([] if hook["pass_filenames"] is False else ["never"])
    environment = CLEAN | {"PATH": f"{PROGRAM.parent}{os.pathsep}{CLEAN['PATH']}"}
    assert subprocess.run(words, cwd=checkout, env=environment, capture_output=True, check=False).returncode == 0
    (checkout / "gfpq-inspect.toml").write_text(LIMITS.replace("0.98", "0.9999"))
    assert subprocess.run(words, cwd=checkout, env=environment, capture_output=True, check=False).returncode == 1
    # A second run leaves nothing behind that pre-commit would call a change.
    changed = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert all("nets/" in line or "gfpq-inspect.toml" in line for line in changed.stdout.splitlines())


def test_the_gitlab_job_runs(checkout: Path) -> None:
    job = load("docs/ci/gitlab-ci.yml")["gfpq-inspect"]
    environment = CLEAN | job["variables"] | {"PATH": f"{PROGRAM.parent}{os.pathsep}{CLEAN['PATH']}", "CI": "true"}
    environment["PIP_NO_INDEX"] = "1"  # it is installed here: pip finds it without looking elsewhere
    script = "\n".join(job["script"])
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    artefacts = job["artifacts"]
    for name in [artefacts["reports"]["junit"], *artefacts["paths"]]:
        assert (checkout / name).is_file(), name
