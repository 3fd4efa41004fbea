"""Each check of dumps: silent on a healthy dump, loud on the planted fault, named before what follows from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from gfpq_inspect.analyze.findings.registry import DUMP_CHECKS
from gfpq_inspect.analyze.result import Result, Verdict
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.onnx.network import read_onnx
from gfpq_inspect.models.run import run_layers
from tests.analyze.dumps.conftest import Digits, finding, row, told
from tests.analyze.networks import GraphMaker, samples
from tests.inputs.dumps import network, writers
from tests.planted.faults import with_weights


def test_every_check_says_what_it_does() -> None:
    for check in DUMP_CHECKS:
        assert check.id.startswith("dump-")
        assert all([check.title, check.failure, check.why, check.remedy, check.how])


@pytest.mark.parametrize("kind", ["mapper", "caffe", "npy"])
def test_healthy_dumps_are_silent(digits: Digits, tmp_path: Path, kind: str) -> None:
    make: Callable[[Path], Path] = getattr(digits, kind)
    result = digits.compare(digits.path, make(tmp_path / "d"), digits.one)
    assert told(result) == {}
    assert result.judgement.good


def test_swapped_names(digits: Digits, tmp_path: Path) -> None:
    dump = digits.caffe(tmp_path / "d")
    one, other = (next(dump.glob(f"{name}_output0_*")) for name in ("branch_a", "branch_b"))
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    result = digits.compare(digits.path, dump, digits.one)
    found = finding(result, "dump-names")
    assert found.severity == "error"
    assert set(found.layers) == {"relu_a", "relu_b"}
    assert found.title == "Tensors of the dump stand under names of other layers"
    assert row(result, "relu_a").verdict is Verdict.FLAGGED
    assert not result.judgement.good


def test_a_name_that_no_layer_has(digits: Digits, tmp_path: Path) -> None:
    dump = digits.caffe(tmp_path / "d")
    path = next(dump.glob("branch_a_output0_*"))
    path.rename(dump / path.name.replace("branch_a", "branch_x"))
    result = digits.compare(digits.path, dump, digits.one)
    found = finding(result, "dump-names")
    assert found.severity == "warning"
    assert found.layers == ("branch_x_output0",)
    lost = row(result, "branch_x_output0")
    assert lost.verdict is Verdict.FLAGGED
    assert "no layer of the network is called 'branch_x'" in lost.reason
    assert "its values are nearest to 'relu_a' (cosine 1.0000)" in lost.reason
    assert not result.judgement.good
    assert row(result, "relu_a").reason == "not in the dump"


def test_a_layout_that_the_file_does_not_state(digits: Digits, tmp_path: Path) -> None:
    plain = network.by_layer(digits.model, digits.plain)
    # The right shape, but the values of NHWC in it.
    wrong = plain["conv2_pw"].transpose(0, 2, 3, 1).reshape(plain["conv2_pw"].shape)
    swapped = plain["conv1"].transpose(0, 1, 3, 2)
    result = digits.compare(digits.path, digits.npy(tmp_path / "d", {"conv2_pw": wrong, "conv1": swapped}), digits.one)
    found = finding(result, "dump-layout")
    assert found.severity == "error"
    assert {entry[0]: entry[3] for entry in found.evidence_rows} == {
        "conv1": "with height and width exchanged",
        "conv2_pw": "read as NHWC",
    }


def test_inner_products_transposed_as_the_mapper_writes_them(digits: Digits, tmp_path: Path) -> None:
    maker = GraphMaker(seed=5)
    maker.input("x", 6, 16)
    maker.node("MatMul", ["x", maker.weight("w", 16, 24)], "fc")
    maker.node("Relu", ["fc"], "relu")
    maker.build(tmp_path, "relu")
    image = samples(1, 6, 16)
    np.save(tmp_path / "x.npy", image)
    values = network.float_tensors(read_onnx(tmp_path / "net.onnx").build({"x": (1, 6, 16)}), image[0])
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "fc_output0_24_6_1_quant.linear.hex").write_text(writers.fixed_point_lines(values["fc"][0].T))
    (folder / "relu_output0_6_16_1_quant.linear.hex").write_text(writers.fixed_point_lines(values["relu"][0, :, :16]))
    result = digits.compare(tmp_path / "net.onnx", folder, str(tmp_path / "x.npy"))
    entry = row(result, "fc")
    assert entry.reason == "read as transposed, as nnie_mapper writes results of inner products"
    assert (entry.scores["total"].cosine or 0) > 0.99999
    assert "holds 96 values, the layer makes 6x24 = 144" in row(result, "relu").reason
    # A dump that does not transpose them is told by its values.
    (folder / "fc_output0_24_6_1_quant.linear.hex").write_text(writers.fixed_point_lines(values["fc"]))
    assert row(digits.compare(tmp_path / "net.onnx", folder, str(tmp_path / "x.npy")), "fc").reason == ""
    # One that is stored transposed, in the network's shape, is told as a fault.
    plain = tmp_path / "npy"
    wrong = np.ascontiguousarray(values["fc"][0].T).reshape(values["fc"].shape)
    writers.write_npy(plain, {"fc": wrong, "x": image})
    found = finding(digits.compare(tmp_path / "net.onnx", plain, "dump"), "dump-layout")
    assert found.severity == "error"
    assert found.evidence_rows[0][3] == "transposed"


def test_a_tensor_before_batch_norm(digits: Digits, tmp_path: Path) -> None:
    plain = network.by_layer(digits.model, digits.plain)
    result = digits.compare(digits.path, digits.npy(tmp_path / "d", {"scale2_pw": plain["conv2_pw"]}), digits.one)
    found = finding(result, "dump-folded")
    assert found.severity == "error"
    assert found.layers == ("scale2_pw",)


def test_the_wrong_image(digits: Digits, tmp_path: Path) -> None:
    values = network.chip_tensors(digits.model, digits.images[1])
    dump = digits.mapper(tmp_path, values)
    result = digits.compare(digits.path, dump, digits.four)
    found = finding(result, "dump-image")
    assert found.severity == "error"
    assert "'four.npz[3]', with which it is compared" in found.measured
    assert "'four.npz[1]'" in found.measured
    assert not result.judgement.good
    # Everything below is silenced: the wrong image explains it.
    assert finding(result, "dump-departure").severity == "not applicable"
    for path in dump.glob("conv1_input0*"):
        path.unlink()
    result = digits.compare(digits.path, dump, digits.four)
    assert finding(result, "dump-image").severity == "error"
    assert finding(result, "dump-image").layers == ("relu1",)


def test_images_in_another_order(digits: Digits, tmp_path: Path) -> None:
    stacks: dict[str, list[network.Array]] = {}
    for image in digits.images[::-1]:
        values = network.float_tensors(digits.model, image)
        for name, array in network.by_layer(digits.model, values).items():
            stacks.setdefault(name, []).append(array)
    dump = writers.write_npy(tmp_path / "d", {name: np.concatenate(arrays) for name, arrays in stacks.items()})
    found = finding(digits.compare(digits.path, dump, digits.four), "dump-image")
    assert found.severity == "error"
    assert found.evidence_rows[0][2] == "four.npz[3]"
    assert "so in 4 of 4 samples" in found.measured


def other_input(digits: Digits, folder: Path, change: Callable[[network.Array], network.Array]) -> Result:
    values = network.float_tensors(digits.model, change(digits.images[0]))
    return digits.compare(digits.path, digits.caffe(folder, values), digits.one)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image * np.float32(255 / 256), "255/256"),
        (lambda image: image / np.float32(255), "1/255"),
        (lambda image: image * np.float32(256), "256"),
        (lambda image: image - np.float32(0.5), "shifted by -0.5"),
        (lambda image: image[:, ::-1].copy() ** 2 + np.float32(3), "neither"),
    ],
)
def test_another_input(
    digits: Digits, tmp_path: Path, change: Callable[[network.Array], network.Array], words: str
) -> None:
    result = other_input(digits, tmp_path / "d", change)
    found = finding(result, "dump-input")
    assert found.severity in ("error", "warning")
    assert words in found.measured
    assert found.layers == ("data",)


def test_mean_after_scale(digits: Digits, tmp_path: Path) -> None:
    mean, scale = 0.4, 0.5
    np.savez(tmp_path / "raw.npz", data=digits.images[:1])
    other = digits.images[0] * np.float32(scale) - np.float32(mean)
    dump = digits.caffe(tmp_path / "d", network.float_tensors(digits.model, other))
    preprocessing = InputOptions(mean=str(mean), scale=str(scale))
    result = digits.compare(digits.path, dump, str(tmp_path / "raw.npz"), preprocessing=preprocessing)
    found = finding(result, "dump-input")
    assert found.title == "Mean and scale of the dump's input were applied in another order"


def test_the_other_bit_width(digits: Digits, tmp_path: Path) -> None:
    dump = digits.mapper(tmp_path, network.chip_tensors(digits.model, digits.images[0], 16), bits=16)
    found = finding(digits.compare(digits.path, dump, digits.one), "dump-bits")
    assert found.severity == "error"
    assert "have 16 bits, this run simulates 8 bits" in found.measured
    assert finding(digits.compare(digits.path, dump, digits.one, bits=16), "dump-bits").severity == "passed"
    for path in dump.glob("*.nonlinear.hex"):
        path.unlink()
    found = finding(digits.compare(digits.path, dump, digits.one), "dump-bits")
    assert found.severity == "error"


def test_overflow(digits: Digits, tmp_path: Path) -> None:
    plain = network.by_layer(digits.model, digits.plain)
    values = dict(digits.plain)
    layer = next(entry for entry in digits.model.layers if entry.key == "relu_sum3")
    values[layer.outputs[0]] = plain["relu_sum3"] * np.float32(2e5)
    dump = digits.caffe(tmp_path / "d")
    next(dump.glob("sum3_*")).unlink()
    writers.write_mapper_output(dump, "sum3", values[layer.outputs[0]])
    result = digits.compare(digits.path, dump, digits.one)
    found = finding(result, "dump-overflow")
    assert found.severity == "error"
    assert found.layers == ("relu_sum3",)
    assert int(found.evidence_rows[0][1] or 0) > 0


@pytest.mark.parametrize(("factor", "words"), [(4096.0, "not divided by 4096"), (1 / 4096, "twice"), (1.06, "")])
def test_a_gain(digits: Digits, tmp_path: Path, factor: float, words: str) -> None:
    plain = network.by_layer(digits.model, digits.plain)
    change = {"pool1": plain["pool1"] * np.float32(factor)}
    result = digits.compare(digits.path, digits.npy(tmp_path / "d", change), digits.one)
    found = finding(result, "dump-gain")
    assert found.severity == ("warning" if factor == 1.06 else "error")
    assert found.layers == ("pool1",)
    assert words in found.measured


def test_constant_and_nan(digits: Digits, tmp_path: Path) -> None:
    plain = network.by_layer(digits.model, digits.plain)
    change = {"conv3": np.full_like(plain["conv3"], 0.25), "branch_a": plain["branch_a"].copy()}
    change["branch_a"][0, 3, 1, 1] = np.nan
    result = digits.compare(digits.path, digits.npy(tmp_path / "d", change), digits.one)
    found = finding(result, "dump-constant")
    assert found.severity == "error"
    assert found.layers == ("conv3", "branch_a")
    assert row(result, "branch_a").cause == "non-finite"


def test_a_small_head(digits: Digits, tmp_path: Path) -> None:
    model = digits.model
    names = [name for layer in model.layers if layer.key == "fc" for name in layer.weights]
    small = with_weights(model, {name: (lambda array: array * np.float32(1e-4)) for name in names})
    values = network.float_tensors(small, digits.images[0])
    folder = tmp_path / "d"
    folder.mkdir()
    writers.write_mapper_output(folder, "fc", network.by_layer(small, values)["fc"])
    kept = tuple(entry for entry in small.layers if entry.key != "prob")
    fc = next(entry for entry in kept if entry.key == "fc")
    cut = replace(small, layers=kept, outputs=fc.outputs)
    result = digits.compare(cut, folder, digits.one)  # type: ignore[arg-type]  # a loaded model is allowed
    found = finding(result, "dump-small-head")
    assert found.severity == "warning"
    assert found.layers == ("fc",)


def test_where_the_dump_departs_from_the_simulation(digits: Digits, tmp_path: Path) -> None:
    # From pool1 on the board computed with other numbers: noise that no precision explains.
    generator = np.random.default_rng(4)
    values = dict(digits.chip)
    layers = [layer for layer in digits.model.layers if layer.nodes]
    start = next(index for index, layer in enumerate(layers) if layer.key == "pool1")
    name = layers[start].outputs[0]
    values[name] = values[name] + generator.standard_normal(values[name].shape).astype(np.float32) * values[name].std()
    for layer in layers[start + 1 :]:
        values.update(run_layers(digits.model, [layer], values))
    result = digits.compare(digits.path, digits.mapper(tmp_path, values), digits.one)
    found = finding(result, "dump-departure")
    assert found.severity in ("error", "note")
    assert found.layers[0] == "pool1"
    assert row(result, "pool1").cause == "dump"
    assert "precision does not explain it" in row(result, "pool1").cause_reason
    assert not result.judgement.good


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 9 * 9])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbled(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[6] = "00zz1234"
    path.write_text("\n".join(lines))


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "it is cut short; dump it again"),
        (emptied, "is empty; dump the layer again"),
        (garbled, ".hex:7: '00zz1234' is not a hexadecimal number"),
        (binary, "(byte 0): is binary"),
    ],
)
def test_damaged_files_are_named(digits: Digits, tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    dump = digits.mapper(tmp_path)
    path = next(dump.glob("conv3_output0_*"))
    damage(path)
    result = digits.compare(digits.path, dump, digits.one)
    lost = row(result, "conv3")
    assert lost.verdict is Verdict.FLAGGED
    assert words in lost.reason
    assert path.name in lost.reason
    assert finding(result, "dump-names").severity == "warning"
    assert not result.judgement.good
    assert sum(entry.reason == "" or entry.partner is not None for entry in result.layers) >= 12
    shutil.rmtree(dump)


def weights(digits: Digits, folder: Path, change: Callable[[str, network.Array], network.Array]) -> Path:
    """Dequantized weights beside the outputs, as the mapper writes them."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in digits.model.graph.graph.initializer}
    for layer in digits.model.layers:
        for name in layer.quantization.weights if layer.quantization is not None else ():
            values = change(layer.key, tensors[name])
            (folder / f"{layer.name}_weight-anti.float").write_text(writers.float_lines(network.rounded(values)))
            (folder / f"{layer.name}_weight.hex").write_text("7f\n")
            (folder / f"{layer.name}_bias.hex").write_text("0\n")
    return folder


