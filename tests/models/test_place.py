"""Where quantization points sit in Caffe networks."""

from __future__ import annotations

import pytest

from gfpq_inspect.models.model import LayerKind, Quantization
from gfpq_inspect.models.place import CAFFE_QUANTIZED_TYPES, caffe_quantization, name_suffixes


@pytest.mark.parametrize("kind", sorted(CAFFE_QUANTIZED_TYPES))
def test_layers_of_nnie_are_quantized(kind):
    found, reason = caffe_quantization("layer", kind, LayerKind.COMPUTE, ("a", "a", "b"), ("layer/weight",))
    assert found == Quantization(inputs=("a", "b"), weights=("layer/weight",), bits=None)
    assert "data and weights" in reason


def test_pooling_has_no_weights():
    found, reason = caffe_quantization("pool", "Pooling", LayerKind.COMPUTE, ("a",), ())
    assert found == Quantization(inputs=("a",))
    assert reason == "NNIE quantizes the data of Pooling"


@pytest.mark.parametrize("kind", ["ReLU", "BatchNorm", "Scale", "Eltwise", "Concat", "MatMul", "SPP", "Softmax"])
def test_other_layers_stay_float(kind):
    assert caffe_quantization("layer", kind, LayerKind.COMPUTE, ("a",), ()) == (None, f"NNIE computes {kind} in float")


@pytest.mark.parametrize("name", ["conv1_hp", "conv1_hp_report", "conv1_report_hp"])
def test_hp_asks_for_16_bits(name):
    found, reason = caffe_quantization(name, "Convolution", LayerKind.COMPUTE, ("a",), ("w",))
    assert found is not None
    assert found.bits == 16
    assert "_hp" in reason


def test_cpu_layers_leave_the_chip():
    found, reason = caffe_quantization("conv1_cpu", "Convolution", LayerKind.COMPUTE, ("a",), ("w",))
    assert found is None
    assert "CPU" in reason


def test_constants_are_not_quantized():
    assert caffe_quantization("pool", "Pooling", LayerKind.CONSTANT, ("a",), ())[0] is None


def test_suffixes_are_found_at_the_end_only():
    assert name_suffixes("conv_hp_x") == frozenset()
    assert name_suffixes("conv_cpu_report_hp") == {"_hp", "_cpu", "_report"}
