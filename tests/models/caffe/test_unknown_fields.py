"""Fields that nobody knows: refused where they may change the result, noted where they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.network import CaffeOptions
from tests.models.caffe.text_nets import INPUT, messages, read

POOL = 'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 2 %s } %s }\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POOL % ("kernel_sise: 2", ""), "2:103: layer 'p': pooling_param has a field 'kernel_sise'"),
        (POOL % ("", "bottm: 'x'"), "layer 'p': has a field 'bottm' that is not known (did you mean 'bottom'?)"),
        (POOL % ("", "") + "input_dims: 3", "3:13: the net has a field 'input_dims' that is not known"),
        ('layer { name: "m" type: "ReLU" bottom: "data" top: "m" relu { x: 1 } relu_slope: 2 }', "'relu_slope'"),
    ],
)
def test_refused_and_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, INPUT + text).build()
    assert message in str(caught.value)
    assert "--allow-unknown-fields" in str(caught.value)
    model = read(tmp_path, INPUT + text, options=CaffeOptions(allow_unknown_fields=True)).build()
    notes = [*model.origin.notes, *(note for layer in model.layers for note in layer.notes)]
    assert any("unknown field" in note for note in notes)


@pytest.mark.parametrize(
    "text",
    [
        POOL % ("engine: CAFFE", "propagate_down: false loss_weight: 0 param { lr_mult: 0 foo: 1 }"),
        POOL % ("", "quantize_param { bits: 7 }"),
        POOL % ("", "convolution_param { num_output: 7 }"),
        POOL % ("", "") + 'engine: "MKL2017" force_backward: true debug_info: true',
        POOL % ("ceil_mode: true engine: MKLDNN", ""),
        'layer { name: "c" type: "Dropout" bottom: "data" top: "c" dropout_param { scale_train: true } }',
    ],
)
def test_harmless(tmp_path: Path, text: str) -> None:
    read(tmp_path, INPUT + text).build()


def test_one_wrong_value_anywhere_refuses_the_file_as_caffe_does(tmp_path: Path) -> None:
    text = (
        INPUT
        + POOL % ("", "")
        + (
            'layer { name: "t" type: "Pooling" bottom: "data" top: "t" include { phase: TRAIN }\n'
            " pooling_param { pool: MEAN kernel_size: 2 kernel_size: 3 } }"
        )
    )
    found = messages(read(tmp_path, text))
    assert "4:24: layer 't': 'pool: MEAN' is not one of MAX, AVE, STOCHASTIC" in found
    assert "4:57: layer 't': 'kernel_size' is given 2 times" in found