def test_weights(digits: Digits, tmp_path: Path) -> None:
    dump = digits.mapper(tmp_path)
    healthy = digits.compare(digits.path, weights(digits, dump, lambda _, array: array), digits.one)
    assert finding(healthy, "dump-weights").severity == "passed"
    assert (
        "weights of the dump are the network's, quantized; 100.0 % are equal"
        in finding(healthy, "dump-weights").measured
    )
    assert told(healthy) == {}
    assert any("files of parameters were not compared" in note for note in healthy.run.notes)
    generator = np.random.default_rng(1)
    other = weights(
        digits,
        dump,
        lambda key, array: generator.permutation(array.ravel()).reshape(array.shape) if key == "conv3" else array,
    )
    found = finding(digits.compare(digits.path, other, digits.one), "dump-weights")
    assert found.severity == "error"
    assert found.layers == ("conv3",)
    factors = np.exp(generator.standard_normal(512)).astype(np.float32)
    folded = weights(digits, dump, lambda _, array: array * factors[: len(array)].reshape(-1, *[1] * (array.ndim - 1)))
    found = finding(digits.compare(digits.path, folded, digits.one), "dump-weights")
    assert found.severity == "note"
    assert "--fold" in found.remedy


def colour_network(folder: Path) -> tuple[Path, network.Array, Callable[[network.Array], dict[str, network.Array]]]:
    """A network of colour images, a picture with three different channels, and what the network makes of one."""
    maker = GraphMaker(seed=2, batch=1)
    maker.input("data", 3, 16, 16)
    maker.conv("data", "conv1", (3, 8))
    maker.node("Relu", ["conv1"], "relu1")
    maker.conv("relu1", "conv2", (8, 8))
    model = maker.build(folder, "conv2")
    ramp = np.linspace(0, 255, 256).reshape(16, 16)
    picture = np.stack([ramp, 255 - ramp.T, 40 + 0.2 * ramp])[None].astype(np.float32)
    np.save(folder / "picture.npy", picture)
    return folder / "net.onnx", picture, lambda image: network.float_tensors(model, image)


