"""A dump in place of a network, on either side, in every format."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfpq_inspect.analyze.result import Status
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.options import InputOptions
from tests.analyze.dumps.conftest import Digits, finding, row, told
from tests.inputs.dumps import network, writers


def test_a_mapper_dump_against_float_and_simulation(digits: Digits, tmp_path: Path) -> None:
    result = digits.compare(digits.path, digits.mapper(tmp_path), digits.one)
    assert result.judgement.good
    assert told(result) == {}
    assert [entry.name for entry in result.comparisons][3:5] != []
    names = {entry.name: (entry.lane, entry.reference) for entry in result.comparisons}
    assert names["total"] == ("dump", "float")
    assert names["simulation"] == ("dump", "both")
    compared = [entry for entry in result.layers if entry.status is Status.OK]
    assert len(compared) == 13
    for entry in compared:
        if entry.key == "data":
            continue
        # The dump was made by the same arithmetic: only the steps of 20.12 are between it and the simulation.
        simulated = entry.scores["simulation"]
        assert simulated.cosine is not None
        assert simulated.cosine > 0.99999, entry.key
        both, total = entry.scores["both"], entry.scores["total"]
        assert total.cosine == pytest.approx(both.cosine, abs=1e-4)
    assert row(result, "relu1").reason == "as 'relu1' leaves it, in place"
    assert row(result, "conv1").reason == "not in the dump"
    assert row(result, "conv1").understood
    assert result.coverage.sentence == "13 of 27 layer outputs compared, 14 not: 14 not in the dump."
    assert [model.framework for model in result.run.models] == ["caffe", "dump"]
    assert all(len(digest) == 64 for digest in result.run.models[1].sha256.values())
    assert any("compared where they are made" in note for note in result.run.notes)


def test_caffe_feature_maps(digits: Digits, tmp_path: Path) -> None:
    result = digits.compare(digits.path, digits.caffe(tmp_path / "maps"), digits.one)
    assert result.judgement.good
    assert told(result) == {}
    assert (row(result, "prob").scores["total"].cosine or 0) > 0.9999999
    assert (row(result, "relu_sum3").scores["total"].sqnr_db or 0) > 100


def test_npy_by_layer_name_is_exact(digits: Digits, tmp_path: Path) -> None:
    result = digits.compare(digits.path, digits.npy(tmp_path / "maps"), digits.one)
    assert all(entry.scores["total"].status is Status.EXACT for entry in result.layers)
    assert result.coverage.compared == 27


def test_one_npz_and_an_npz_a_sample(digits: Digits, tmp_path: Path) -> None:
    tensors = network.by_layer(digits.model, digits.plain)
    np.savez(tmp_path / "all.npz", **tensors)
    result = digits.compare(digits.path, tmp_path / "all.npz", digits.one)
    assert result.coverage.compared == 27
    folder = tmp_path / "samples"
    folder.mkdir()
    for index, image in enumerate(digits.images):
        values = network.float_tensors(digits.model, image)
        np.savez(folder / f"{index}.npz", **network.by_layer(digits.model, values))
    result = digits.compare(digits.path, folder, digits.four)
    assert result.run.inputs.sample_count == 4
    assert all(entry.scores["total"].status is Status.EXACT for entry in result.layers)


def test_a_leading_batch_axis_counts_samples(digits: Digits, tmp_path: Path) -> None:
    stacks: dict[str, list[network.Array]] = {}
    for image in digits.images:
        values = network.float_tensors(digits.model, image)
        for name, array in network.by_layer(digits.model, values).items():
            stacks.setdefault(name, []).append(array)
    writers.write_npy(tmp_path / "d", {name: np.concatenate(arrays) for name, arrays in stacks.items()})
    result = digits.compare(digits.path, tmp_path / "d", digits.four)
    assert all(entry.scores["total"].status is Status.EXACT for entry in result.layers)
    assert any("4 samples were matched with those of the input by their order" in note for note in result.run.notes)
    first = digits.compare(digits.path, tmp_path / "d", digits.four, preprocessing=InputOptions(samples=2))
    assert first.run.inputs.sample_count == 2
    with pytest.raises(InputError, match=r"holds 4 samples and the input 1"):
        digits.compare(digits.path, tmp_path / "d", digits.one)


def test_folders_named_after_samples(digits: Digits, tmp_path: Path) -> None:
    images = tmp_path / "inputs"
    images.mkdir()
    for name, image in zip("bcad", digits.images, strict=True):
        np.save(images / f"{name}.npy", image)
    dump = tmp_path / "dump"
    for name in "bca":
        values = network.float_tensors(digits.model, digits.images["bcad".index(name)])
        digits.caffe(dump / name, values)
    result = digits.compare(digits.path, dump, str(images / "*.npy"))
    assert result.run.inputs.samples == ("a.npy", "b.npy", "c.npy")
    assert result.judgement.good
    assert any("3 samples were matched with the input by name" in note for note in result.run.notes)


def test_nhwc_padding_and_flat_shapes_are_told(digits: Digits, tmp_path: Path) -> None:
    plain = network.by_layer(digits.model, digits.plain)
    change = {
        "conv2_pw": plain["conv2_pw"].transpose(0, 2, 3, 1),
        "fc": np.pad(plain["fc"], [(0, 0), (0, 6)]),
        "pool1": plain["pool1"].ravel(),
    }
    result = digits.compare(digits.path, digits.npy(tmp_path / "d", change), digits.one)
    assert row(result, "conv2_pw").reason == "stored as NHWC"
    assert row(result, "fc").reason == "rows padded from 10 to 16 values"
    assert "the same number of values" in row(result, "pool1").reason
    assert all(entry.scores["total"].status is Status.EXACT for entry in result.layers)


def test_a_board_that_only_numbers_layers(digits: Digits, tmp_path: Path) -> None:
    board = tmp_path / "board"
    board.mkdir()
    blobs = network.blobs(digits.model, digits.chip)
    wanted = ["conv2_dw", "pool1", "sum3", "concat", "fc", "prob"]
    for number, name in enumerate(wanted):
        writers.write_board(board, 0, 3 * number + 1, blobs[name], padded_to=4)
    result = digits.compare(digits.path, board, digits.one)
    compared = [entry for entry in result.layers if entry.status is Status.OK]
    assert [entry.key for entry in compared] == ["relu2_dw", "pool1", "relu_sum3", "concat", "fc", "prob"]
    assert "layer 4 of segment 0: matched by order and size (cosine 0.9" in row(result, "pool1").reason
    assert "rows padded from 10 to 12 values" in row(result, "fc").reason
    assert result.judgement.good


def test_codes_alone_are_read_with_the_coefficient_that_fits(digits: Digits, tmp_path: Path) -> None:
    folder = tmp_path / "codes"
    folder.mkdir()
    for layer in digits.model.layers:
        if layer.quantization is not None:
            writers.write_mapper_input(folder, layer.name, digits.chip[layer.inputs[0]], anti=False)
    result = digits.compare(digits.path, folder, digits.one)
    entry = row(result, "relu1")
    assert "codes, read with the coefficient" in entry.reason
    assert (entry.scores["total"].cosine or 0) > 0.999
    assert 0.97 < (entry.scores["total"].gain or 0) < 1.03


def test_the_dump_as_reference(digits: Digits, tmp_path: Path) -> None:
    result = digits.compare(digits.caffe(tmp_path / "maps"), digits.path, digits.one)
    names = {entry.name: (entry.lane, entry.reference) for entry in result.comparisons}
    assert names["total"] == ("both", "dump")
    assert names["reference"] == ("float", "dump")
    assert (row(result, "prob").scores["reference"].sqnr_db or 0) > 100
    plain = digits.compare(digits.caffe(tmp_path / "more"), digits.path, digits.one, bits=None)
    assert [entry.name for entry in plain.comparisons] == ["total"]
    assert plain.judgement.good


def test_two_dumps(digits: Digits, tmp_path: Path) -> None:
    result = digits.compare(digits.caffe(tmp_path / "maps"), digits.mapper(tmp_path))
    assert result.judgement.good
    compared = [entry for entry in result.layers if entry.status is Status.OK]
    assert len(compared) == 12
    assert row(result, "data_output0").reason == "not in the dump mapper_quant"
    assert result.run.bits is None
    assert told(result) == {}
    with pytest.raises(UsageError, match="leave --input out"):
        digits.compare(tmp_path / "maps", tmp_path / "mapper_quant", digits.one)


def test_two_dumps_of_different_samples_are_told(digits: Digits, tmp_path: Path) -> None:
    other = network.float_tensors(digits.model, digits.images[1])
    result = digits.compare(digits.caffe(tmp_path / "one"), digits.caffe(tmp_path / "other", other))
    assert not result.judgement.good
    assert {entry.cause for entry in result.layers if entry.key in result.judgement.flagged} == {"dump"}


def test_the_dump_feeds_the_network_itself(digits: Digits, tmp_path: Path) -> None:
    result = digits.compare(digits.path, digits.caffe(tmp_path / "maps"), "dump")
    assert result.judgement.good
    assert result.run.inputs.description == "1 sample from 'data_output0' of the dump maps"
    mapper = digits.compare(digits.path, digits.mapper(tmp_path), "dump")
    assert "as the first layer read it" in mapper.run.inputs.description
    assert mapper.judgement.good
    for path in (tmp_path / "maps").glob("data_*"):
        path.unlink()
    with pytest.raises(InputError, match=r"does not hold the network's input 'data'"):
        digits.compare(digits.path, tmp_path / "maps", "dump")


def test_noise_is_refused(digits: Digits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--input dump"):
        digits.compare(digits.path, digits.caffe(tmp_path / "maps"))


def test_options_that_make_no_sense(digits: Digits, tmp_path: Path) -> None:
    dump = digits.caffe(tmp_path / "maps")
    with pytest.raises(UsageError, match="--quant-prototxt"):
        digits.compare(digits.path, dump, digits.one, second_structure=digits.path.with_suffix(".prototxt"))
    with pytest.raises(UsageError, match="--master"):
        digits.compare(digits.path, dump, digits.one, master=digits.path)
    with pytest.raises(UsageError, match="can only be compared with something"):
        digits.compare(dump, None, digits.one)  # type: ignore[arg-type]  # as the command line gives it


def test_the_mapper_keeps_the_last_image(digits: Digits, tmp_path: Path) -> None:
    values = network.chip_tensors(digits.model, digits.images[3])
    result = digits.compare(digits.path, digits.mapper(tmp_path, values), digits.four)
    assert result.run.inputs.samples == ("four.npz[3]",)
    assert any("the last of 4 ('four.npz[3]')" in note for note in result.run.notes)
    assert result.judgement.good


def test_another_tool_s_single_sample_is_found_by_its_input(digits: Digits, tmp_path: Path) -> None:
    values = network.float_tensors(digits.model, digits.images[2])
    result = digits.compare(digits.path, digits.caffe(tmp_path / "d", values), digits.four)
    assert result.run.inputs.samples == ("four.npz[2]",)
    for path in (tmp_path / "d").glob("data_*"):
        path.unlink()
    with pytest.raises(InputError, match="holds one sample and the input 4"):
        digits.compare(digits.path, tmp_path / "d", digits.four)


def test_equal_runs_give_equal_results(digits: Digits, tmp_path: Path) -> None:
    dump = digits.mapper(tmp_path)
    assert digits.compare(digits.path, dump, digits.one) == digits.compare(digits.path, dump, digits.one, workers=1)


def test_inputs_are_left_alone(digits: Digits, tmp_path: Path) -> None:
    dump = digits.mapper(tmp_path)
    before = {path.name: path.read_bytes() for path in dump.iterdir()}
    digits.compare(digits.path, dump, digits.one)
    assert before == {path.name: path.read_bytes() for path in dump.iterdir()}
    shutil.rmtree(dump)


def test_a_folded_network(digits: Digits, tmp_path: Path) -> None:
    result = digits.compare(digits.path, digits.mapper(tmp_path), digits.one, fold=True)
    assert result.judgement.good
    assert finding(result, "dump-folded").severity == "passed"


def test_coefficients_cover_all_calibration_images(digits: Digits, tmp_path: Path) -> None:
    values = network.chip_tensors(digits.model, digits.images[3])
    result = digits.compare(digits.path, digits.mapper(tmp_path, values), digits.four)
    assert "over all 4 samples" in result.run.calibration
    assert result.run.inputs.sample_count == 1
    own = digits.compare(digits.path, tmp_path / "mapper_quant", "dump")
    assert "over 1 sample" in own.run.calibration


def test_labels_are_those_of_the_samples_that_are_compared(digits: Digits, tmp_path: Path) -> None:
    values = network.float_tensors(digits.model, digits.images[2])
    decided = int(values[digits.model.outputs[0]].argmax())
    wrong = (decided + 1) % 10
    classes = Labels((wrong, wrong, decided, wrong), "labels")
    result = digits.compare(digits.path, digits.caffe(tmp_path / "d", values), digits.four, labels=classes)
    assert result.task is not None
    lanes = {lane.lane: lane.top1 for lane in result.task.outputs[0].lanes}
    assert lanes["float"] == lanes["dump"] == 1.0
    path = tmp_path / "labels.txt"
    path.write_text(f"{decided}\n")
    result = digits.compare(digits.path, tmp_path / "d", "dump", labels=str(path))
    assert result.task is not None
    with pytest.raises(UsageError, match="no labels come with --input dump"):
        digits.compare(digits.path, tmp_path / "d", "dump", labels="beside")


def test_preprocessing_has_no_part_in_the_dump_s_own_input(digits: Digits, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--mean has no effect on --input dump"):
        digits.compare(digits.path, digits.caffe(tmp_path / "d"), "dump", preprocessing=InputOptions(mean=3))


def test_a_mapper_configuration_feeds_what_the_mapper_dumped(digits: Digits, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(images / f"{index}.png")
    (tmp_path / "list.txt").write_text("".join(f"./images/{index}.png\n" for index in range(3)))
    (tmp_path / "net.cfg").write_text(
        f"[prototxt_file] {digits.path.with_suffix('.prototxt')}\n[net_type] 0\n[image_list] ./list.txt\n"
        "[image_type] 1\n[mean_file] null\n[norm_type] 3\n[data_scale] 0.00390625\n[compile_mode] 0\n"
    )
    fed = pixels[2].astype(np.float32)[None, None] * np.float32(0.00390625)
    dump = digits.mapper(tmp_path, network.chip_tensors(digits.model, fed))
    result = digits.compare(digits.path, dump, str(tmp_path / "net.cfg"))
    assert result.run.inputs.samples[0].endswith("2.png")
    assert "over all 3 samples" in result.run.calibration
    for name in ("dump-image", "dump-input", "dump-names"):
        assert finding(result, name).severity == "passed", finding(result, name).measured
    # The mapper's default scale instead of 1/255 is a factor that the input's check names.
    fed = pixels[2].astype(np.float32)[None, None] / np.float32(255)
    for path in dump.iterdir():
        path.unlink()
    dump.rmdir()
    dump = digits.mapper(tmp_path, network.chip_tensors(digits.model, fed))
    digits.caffe(tmp_path / "d", network.float_tensors(digits.model, fed))
    result = digits.compare(digits.path, tmp_path / "d", str(tmp_path / "net.cfg"))
    assert "255/256" in finding(result, "dump-input").measured or "256/255" in finding(result, "dump-input").measured


@pytest.mark.parametrize("transposed", [False, True])
def test_results_of_inner_products_of_several_images(digits: Digits, tmp_path: Path, transposed: bool) -> None:
    stacks: dict[str, list[network.Array]] = {}
    for image in digits.images:
        for name, array in network.blobs(digits.model, network.chip_tensors(digits.model, image)).items():
            stacks.setdefault(name, []).append(array)
    for name, arrays in stacks.items():
        whole = np.concatenate(arrays)
        path = writers.write_mapper_output(tmp_path, name, whole)
        if name == "fc" and transposed:
            path.write_text(writers.fixed_point_lines(whole.T))
    result = digits.compare(digits.path, tmp_path, digits.four)
    assert result.run.inputs.sample_count == 4
    assert (row(result, "fc").scores["total"].cosine or 0) > 0.99
    assert row(result, "fc").reason.startswith(
        "4 samples, read as transposed" if transposed else "4 samples, one after"
    )
