"""`gfpq-inspect doctor`: what is installed, what is in use, what is missing and how to get it."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata
from typing import Annotated

import typer

from gfpq_inspect import __version__
from gfpq_inspect.errors import MissingExtraError, UserError

_DISTRIBUTION = "gfpq-inspect"


@dataclass
class Line:
    """One fact: what it is about, what was found, and what to do about it.

    Attributes:
        name: What it is about.
        found: What was found.
        state: 'ok', 'note' (an option that is not there), 'warning' or 'missing' (the tool cannot work).
        remedy: What to do about it, as one clause; empty when nothing is to be done.
    """

    name: str
    found: str
    state: str = "ok"
    remedy: str = ""


@dataclass
class Diagnosis:
    """Everything that was looked at, in groups."""

    groups: dict[str, list[Line]] = field(default_factory=dict)

    def add(self, group: str, *lines: Line) -> None:
        """Append lines to a group."""
        self.groups.setdefault(group, []).extend(lines)

    @property
    def usable(self) -> bool:
        """False when something that every command needs is missing."""
        return all(line.state != "missing" for lines in self.groups.values() for line in lines)


def doctor(
    library: Annotated[
        bool, typer.Option("--library", help="Print only the folder that holds include/gfpq.hpp and lib/libgfpq.so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Say what is installed, what is in use and what is missing.

    Example: g++ main.cpp -I"$(gfpq-inspect doctor --library)/include" -L"$(gfpq-inspect doctor --library)/lib" -lgfpq
    """
    if library:
        print(library_folder())
        return 0
    diagnosis = diagnose()
    if as_json:
        groups = {group: [asdict(line) for line in lines] for group, lines in diagnosis.groups.items()}
        print(json.dumps({"version": __version__, "usable": diagnosis.usable, "groups": groups}, indent=2))
    else:
        print_diagnosis(diagnosis)
    return 0 if diagnosis.usable else 1


def library_folder() -> str:
    """The folder that holds the header and the drop-in libraries.

    Raises:
        UserError: This installation has none.
    """
    from gfpq_inspect.quantize.installed import find_library_folder

    folder = find_library_folder()
    if folder is None:
        raise UserError(
            "this installation holds no gfpq.hpp and libgfpq: install gfpq-inspect with pip, "
            "or build them with cmake -S native -B build/native"
        )
    return str(folder)


def diagnose() -> Diagnosis:
    """Look at everything. A part that fails is reported as missing, and the rest goes on."""
    diagnosis = Diagnosis()
    diagnosis.add(
        "program",
        Line("gfpq-inspect", __version__),
        Line("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
    )
    for group, look in (
        ("quantizer", _quantizer),
        ("drop-in library", _library),
        ("GPU", _gpu),
        ("packages", _packages),
    ):
        diagnosis.add(group, *_safely(group, look))
    return diagnosis


def _safely(group: str, look: Callable[[], list[Line]]) -> list[Line]:
    try:
        return look()
    except Exception as error:  # a broken installation is what this command is for
        reason = f"{type(error).__name__}: {error}"
        return [
            Line(group, reason, "missing", "install gfpq-inspect again: pip install --force-reinstall gfpq-inspect")
        ]


def _quantizer() -> list[Line]:
    from gfpq_inspect.quantize import runtime

    available = ", ".join(runtime.instruction_sets())
    lines = [Line("instructions", f"{runtime.instruction_set()} (this machine has {available})")]
    wanted = runtime.unusable_instruction_set()
    if wanted is not None:
        remedy = f"unset GFPQ_INSTRUCTION_SET, or set it to one of {available}"
        lines.append(Line("GFPQ_INSTRUCTION_SET", f"'{wanted}' cannot run here and is ignored", "warning", remedy))
    return [*lines, Line("threads", str(runtime.thread_limit()))]


def _library() -> list[Line]:
    from gfpq_inspect.quantize.installed import find_library_folder
    from gfpq_inspect.quantize.loader import find_on_loader_path

    folder = find_library_folder()
    if folder is None:
        return [Line("libgfpq", "not part of this installation", "note", "install gfpq-inspect with pip to have it")]
    lines = [Line("libgfpq", str(folder))]
    for name in ("libgfpq", "libgfpq_gpu"):
        other = find_on_loader_path(name, folder / "lib")
        if other is not None:
            remedy = f"take its folder out of {other.because}, or put {folder / 'lib'} before it"
            lines.append(Line(f"another {name}", f"{other.path} is loaded before ours", "warning", remedy))
    return lines


def _gpu() -> list[Line]:
    from gfpq_inspect.quantize import cuda_kernels

    lines = []
    program = shutil.which("nvidia-smi")
    if program is not None:
        query = [program, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
        lines = [Line("NVIDIA driver", text.strip()) for text in done.stdout.splitlines() if done.returncode == 0]
    try:
        cupy = cuda_kernels.cupy()
    except MissingExtraError:
        remedy = (
            "pip install 'gfpq-inspect[cuda]'" if lines else "pip install 'gfpq-inspect[cuda]' on a machine with one"
        )
        return [*lines, Line("CuPy", "not installed: arrays on a GPU cannot be quantized", "note", remedy)]
    except UserError as error:
        return [*lines, Line("CuPy", str(error), "note", "check the driver with nvidia-smi")]
    device = cupy.cuda.Device()
    name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    return [*lines, Line("CuPy", f"{cupy.__version__} on {name}, sm_{device.compute_capability}")]


def _packages() -> list[Line]:
    """Each requirement of this distribution, with the installed version."""
    lines = []
    for text in metadata.requires(_DISTRIBUTION) or []:
        requirement, _, marker = text.partition(";")
        name = re.split(r"[\s<>=!~\[(]", requirement.strip(), maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", marker)
        if extra is not None and extra[1] == "dev":
            continue
        lines.append(_package(name, requirement.strip(), None if extra is None else extra[1]))
    return lines


def _package(name: str, requirement: str, extra: str | None) -> Line:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if extra is None:
            return Line(name, f"not installed, needed: {requirement}", "missing", f"pip install '{requirement}'")
        return Line(name, "not installed", "note", f"pip install '{_DISTRIBUTION}[{extra}]'")
    if name == "onnxruntime":
        providers = ", ".join(import_module("onnxruntime").get_available_providers())
        version = f"{version}, {providers}"
    return Line(name, version)


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print the groups in columns; warnings once more at the end, where they are seen."""
    width = max(len(line.name) for lines in diagnosis.groups.values() for line in lines)
    for group, lines in diagnosis.groups.items():
        print(group)
        for line in lines:
            mark = {"ok": " ", "note": "-", "warning": "!", "missing": "X"}[line.state]
            print(f"  {mark} {line.name:<{width}}  {line.found}{f' -> {line.remedy}' if line.remedy else ''}")
    urgent = [line for lines in diagnosis.groups.values() for line in lines if line.state in {"warning", "missing"}]
    for line in urgent:
        print(f"gfpq-inspect: {line.state}: {line.name}: {line.found}; {line.remedy}", file=sys.stderr)
