"""The Python interface: what it offers, what it takes, what it gives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gfpq_inspect
from gfpq_inspect.errors import ModelError, OutputError, QuantizationError, UsageError
from gfpq_inspect.report.jsonfile import canonical

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def digits(fixtures: Path) -> Path:
    """The embedded networks."""
    return fixtures / "digits"


@pytest.fixture(scope="module")
def images(digits: Path) -> Array:
    """A few digits."""
    with np.load(digits / "test.npz") as stored:
        return np.asarray(stored["data"][:6])


@pytest.fixture(scope="module")
def comparison(digits: Path, images: Array) -> gfpq_inspect.Comparison:
    """One network, with a metric of the caller's own."""
    return gfpq_inspect.compare(
        digits / "float.caffemodel",
        inputs=images,
        metrics={"peak": lambda reference, test: float(np.abs(test - reference).max())},
    )


def test_public_surface() -> None:
    assert gfpq_inspect.__all__ == ["Comparison", "__version__", "compare", "load", "open_result"]
    assert dir(gfpq_inspect) == gfpq_inspect.__all__
    assert all(getattr(gfpq_inspect, name) is not None for name in gfpq_inspect.__all__)
    with pytest.raises(AttributeError, match="no attribute 'compere'"):
        _ = gfpq_inspect.compere  # type: ignore[attr-defined]  # that is the point
    public = [name for name in vars(gfpq_inspect.Comparison) if not name.startswith("_")]
    assert public == [
        "result", "good", "findings", "layers", "task", "accuracy", "coefficients", "layer", "task_figure",
            "save_coefficients", "figure", "to_html", "to_json", "save", "gate",
    ]  # fmt: skip


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys, gfpq_inspect; heavy = {'numpy', 'onnx', 'onnxruntime', 'pandas', 'plotly'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_layers_and_metrics(comparison: gfpq_inspect.Comparison) -> None:
    frame = comparison.layers
    assert list(frame["key"]) == [row.key for row in comparison.result.layers]
    row = comparison.layer("fc")
    cells = frame[frame["key"] == "fc"].iloc[0]
    assert cells["both.sqnr_db"] == row.scores["both"].sqnr_db
    assert cells["both.peak.maximum"] == pytest.approx(row.scores["both"].max_abs_error, rel=1e-6)
    assert cells["both.peak.minimum"] <= cells["both.peak"] <= cells["both.peak.maximum"]
    stored = comparison.result.details["metrics"]["peak"]["both"]["fc"]
    assert stored["samples"] == 6
    with pytest.raises(UsageError, match="no layer 'nobody'"):
        comparison.layer("nobody")


def test_figures_and_files(comparison: gfpq_inspect.Comparison, tmp_path: Path) -> None:
    assert len(comparison.figure().data) >= 3
    assert "both" in comparison.figure("fc", metric="cosine").data[0].x
    with pytest.raises(UsageError, match="no figure of 'kl'"):
        comparison.figure(metric="kl")
    for suffix in ("json", "html", "csv", "md"):
        path = comparison.save(tmp_path / f"report.{suffix}")
        assert path.stat().st_size > 100
    with pytest.raises(OutputError):
        comparison.save(tmp_path / "report.csv")
    with pytest.raises(UsageError, match="the suffix says"):
        comparison.save(tmp_path / "report.doc")
    again = gfpq_inspect.open_result(tmp_path / "report.json")
    assert again.result.layers == canonical(comparison.result).layers
    assert list(again.layers.columns) == list(comparison.layers.columns)


def test_inputs_of_every_kind(digits: Path, images: Array, comparison: gfpq_inspect.Comparison, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    model = gfpq_inspect.load(digits / "float.caffemodel")

    def made() -> Iterator[Array]:
        yield from images

    for given in (images, {"data": images}, made, tmp_path / "images.npy", [tmp_path / "images.npy"]):
        found = gfpq_inspect.compare(model, inputs=given, isolate=False)
        assert found.layer("fc").scores["both"].cosine == comparison.layer("fc").scores["both"].cosine


def test_formats_and_quantizers(digits: Path, images: Array) -> None:
    model = gfpq_inspect.load(digits / "float.caffemodel")
    named = gfpq_inspect.compare(model, inputs=images, format="int8", coefficients="sample", isolate=False)

    def own(array: Array) -> Array:
        scale = np.float32(np.abs(array).max() / 127) or np.float32(1)
        return (np.rint(array / scale) * scale).astype(array.dtype)

    called = gfpq_inspect.compare(model, inputs=images, format=own, isolate=False)
    assert called.result.run.number_format == "own"
    for row in named.result.layers:
        for name, score in row.scores.items():
            assert called.layer(row.key).scores[name] == score
    # Batches, workers and the calibration's grouping change nothing.
    once = gfpq_inspect.compare(model, inputs=images, format="uint8", workers=1, isolate=False)
    again = gfpq_inspect.compare(model, inputs=images, format="uint8", workers=3, isolate=False)
    assert once.result.layers == again.result.layers
    assert once.result.coefficients == again.result.coefficients


def test_mistakes_are_told(digits: Path, images: Array) -> None:
    model = gfpq_inspect.load(digits / "float.caffemodel")
    with pytest.raises(ModelError, match="does not exist"):
        gfpq_inspect.load("nowhere.caffemodel")
    with pytest.raises(QuantizationError, match="no number format 'int3'"):
        gfpq_inspect.compare(model, inputs=images, format="int3")
    with pytest.raises(UsageError, match="nothing to compare"):
        gfpq_inspect.compare(model, inputs=images, format=None)
    with pytest.raises(UsageError, match="a format is a name"):
        gfpq_inspect.compare(model, inputs=images, format=8)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(UsageError, match="holds files"):
        gfpq_inspect.compare(model, inputs=[images, images])
    with pytest.raises(UsageError, match="the metric 'bad' raised ValueError at"):
        gfpq_inspect.compare(model, inputs=images, metrics={"bad": _bad})


def _bad(_reference: Array, _test: Array) -> float:
    raise ValueError("no")
