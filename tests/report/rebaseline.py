"""Rewrite every file that is made from the code: `python -m tests.report.rebaseline`, then read the diff."""

from __future__ import annotations

import json
from pathlib import Path

from gfpq_inspect.report.schema import result_schema

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def write_schema() -> None:
    path = REPORTS / "schema" / "result-1.schema.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result_schema(), indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    write_schema()
