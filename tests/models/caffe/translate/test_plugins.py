"""Layer types and host operators from installed packages."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.translate import registry
from gfpq_inspect.models.host_operators import registry as host_registry
from gfpq_inspect.models.run import run_model

from .single import build, inputs_text, layer_text, numbers

MODULE = """
import numpy as np
from gfpq_inspect.models.model import CUSTOM_DOMAIN

def proposal(context):
    value = context.emit("Sorted", context.bottom(), domain=CUSTOM_DOMAIN, falling=1)
    context.output(context.emit("Relu", value))

def sorted_values(attributes, inputs):
    rows = np.sort(inputs[0], axis=-1)
    return [rows[..., ::-1] if attributes["falling"] else rows]
"""
ENTRY_POINTS = """
[gfpq_inspect.caffe_layers]
Proposal = own_layers:proposal
[gfpq_inspect.host_operators]
Sorted = own_layers:sorted_values
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package with a layer type and a host operator."""
    metadata: Path = tmp_path / "own_layers-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: own-layers\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "own_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for cached in (registry._translators, host_registry._functions):
        cached.cache_clear()
    yield
    monkeypatch.undo()
    sys.modules.pop("own_layers", None)
    for cached in (registry._translators, host_registry._functions):
        cached.cache_clear()


def test_a_package_adds_a_layer_and_its_operator(plugin, tmp_path):
    text = inputs_text({"x": (2, 5)}) + layer_text("Proposal", "x", name="rois")
    model = build(tmp_path, text)
    assert [layer.key for layer in model.layers if layer.nodes] == ["rois"]
    x = numbers(2, 5)
    np.testing.assert_array_equal(run_model(model, {"x": x})["rois"], np.maximum(np.sort(x)[:, ::-1], 0))


def test_without_the_package_the_network_is_cut_there(tmp_path):
    text = inputs_text({"x": (2, 5)}) + layer_text("Proposal", "x", tops="r") + layer_text("ReLU", "r", name="relu")
    with pytest.raises(ModelError, match="--input-shape r:"):
        build(tmp_path, text)


def test_an_operator_that_nobody_provides_is_named():
    with pytest.raises(ModelError, match="no host operator is called 'Nothing'"):
        host_registry.compute("Nothing", {}, [])


def test_every_built_in_type_is_a_documented_function():
    for name in registry.known_types():
        found = registry.translator(name)
        assert found is not None
        assert found.function.__doc__, name
        assert found.function.__module__.startswith("gfpq_inspect.models.caffe.translate.")
