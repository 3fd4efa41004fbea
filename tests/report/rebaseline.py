"""Rewrite every file that is made from the code, then read the diff.

`python -m tests.report.rebaseline` rewrites the schema and the expected pages and texts of the sample results;
`--results` makes the sample results anew first; `--pages FOLDER` writes whole pages there instead, a large one too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gfpq_inspect.report.html import render_html
from gfpq_inspect.report.jsonfile import read_result, write_result
from gfpq_inspect.report.schema import result_schema
from tests.report import samples
from tests.report.golden import GOLDEN, KEPT, SAMPLES, golden_page, golden_text


def write_schema() -> None:
    path = SAMPLES.parent / "schema" / "result-1.schema.json"
    path.write_text(json.dumps(result_schema(), indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


def write_results() -> None:
    for name in KEPT:
        write_result(samples.SAMPLES[name](), SAMPLES / f"{name}.json", overwrite=True)


def write_goldens() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        result = read_result(SAMPLES / f"{name}.json")
        (GOLDEN / f"{name}.html").write_text(golden_page(result), encoding="utf-8")
        (GOLDEN / f"{name}.txt").write_text(golden_text(result), encoding="utf-8")


def write_pages(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    results = {name: read_result(SAMPLES / f"{name}.json") for name in KEPT}
    results["large"] = samples.large(1200)
    for name, result in results.items():
        path = folder / f"{name}.html"
        path.write_text(render_html(result), encoding="utf-8")
        print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
    path = folder / "typical-against-baseline.html"
    path.write_text(render_html(results["typical"], samples.typical_before()), encoding="utf-8")
    print(f"wrote {path}")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--pages"]:
        write_pages(Path(arguments[1]))
        return
    write_schema()
    if arguments == ["--results"]:
        write_results()
    write_goldens()
    print("rewritten; read the changes with: git diff --stat reports")


if __name__ == "__main__":
    main(sys.argv[1:])
