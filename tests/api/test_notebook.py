"""The notebook in docs/ runs: its cells, in order, in plain Python, so that no notebook server is needed."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest


def run_cells(path: Path) -> list[Any]:
    """Execute the code cells in one name space; give the value that each would show."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for index, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]), f"{path.name}, cell {index}")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{path.name}, cell {index}", "exec"), namespace)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), f"{path.name}, cell {index}", "eval"), namespace))
    return shown


def test_notebook(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    notebook = root / "docs" / "python.ipynb"
    document = json.loads(notebook.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4
    assert all(not cell.get("outputs") for cell in document["cells"])
    shape, comparison, table, findings, figure, formats, own, same = run_cells(notebook)
    assert shape == (48, 1, 8, 8)
    assert comparison.good
    assert len(table) == 10
    assert findings
    assert len(figure.data) > 1
    assert formats["gfpq16"] > formats["gfpq8"] > formats["fp8-e5m2"]
    assert own["both.peak_error.maximum"].max() > 0
    assert same
