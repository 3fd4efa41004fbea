"""Typed values: defaults, float32 rounding, and what a field's type refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gfpq_inspect.models.caffe.schema import Parameters, enum_values, message_type
from gfpq_inspect.models.caffe.schema.table import SCALAR_TYPES
from gfpq_inspect.models.caffe.schema.uses import uses
from gfpq_inspect.models.caffe.text import parse_text


def parameters(text: str, schema: str) -> Parameters:
    return Parameters(parse_text(text.encode(), "net.prototxt"), schema, "net.prototxt", "conv1")


def test_every_message_of_the_schema_is_complete() -> None:
    layer = message_type("LayerParameter")
    assert layer is not None
    seen = set()
    queue = ["NetParameter", "V1LayerParameter"]
    while queue:
        name = queue.pop()
        message = message_type(name)
        assert message is not None
        if name in seen:
            continue
        seen.add(name)
        numbers = [field.number for field in message.fields.values() if field.number]
        assert len(numbers) == len(set(numbers)), name
        for field in message.fields.values():
            if message_type(field.type) is not None:
                queue.append(field.type)
            elif field.type not in SCALAR_TYPES:
                assert enum_values(name, field.type)
            Parameters(None, name).get(field.name)
    assert len(seen) > 80


@pytest.mark.parametrize(
    ("schema", "field", "value"),
    [
        ("PoolingParameter", "pool", "MAX"),
        ("PoolingParameter", "round_mode", "CEIL"),
        ("ConvolutionParameter", "bias_term", True),
        ("ConvolutionParameter", "group", 1),
        ("ConvolutionParameter", "pad", []),
        ("BatchNormParameter", "eps", float(np.float32(1e-5))),
        ("LRNParameter", "beta", 0.75),
        ("MVNParameter", "eps", float(np.float32(1e-9))),
        ("FillerParameter", "type", "constant"),
        ("EltwiseParameter", "operation", "SUM"),
        ("ReductionParameter", "operation", "SUM"),
        ("DetectionOutputParameter", "code_type", "CORNER"),
        ("NonMaximumSuppressionParameter", "nms_threshold", float(np.float32(0.3))),
        ("QuantParameter", "quant_bits", 8),
        ("QuantParameter", "quant_en", True),
        ("InterpParameter", "zoom_factor", 1),
        ("ExpParameter", "base", -1.0),
        ("ArgMaxParameter", "axis", 0),
    ],
)
def test_defaults(schema: str, field: str, value: object) -> None:
    got = Parameters(None, schema).get(field)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "schema", "field", "value"),
    [
        ("axis: 0x10", "ConcatParameter", "axis", 16),
        ("axis: 010", "ConcatParameter", "axis", 8),
        ("axis: -1", "ConcatParameter", "axis", -1),
        ("eps: 1e-5", "BatchNormParameter", "eps", float(np.float32(1e-5))),
        ("eps: 1e-2f", "BatchNormParameter", "eps", float(np.float32(1e-2))),
        ("eps: 1", "BatchNormParameter", "eps", 1.0),
        ("eps: .1", "BatchNormParameter", "eps", float(np.float32(0.1))),
        ("eps: 1e99", "BatchNormParameter", "eps", math.inf),
        ("eps: -inf", "BatchNormParameter", "eps", -math.inf),
        ("use_global_stats: t", "BatchNormParameter", "use_global_stats", True),
        ("use_global_stats: False", "BatchNormParameter", "use_global_stats", False),
        ("use_global_stats: 1", "BatchNormParameter", "use_global_stats", True),
        ("pool: AVE", "PoolingParameter", "pool", "AVE"),
        ("pool: 1", "PoolingParameter", "pool", "AVE"),
        ("pad: 1 pad: 2", "ConvolutionParameter", "pad", [1, 2]),
        ("quant_bits: 16", "QuantParameter", "quant_bits", 16),
        ("quant_en: 0", "QuantParameter", "quant_en", False),
    ],
)
def test_values(text: str, schema: str, field: str, value: object) -> None:
    assert parameters(text, schema).get(field) == value


@pytest.mark.parametrize(
    ("text", "schema", "message"),
    [
        ("group: 2.0", "ConvolutionParameter", "1:8: layer 'conv1': 'group: 2.0' is not an integer"),
        ("group: -1", "ConvolutionParameter", "is not within uint32"),
        ("group: 4294967296", "ConvolutionParameter", "is not within uint32"),
        ('group: "1"', "ConvolutionParameter", "is not an integer"),
        ("group { }", "ConvolutionParameter", "is a message where a value is due"),
        ("weight_filler: 1", "ConvolutionParameter", "is a value where a message is due"),
        ("group: 1\ngroup: 2", "ConvolutionParameter", "2:8: layer 'conv1': 'group' is given 2 times"),
        ("weight_filler {} weight_filler {}", "ConvolutionParameter", "'weight_filler' is given 2 times"),
        ("pool: max", "PoolingParameter", "is not one of MAX, AVE, STOCHASTIC"),
        ('pool: "MAX"', "PoolingParameter", "is not one of"),
        ("pool: 7", "PoolingParameter", "is not one of"),
        ("eps: 0x10", "BatchNormParameter", "is not a decimal number"),
        ("eps: yes", "BatchNormParameter", "is not a decimal number"),
        ("use_global_stats: yes", "BatchNormParameter", "is not true or false"),
        ("use_global_stats: 2", "BatchNormParameter", "is not true or false"),
        ("type: constant", "FillerParameter", "is not a string in quotation marks"),
        ("min: 0", "ClipParameter", "lacks its required field 'max'"),
        ("weight_filler { value: x }", "ConvolutionParameter", "'value: x' is not a decimal number"),
    ],
)
def test_refused(text: str, schema: str, message: str) -> None:
    problems = parameters(text, schema).problems()
    assert message in "\n".join(map(str, problems))


def test_nan_is_a_float() -> None:
    assert math.isnan(parameters("eps: nan", "BatchNormParameter").number("eps"))


def test_unknown_fields_keep_their_names() -> None:
    found = parameters("kernel_size: 3 dilation_h: 2 foo { bar: 1 }", "ConvolutionParameter")
    assert found.unknown() == ("dilation_h", "foo")
    assert found.has("foo")
    assert not found.has("pad")


def test_sub_messages() -> None:
    found = parameters("shape { dim: 2 dim: -1 }", "ReshapeParameter")
    assert found.sub("shape").integers("dim") == [2, -1]
    assert found.integer("axis") == 0
    assert not parameters("", "ReshapeParameter").sub("shape").present


@pytest.mark.parametrize(
    ("kind", "field", "expected"),
    [
        ("Convolution", "convolution_param", True),
        ("ConvolutionDepthwise", "convolution_param", True),
        ("ReLU", "relu_param", True),
        ("ReLU", "convolution_param", False),
        ("BatchNorm", "batch_norm_param", True),
        ("Normalize", "norm_param", True),
        ("EuclideanLoss", "loss_param", True),
        ("LSTM", "recurrent_param", True),
    ],
)
def test_which_parameters_a_type_reads(kind: str, field: str, expected: bool) -> None:
    assert uses(kind, field) is expected
