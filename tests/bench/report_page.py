"""How big the page is and how soon it shows what: `python -m tests.bench.report_page`.

For three sizes of network: time to render, bytes beside the chart library, and, in Chromium on file://, the time from
opening to verdict and table and to the first chart. Medians of several openings; the targets are 0.5 s and 2.5 s.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.report.html import render_html, render_shell
from tests.report import samples

OPENINGS = 7
TARGETS_S = {"table": 0.5, "chart": 2.5}


def _large() -> Result:
    return samples.large(1500)


NETWORKS: dict[str, Callable[[], Result]] = {"tiny": samples.tiny, "typical": samples.typical, "large": _large}
MARKS = """() => Object.fromEntries([
  ...performance.getEntriesByType("paint").map((entry) => [entry.name, entry.startTime / 1000]),
  ...performance.getEntriesByType("mark").map((entry) => [entry.name, entry.startTime / 1000]),
])"""


def open_once(browser: Browser, path: Path) -> dict[str, float]:
    """Times in seconds from the start of navigation: first paint, table, chart."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_function("() => performance.getEntriesByName('chart').length > 0", timeout=60_000)
    marks: dict[str, float] = page.evaluate(MARKS)
    context.close()
    # The table is seen at the first paint after it was made.
    return {"table": max(marks["first-contentful-paint"], marks["table"]), "chart": marks["chart"]}


def measure(browser: Browser, name: str, folder: Path) -> dict[str, Any]:
    """All figures of one network."""
    result = NETWORKS[name]()
    started = time.perf_counter()
    page = render_html(result)
    elapsed = time.perf_counter() - started
    path = folder / f"{name}.html"
    path.write_text(page, encoding="utf-8")
    times = [open_once(browser, path) for _ in range(OPENINGS + 1)][1:]
    own = len(render_shell(result).encode())
    return {
        "network": name,
        "layers": len(result.layers),
        "render_s": round(elapsed, 2),
        "file_mb": round(path.stat().st_size / 1e6, 2),
        "beside_library_mb": round(own / 1e6, 2),
        "table_s": round(statistics.median(entry["table"] for entry in times), 2),
        "chart_s": round(statistics.median(entry["chart"] for entry in times), 2),
    }


def main() -> int:
    """Measure and print a line a network; 1 when a target is missed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        print("chromium is not installed: the page was not measured", file=sys.stderr)
        return 1
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        for name in NETWORKS:
            rows.append(measure(browser, name, Path(folder)))
            print(json.dumps(rows[-1]), flush=True)
        browser.close()
    return int(any(row["table_s"] > TARGETS_S["table"] or row["chart_s"] > TARGETS_S["chart"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
