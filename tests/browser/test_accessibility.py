"""axe-core finds nothing, the contrast rule included, in both themes and at both widths."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

import pytest

from tests.browser.conftest import NARROW, WIDE, Opened

pytestmark = pytest.mark.browser
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize(
    ("name", "address"),
    [("typical", ""), ("typical", "#layer=res3c_branch2a"), ("typical", "#view=graph&layer=res3c_branch2a"),
     ("tuned", "#view=run"), ("tuned", "#view=help"), ("awkward", ""), ("typical-against-before", "#view=compare")],
)  # fmt: skip
def test_axe_is_content(
    open_page: Callable[..., Opened], name: str, address: str, size: tuple[int, int], theme: str
) -> None:
    opened = open_page(name, address, size=size, theme=theme)
    if "view" not in address:
        opened.wait_for_charts()
    opened.page.evaluate(AXE)
    report = opened.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    found = [
        (v["id"], v["nodes"][0]["html"][:160], v["nodes"][0].get("failureSummary", "")[:300])
        for v in report["violations"]
    ]
    assert found == []
    assert "color-contrast" in opened.page.evaluate("axe.getRules().map((rule) => rule.ruleId)")
