"""Expected pages and terminal texts of the sample results, in a form that text tools can compare.

The chart library and the compressed evidence stand as checksums: the first belongs to another project, the second
differs between versions of zlib although it inflates to the same.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
from pathlib import Path

from rich.console import Console

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.report.assets import chart_library
from gfpq_inspect.report.html import CHART_SLOT, render_shell
from gfpq_inspect.report.terminal import render_terminal

SAMPLES = Path(__file__).resolve().parents[2] / "reports" / "samples"
GOLDEN = SAMPLES / "golden"
KEPT = ("tiny", "typical", "tuned", "awkward")
DETAILS = re.compile(r'(<script type="text/plain" id="details-\d+">)([^<]*)(</script>)')
LIBRARY = re.compile(r"data-version=\"[^\"]*\" data-sha256=\"[^\"]*\">sha256:\w+|plotly\.js [0-9.]+")


def golden_page(result: Result) -> str:
    """The page, with checksums in the place of what is compressed."""

    def checksum(match: re.Match[str]) -> str:
        content = gzip.decompress(base64.b64decode(match[2]))
        return f"{match[1]}sha256:{hashlib.sha256(content).hexdigest()}{match[3]}"

    page = DETAILS.sub(checksum, render_shell(result))
    return page.replace(CHART_SLOT, f"sha256:{chart_library().sha256}")


def without_library(page: str) -> str:
    """A golden page without what another version of the chart library changes."""
    return LIBRARY.sub("", page)


def golden_text(result: Result) -> str:
    """The terminal report at 100 columns, every layer."""
    stream = io.StringIO()
    render_terminal(result, Console(file=stream, width=100, highlight=False), verbose=True, files=["report.html"])
    return stream.getvalue()
