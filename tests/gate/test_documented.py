"""docs/gate.md tells every key and every check, and shows the example that is run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gfpq_inspect.gate import settings
from gfpq_inspect.gate.configuration import GATE_KEYS, HOW_KEYS, SELECTOR_KEYS, read_configuration


def test_every_key_and_check_is_documented(root: Path) -> None:
    text = (root / "docs" / "gate.md").read_text("utf-8")
    told = set(re.findall(r'`"?([\w.-]+)"?`', text)) | set(re.findall(r"\b(\w+) = ", text))
    wanted = {*settings.RULES, *settings.METRICS, *SELECTOR_KEYS, *HOW_KEYS, *settings.OVER, *settings.CHANGEABLE}
    wanted |= {"what", "reason", "expires", "file", "may_change", "verdict", "findings"}
    assert wanted - told == set()
    assert set(GATE_KEYS) - told <= {"limits", "allow", "baseline"}
    for percentile in settings.PERCENTILES:
        assert re.search(rf"\b{percentile}\b", text)


def test_the_example_is_the_file_that_is_run(root: Path) -> None:
    (block,) = re.findall(
        r"^```toml\n(.*?)^```", (root / "docs" / "gate.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    file = root / "fixtures" / "gate" / "gfpq-inspect.toml"
    assert block == file.read_text("utf-8")
    assert set(tomllib.loads(block)) == {"compare", "gate"}
    assert len(read_configuration(file).limits) == 7
