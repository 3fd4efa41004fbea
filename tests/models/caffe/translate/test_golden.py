"""Every layer of the recorded networks against real Caffe, each fed with the bottoms that Caffe had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from gfpq_inspect.models.run import run_model

from .agreement import compare_layer_by_layer, read, recorded_tops

TOPS = {
    "layers4d": 125,
    "quirks": 31,
    "recurrent_misc": 21,
    "ssd": 33,
    "train_val": 15,
    "v0_format": 14,
    "v1_format": 30,
}


@pytest.mark.parametrize("name", TOPS)
def test_every_layer_agrees_on_recorded_bottoms(name, fixtures, capsys):
    folder = fixtures / "caffe" / name
    model, (tops, splits) = read(folder), recorded_tops(folder)
    agreement = compare_layer_by_layer(name, model, tops)
    with capsys.disabled():
        print(f"\n  {agreement}", end="")
    assert agreement.faults == ()
    assert agreement.tops == TOPS[name]
    computed = {value for layer in model.layers for value in layer.outputs}
    assert set(tops) - splits == computed


@pytest.mark.parametrize("name", ["v0_format", "v1_format"])
def test_old_and_new_weights_of_one_network_give_the_same_bits(name, fixtures):
    folder = fixtures / "caffe" / name
    inputs = dict(np.load(folder / "inputs.npz"))
    old, new = run_model(read(folder), inputs), run_model(read(folder, "net_v2.caffemodel"), inputs)
    assert old.keys() == new.keys()
    assert all(np.array_equal(old[value], new[value]) for value in old)


@pytest.mark.parametrize("name", TOPS)
def test_whole_networks_run_and_pass_the_checker(name, fixtures):
    folder = fixtures / "caffe" / name
    model = read(folder)
    onnx.checker.check_model(model.graph, full_check=name != "ssd")
    tops, _ = recorded_tops(folder)
    inputs = dict(np.load(folder / "inputs.npz"))
    made = run_model(model, {one.name: inputs[one.name] for one in model.inputs})
    for layer in model.layers:
        for value in layer.outputs:
            assert made[value].shape == tops[value].shape, value


def test_aliased_storage_shows_what_caffe_shows(fixtures):
    """An in-place layer on a Flatten's top also changes the blob that was flattened, for readers that come later."""
    folder = fixtures / "caffe" / "quirks"
    model = read(folder)
    reader = next(layer for layer in model.layers if layer.key == "late_reader")
    assert reader.inputs == ("fl_inplace",)
    assert any("storage" in note for note in reader.notes)
    made = run_model(model, dict(np.load(folder / "inputs.npz")))
    tops, _ = recorded_tops(folder)
    np.testing.assert_allclose(made["late_reader"], tops["late_reader"], rtol=1e-6)


def test_shapes_written_into_the_graph_are_those_that_caffe_had(fixtures):
    for name in TOPS:
        folder: Path = fixtures / "caffe" / name
        model, (tops, _) = read(folder), recorded_tops(folder)
        graph = model.graph.graph
        for info in [*graph.value_info, *graph.output, *graph.input]:
            sizes = info.type.tensor_type.shape.dim
            if info.name in tops and all(size.HasField("dim_value") for size in sizes):
                assert tuple(size.dim_value for size in sizes) == tops[info.name].shape, (name, info.name)
