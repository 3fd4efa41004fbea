"""Unit tests of the page's own modules, run inside the same Chromium."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from gfpq_inspect.report.assets import link_scripts, read_asset

pytestmark = pytest.mark.browser
UNIT = Path(__file__).parent / "unit"


def load(name: str) -> str:
    """A test module, or a module of the page."""
    own = UNIT / f"{name}.js"
    return own.read_text(encoding="utf-8") if own.is_file() else read_asset("modules", f"{name}.js")


def test_modules(browser: Browser) -> None:
    page = browser.new_page()
    page.evaluate(link_scripts("all", load))
    results = page.evaluate("unitTestResults")
    page.close()
    assert len(results) >= 16
    assert [(name, fault) for name, fault in results if fault] == []


def test_python_and_script_escape_alike(browser: Browser) -> None:
    from gfpq_inspect.report.text import visible
    from tests.report.samples import HOSTILE_NAMES

    page = browser.new_page()
    page.evaluate(
        link_scripts("all", load).replace(
            "globalThis.unitTestResults", "globalThis.visibleText = visible; globalThis.x"
        )
    )
    # Characters that this Python's Unicode does not know yet may be assigned in the browser's.
    assigned = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code)) != "Cn"]
    characters = [*assigned, *HOSTILE_NAMES]
    assert page.evaluate("texts => texts.map(visibleText)", characters) == [visible(text) for text in characters]
    page.close()
