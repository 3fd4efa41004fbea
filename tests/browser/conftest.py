"""Chromium on pages that are opened as files, with the network off."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.report.html import render_html
from tests.report import samples

WIDE, NARROW = (1440, 900), (390, 844)
PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        message = "chromium is not installed: needed for the tests of the HTML report"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    # The sandbox needs privileges that root in a container does not have.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@functools.cache
def sample(name: str) -> Result:
    """A sample result, made once."""
    if name == "large":
        return samples.large(1200, details=False)
    if name == "before":
        return samples.typical_before()
    return samples.SAMPLES[name]()


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the page of a sample once and gives its path."""
    folder = tmp_path_factory.mktemp("pages")

    @functools.cache
    def write(name: str) -> Path:
        path = folder / f"{name}.html"
        current, _, before = name.partition("-against-")
        path.write_text(render_html(sample(current), sample(before) if before else None), encoding="utf-8")
        return path

    return write


@dataclass
class Opened:
    """A page that was opened.

    Attributes:
        page: Playwright's page.
        complaints: Errors and warnings of its console.
        requests: Addresses that it asked for.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def wait_for_charts(self, count: int = 1) -> None:
        """Wait until that many charts stand."""
        self.page.wait_for_function(
            "count => document.querySelectorAll('.js-plotly-plot .main-svg').length >= count", arg=count, timeout=20_000
        )

    def rows(self, table: str = "#layer-table") -> list[str]:
        """Names in a table of layers, from the top."""
        return [text.strip() for text in self.page.locator(f"{table} tbody td a.layer").all_text_contents()]


@pytest.fixture
def open_page(browser: Browser, page_file: Callable[[str], Path]) -> Iterator[Callable[..., Opened]]:
    """Opens the page of a sample; at the end no page may have complained or asked for anything but itself."""
    contexts = []
    pages: list[Opened] = []

    def open_it(
        name: str, address: str = "", *, size: tuple[int, int] = WIDE, theme: Any = "light", **options: Any
    ) -> Opened:
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, color_scheme=theme, offline=True, **options)  # type: ignore[arg-type]  # a plain dict is what it takes
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on(
            "console", lambda m: opened.complaints.append(m.text) if m.type in {"error", "warning"} else None
        )
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        pages.append(opened)
        opened.page.goto(f"{page_file(name).as_uri()}{address}")
        return opened

    yield open_it
    for opened in pages:
        assert opened.complaints == []
        assert all(url.startswith(("file:", "blob:")) for url in opened.requests)
        assert sum(url.startswith("file:") for url in opened.requests) <= 2
    for context in contexts:
        context.close()
