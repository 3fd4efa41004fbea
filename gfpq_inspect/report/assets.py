"""The files that a page is made of: template, styles, our scripts linked into one, the chart library of Plotly.

They live in the folder `reports` of the project: beside this module in a wheel, at the top of the tree in an editable
install or a source distribution.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from gfpq_inspect.errors import InternalError, OutputError

IMPORT = re.compile(r'^import\s*\{([^}]*)\}\s*from\s*"\./([\w-]+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function|const|let|class)", re.MULTILINE)
EXPORTED = re.compile(r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
COMMENT_LINES = re.compile(r"^\s*(?://|/\*\*.*\*/\s*$|\*).*\n|^\s*/\*\*\s*\n", re.MULTILINE)


@dataclass(frozen=True)
class ChartLibrary:
    """The plotly.js that the installed `plotly` package ships.

    Attributes:
        packed: gzip and base64, for the page to inflate.
        version: Its version.
        sha256: Of the file as installed.
    """

    packed: str
    version: str
    sha256: str


def assets() -> Traversable:
    """The folder `reports`."""
    installed = resources.files("gfpq_inspect.report") / "reports"
    if (installed / "template").is_dir():
        return installed
    tree = Path(__file__).resolve().parents[2] / "reports"
    if (tree / "template").is_dir():
        return tree
    raise InternalError("the page's template is missing from the installation; install gfpq-inspect again")


def read_asset(*parts: str) -> str:
    """Text of an asset."""
    return assets().joinpath(*parts).read_text(encoding="utf-8")


@functools.cache
def chart_library() -> ChartLibrary:
    """Compress the installed chart library; the same bytes for the same file."""
    installed = resources.files("plotly") / "package_data" / "plotly.min.js"
    if not installed.is_file():
        raise OutputError("the installed plotly package ships no plotly.js: install it again (pip install plotly)")
    source = installed.read_bytes()
    version = re.search(rb"plotly\.js v([0-9.]+)", source[:400])
    packed = base64.b64encode(gzip.compress(source, compresslevel=9, mtime=0)).decode("ascii")
    return ChartLibrary(packed, version.group(1).decode() if version else "unknown", hashlib.sha256(source).hexdigest())


def link_scripts(entry: str, read: object = None) -> str:
    """Join ES modules into one classic script, dependencies first, without a bundler.

    The modules keep to a small form that makes this possible: imports are single lines of named members of neighbours
    (`import { a, b } from "./name.js";`), exports stand before declarations, and no two modules declare the same
    top-level name.

    Args:
        entry: Name of the module to begin with, without `.js`.
        read: Function from module name to source; the `modules` folder by default.

    Raises:
        InternalError: A module breaks the form.
    """
    load = read if callable(read) else lambda name: read_asset("modules", f"{name}.js")
    sources: dict[str, str] = {}
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise InternalError(f"script modules import each other: {' -> '.join([*path, name])}")
        if name in sources:
            return
        sources[name] = load(name)
        for _, neighbour in IMPORT.findall(sources[name]):
            visit(neighbour, (*path, name))
        order.append(name)

    visit(entry, ())
    check_modules(sources)
    body = "".join(COMMENT_LINES.sub("", EXPORT.sub("", IMPORT.sub("", sources[name]))) for name in order)
    if "</script" in body.lower() or "<!--" in body:
        raise InternalError("a script holds a sequence that would end the script element")
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def check_modules(sources: dict[str, str]) -> None:
    """Check what linking by joining relies on."""
    declared: dict[str, str] = {}
    for name, source in sources.items():
        if re.search(r"^import(?!\s*\{[^}]*\}\s*from\s*\"\./[\w-]+\.js\";\n)", source, re.MULTILINE):
            raise InternalError(f"script module {name}: an import is not of the form that can be linked")
        for member in TOP_LEVEL.findall(source):
            if member in declared:
                raise InternalError(f"script modules {declared[member]} and {name} both declare {member}")
            declared[member] = name
        for members, neighbour in IMPORT.findall(source):
            exported = set(EXPORTED.findall(sources[neighbour]))
            wanted = {member.strip() for member in members.split(",") if member.strip()}
            if wanted - exported:
                raise InternalError(
                    f"script module {name}: {neighbour} does not export {', '.join(sorted(wanted - exported))}"
                )


def script_hash(script: str) -> str:
    """The content policy's name for an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
