"""Make the pictures of the documentation with the tool itself: `python docs/make_pictures.py` after `make demo`."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = "/usr/bin/chromium"


def main() -> int:
    """Photograph the top of the demo's report."""
    page_file = ROOT / "demo" / "report.html"
    if not page_file.is_file():
        print("demo/report.html is missing: run make demo first", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.wait_for_selector(".plotly", timeout=60_000)
        page.wait_for_timeout(500)
        page.screenshot(path=ROOT / "docs" / "report.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
