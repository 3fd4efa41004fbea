"""Quant layers: quantization points in the table, identities in the graph, strangers refused."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.model import LayerKind, Quantization
from gfpq_inspect.models.run import run_model

from .single import build, inputs_text, layer_text, numbers

IMAGE = inputs_text({"x": (1, 3, 4, 4)})


@pytest.mark.parametrize(
    ("parameters", "bits"),
    [
        ("quant_param { quant_bits: 8 quant_en: 1 }", 8),
        ("quant_param { quant_bits: 16 quant_en: true }", 16),
        ("quant_param { quant_bits: 16 }", 16),
        ("", 8),
    ],
)
def test_a_quant_layer_is_a_point_and_an_identity(parameters, bits, tmp_path):
    model = build(tmp_path, IMAGE + layer_text("Quant", "x", parameters, name="q"))
    layer = model.layers[-1]
    assert layer.kind is LayerKind.QUANT
    assert layer.quantization == Quantization(inputs=("input",), bits=bits)
    assert ("8 bits assumed" in " ".join(layer.notes)) == (not parameters)
    x = numbers(1, 3, 4, 4)
    np.testing.assert_array_equal(run_model(model, {"x": x})["q"], x)


def test_a_quant_layer_that_is_off_quantizes_nothing(tmp_path):
    model = build(tmp_path, IMAGE + layer_text("Quant", "x", "quant_param { quant_en: 0 }"))
    assert model.layers[-1].quantization is None
    assert "quant_en: 0" in model.layers[-1].quantization_reason


@pytest.mark.parametrize(
    ("parameters", "owner"),
    [
        ('quant_param { forward_func: "hwgq" backward_func: "relu" centers: 0.5 }', "HWGQ"),
        ("quant_param { with_offset: true scale: 0.1 }", "Ascend"),
        ("quant_param { actives_quant_val: 8 weights_quant_val: 8 }", "another chip"),
    ],
)
def test_quant_layers_of_others_are_refused_by_name(parameters, owner, tmp_path):
    with pytest.raises(ModelError, match=owner):
        build(tmp_path, IMAGE + layer_text("Quant", "x", parameters))


def test_bits_that_gfpq_lacks_are_refused(tmp_path):
    with pytest.raises(ModelError, match="quant_bits is 4"):
        build(tmp_path, IMAGE + layer_text("Quant", "x", "quant_param { quant_bits: 4 }"))


def test_weights_are_stored_as_the_blob_has_them(tmp_path):
    weight, bias = numbers(4, 3, 1, 1), numbers(4, seed=1)
    text = IMAGE + layer_text("Convolution", "x", "convolution_param { num_output: 4 kernel_size: 1 }", name="conv_hp")
    model = build(tmp_path, text, {"conv_hp": [weight, bias]})
    layer = model.layers[-1]
    assert layer.weights == ("conv_hp/weight", "conv_hp/bias")
    assert layer.quantization == Quantization(inputs=("input",), weights=("conv_hp/weight",), bits=16)
    stored = {tensor.name: tensor for tensor in model.graph.graph.initializer}
    assert stored["conv_hp/weight"].raw_data == weight.tobytes()
    assert stored["conv_hp/bias"].raw_data == bias.tobytes()
    assert layer.multiply_adds == 4 * 3 * 16


def test_what_training_left_in_a_quant_layer(tmp_path):
    """Its coefficient where the blob says so; other blobs are kept as they are, for whoever knows them."""
    text = IMAGE + layer_text("Quant", "x", "quant_param { quant_bits: 8 quant_en: 1 }", name="q")
    layer = build(tmp_path, text, {"q": [np.array([1, -133], dtype=np.float32)]}).layers[-1]
    assert layer.quantization == Quantization(inputs=("input",), bits=8, coefficients={"input": -133})
    assert "coefficient -133" in layer.quantization_reason
    assert len(layer.weights) == 1
    for values in ([0, 0], [1, -133.5], [1, 1e9], [5.0], [1, 2, 3]):
        model = build(tmp_path, text, {"q": [np.array(values, dtype=np.float32)]})
        assert model.layers[-1].quantization == Quantization(inputs=("input",), bits=8)
        np.testing.assert_array_equal(run_model(model, {"x": numbers(1, 3, 4, 4)})["q"], numbers(1, 3, 4, 4))