@pytest.mark.parametrize("quantized", [False, True])
def test_channels_in_another_order(digits: Digits, tmp_path: Path, quantized: bool) -> None:
    path, picture, tensors = colour_network(tmp_path)
    values = tensors(picture[:, ::-1].copy())
    dump = tmp_path / "d"
    dump.mkdir()
    for name in ("conv1", "relu1", "conv2"):
        writers.write_mapper_output(dump, name, values[name])
    if quantized:
        writers.write_mapper_input(dump, "conv1", values["data"])
    else:
        writers.write_caffe(dump, "data", values["data"])
    result = digits.compare(path, dump, str(tmp_path / "picture.npy"))
    found = finding(result, "dump-input")
    assert found.severity == "error"
    assert found.title == "The dump was made of images in another channel order"
    assert "(2, 1, 0)" in found.measured
    assert not result.judgement.good


@pytest.mark.parametrize("quantized", [False, True])
def test_a_mean_of_each_channel(digits: Digits, tmp_path: Path, quantized: bool) -> None:
    path, picture, tensors = colour_network(tmp_path)
    values = tensors(picture - np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1))
    dump = tmp_path / "d"
    dump.mkdir()
    if quantized:
        writers.write_mapper_input(dump, "conv1", values["data"])
        writers.write_mapper_output(dump, "conv1", values["conv1"])
    else:
        writers.write_npy(dump, {name: values[name] for name in ("data", "conv1")})
    found = finding(digits.compare(path, dump, str(tmp_path / "picture.npy")), "dump-input")
    assert found.severity == "error"
    assert found.title == "The dump's input has another mean in each channel" or "shifted" in found.measured
