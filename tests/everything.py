"""Runs every check and test, having installed the system packages that they need, and says what was not run.

As root on a system with apt-get the packages are installed; elsewhere each missing one is named, the rest runs, and
the list of what was not run comes last. With CI=true anything missing is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() == "true"

# program that must be found, Debian packages that bring it, what is not tested without it
SYSTEM_PACKAGES: list[tuple[str, tuple[str, ...], str]] = [
    ("chromium", ("chromium",), "the HTML report in a real browser"),
    ("clang++", ("clang", "libclang-rt-14-dev"), "sanitizers and fuzzers"),
    ("x86_64-w64-mingw32-g++", ("g++-mingw-w64-x86-64",), "the Windows library"),
    ("valgrind", ("valgrind",), "memory errors in the C library"),
    ("pkg-config", ("pkg-config",), "the installed library's pkg-config file"),
]


def install_system_packages() -> list[str]:
    """Install what is missing where that is possible; return a line for each thing that stays missing."""
    missing = [entry for entry in SYSTEM_PACKAGES if shutil.which(entry[0]) is None]
    if missing and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [package for _, names, _ in missing for package in names]
        print(f"installing {' '.join(packages)}", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            env=environment,
            check=False,
            stdout=subprocess.DEVNULL,
        )
        missing = [entry for entry in SYSTEM_PACKAGES if shutil.which(entry[0]) is None]
    return [f"{program} is not installed: {purpose} not tested" for program, _, purpose in missing]


def run(title: str, command: list[str]) -> bool:
    """Run one step from the project's top folder; return whether it passed."""
    print(f"\n== {title}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> int:
    """Run all steps; 0 when every one passed and, in CI, nothing was missing."""
    missing = install_system_packages()
    failed = []
    if not run("checks", ["make", "check"]):
        failed.append("make check")
    workers = str(max(1, os.cpu_count() or 1))
    if not run("tests", [sys.executable, "-m", "pytest", "-n", workers, "--dist", "loadfile", *sys.argv[1:]]):
        failed.append("pytest")
    for line in missing:
        print(f"not run: {line}")
    for step in failed:
        print(f"failed: {step}")
    return 1 if failed or (IN_CI and missing) else 0


if __name__ == "__main__":
    sys.exit(main())
