"""Arrays as input: shapes, types, several inputs, and every way in which a file can be wrong."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import ModelInput

from .helpers import GRAY, collect, read

RNG = np.random.default_rng(1)
SAMPLES = RNG.normal(size=(5, 1, 4, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("stored", "count"),
    [
        (SAMPLES, 5),
        (SAMPLES[0], 1),
        (SAMPLES[:, 0], 5),  # no channel axis
        (SAMPLES[0, 0], 1),
        (SAMPLES[:, None], 5),  # whole samples stacked
        (np.asfortranarray(SAMPLES), 5),
        (SAMPLES.astype(">f8"), 5),
        (SAMPLES.astype(np.float16), 5),
    ],
)
def test_shapes_and_types_of_arrays(tmp_path: Path, stored: np.ndarray, count: int) -> None:
    np.save(tmp_path / "a.npy", stored)
    np.savez_compressed(tmp_path / "a.npz", data=stored)
    expected = stored.astype(np.float32).reshape(count, 1, 4, 6)
    for name in ("a.npy", "a.npz"):
        values = read(tmp_path / name)["data"]
        assert values.dtype == np.float32
        assert np.array_equal(values, expected)


def test_uint8_is_taken_as_it_is_unless_preprocessing_is_asked_for(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (3, 1, 4, 6), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    assert np.array_equal(read(tmp_path / "a.npy")["data"], pixels.astype(np.float32))
    scaled = read(tmp_path / "a.npy", options=InputOptions(mean="10", scale="0.00390625"))["data"]
    assert np.array_equal(scaled, (pixels.astype(np.float32) - np.float32(10)) * np.float32(0.00390625))


def test_identities_and_description(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SAMPLES)
    np.save(tmp_path / "one.npy", SAMPLES[0])
    assert open_inputs([str(tmp_path / "a.npy")], GRAY).identities == tuple(f"a.npy[{i}]" for i in range(5))
    source = open_inputs([str(tmp_path / "one.npy"), str(tmp_path / "a.npy")], GRAY)
    assert source.identities[:2] == ("one.npy", "a.npy[0]")
    assert source.count == 6
    facts = source.facts()
    assert facts.description == "6 samples from one.npy, a.npy"
    assert not facts.synthetic
    assert facts.seed is None


def test_hash_is_of_the_samples_and_not_of_the_batches(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SAMPLES)
    hashes = set()
    for size in (1, 2, 5, 100):
        source = open_inputs([str(tmp_path / "a.npy")], GRAY)
        assert source.facts().sha256 == ""
        collect(source, size=size)
        hashes.add(source.facts().sha256)
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64
    np.save(tmp_path / "b.npy", SAMPLES + np.float32(1e-3))
    other = open_inputs([str(tmp_path / "b.npy")], GRAY)
    collect(other)
    assert other.facts().sha256 != source.facts().sha256


def test_sources_are_read_again_with_the_same_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=SAMPLES, label=np.arange(5))
    source = open_inputs([str(tmp_path / "a.npz")], GRAY)
    assert np.array_equal(collect(source, size=2)["data"], collect(source, size=4)["data"])


def test_first_samples_only(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SAMPLES)
    values = read(tmp_path / "a.npy", options=InputOptions(samples=2))["data"]
    assert np.array_equal(values, SAMPLES[:2])


def test_nhwc_arrays_need_to_be_said(tmp_path: Path) -> None:
    packed = RNG.normal(size=(2, 4, 6, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", packed)
    inputs = (ModelInput("data", "data", (1, 3, 4, 6)),)
    with pytest.raises(InputError, match=r"a\.npy: an array of shape \[2, 4, 6, 3\] .* looks like nhwc: give --layout"):
        read(tmp_path / "a.npy", inputs)
    values = read(tmp_path / "a.npy", inputs, InputOptions(layout="nhwc"))["data"]
    assert np.array_equal(values, packed.transpose(0, 3, 1, 2))
    np.save(tmp_path / "one.npy", packed[0])
    values = read(tmp_path / "one.npy", inputs, InputOptions(layout="nhwc"))["data"]
    assert np.array_equal(values, packed[:1].transpose(0, 3, 1, 2))


def test_a_network_of_fixed_batch_takes_whole_batches(tmp_path: Path) -> None:
    inputs = (ModelInput("x", "x", (2, 1, 4, 6)),)
    np.save(tmp_path / "a.npy", SAMPLES[:4])
    source = open_inputs([str(tmp_path / "a.npy")], inputs, batchable=False)
    assert source.count == 2
    batches = list(source.batches(1, {"x": (2, 1, 4, 6)}))
    assert np.array_equal(batches[1]["x"], SAMPLES[2:4])
    np.save(tmp_path / "odd.npy", SAMPLES)
    with pytest.raises(InputError, match=r"odd\.npy: holds 5 rows, but input 'x' takes 2 at a time"):
        open_inputs([str(tmp_path / "odd.npy")], inputs, batchable=False)


def test_several_inputs(tmp_path: Path) -> None:
    inputs = (ModelInput("image", "image", (1, 1, 4, 6)), ModelInput("info", "info", (1, 3)))
    info = RNG.normal(size=(1, 3)).astype(np.float32)
    np.save(tmp_path / "image.npy", SAMPLES)
    np.save(tmp_path / "info.npy", info)
    values = read([f"image={tmp_path / 'image.npy'}", f"info={tmp_path / 'info.npy'}"], inputs)
    assert np.array_equal(values["image"], SAMPLES)
    assert np.array_equal(values["info"], np.repeat(info, 5, axis=0))
    np.savez(tmp_path / "both.npz", image=SAMPLES, info=np.repeat(info, 5, axis=0))
    assert np.array_equal(read(tmp_path / "both.npz", inputs)["info"], values["info"])
    with pytest.raises(InputError, match=r"no data for input 'info'.*--input info=FILE"):
        open_inputs([f"image={tmp_path / 'image.npy'}"], inputs)
    with pytest.raises(UsageError, match="names no input, and the network has 'image' and 'info'"):
        open_inputs([str(tmp_path / "image.npy")], inputs)
    with pytest.raises(InputError, match="the network has no input 'imag'; it has 'image' and 'info'"):
        open_inputs([f"imag={tmp_path / 'image.npy'}"], inputs)
    np.save(tmp_path / "two.npy", np.repeat(info, 2, axis=0))
    with pytest.raises(InputError, match=r"input 'info' has 2 samples \(two.npy\) and input 'image' has 5"):
        open_inputs([f"image={tmp_path / 'image.npy'}", f"info={tmp_path / 'two.npy'}"], inputs)


def test_mean_and_scale_of_several_inputs_go_to_the_images(tmp_path: Path) -> None:
    inputs = (ModelInput("image", "image", (1, 1, 4, 6)), ModelInput("info", "info", (1, 3)))
    np.savez(tmp_path / "both.npz", image=SAMPLES, info=np.ones((5, 3)))
    values = read(tmp_path / "both.npz", inputs, InputOptions(scale="2"))
    assert np.array_equal(values["image"], SAMPLES * 2)
    assert np.array_equal(values["info"], np.ones((5, 3)))
    values = read(tmp_path / "both.npz", inputs, InputOptions(scale={"info": "3"}))
    assert np.array_equal(values["image"], SAMPLES)
    assert np.array_equal(values["info"], np.full((5, 3), 3))


def test_integer_inputs_keep_their_type(tmp_path: Path) -> None:
    inputs = (ModelInput("ids", "ids", (1, 7), "int64"),)
    np.save(tmp_path / "ids.npy", np.arange(14).reshape(2, 7).astype(np.int32))
    values = read(tmp_path / "ids.npy", inputs)["ids"]
    assert values.dtype == np.int64
    assert np.array_equal(values, np.arange(14).reshape(2, 7))
    np.save(tmp_path / "float.npy", np.ones((2, 7)))
    with pytest.raises(InputError, match="holds float64, but input 'ids' takes int64"):
        read(tmp_path / "float.npy", inputs)


def test_a_path_may_hold_an_equals_sign(tmp_path: Path) -> None:
    np.save(tmp_path / "lr=1.npy", SAMPLES)
    assert np.array_equal(read(tmp_path / "lr=1.npy")["data"], SAMPLES)


# ------------------------------------------------------------------------------------------------ bad input
def test_values_that_are_not_finite(tmp_path: Path) -> None:
    bad = SAMPLES.copy()
    bad[3, 0, 2, 5] = np.nan
    bad[3, 0, 3, 1] = -np.inf
    np.save(tmp_path / "a.npy", bad)
    with pytest.raises(
        InputError,
        match=r"a\.npy: sample 'a\.npy\[3\]' holds 2 values that are NaN or infinite \(the first at \[0, 0, 2, 5\]\); ",
    ):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "big.npy", np.full((1, 1, 4, 6), 1e300))
    with pytest.raises(InputError, match=r"big\.npy: sample .* holds 24 values that are NaN or infinite"):
        read(tmp_path / "big.npy")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npy", None, r"missing\.npy: there is no such file; check the path$"),
        ("empty.npy", b"", r"empty\.npy: is empty; make the file again$"),
        ("empty.npz", b"", r"empty\.npz: is empty"),
        ("text.npy", b"hello, world, this is no array", r"text\.npy: is no readable NumPy array file \(.*\); make"),
        ("text.npz", b"hello, world, this is no archive", r"text\.npz: is no readable NumPy archive \(.*\); make"),
        ("bare.npz", "zip", r"bare\.npz: holds no array; save arrays with numpy\.savez"),
        ("pickle.npy", pickle.dumps([1, 2, 3]), r"pickle\.npy: is no readable NumPy array file"),
    ],
)
def test_files_that_are_no_arrays(tmp_path: Path, name: str, content: bytes | str | None, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "nothing here")
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_truncated_arrays(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".npy":
        np.save(whole, SAMPLES)
    else:
        np.savez_compressed(whole, data=SAMPLES)
    content = whole.read_bytes()
    for length in (5, 60, len(content) // 2, len(content) - 1):
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.np.: is no readable NumPy"):
            read(cut)


def test_a_damaged_archive_is_told_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, data=RNG.normal(size=(50, 1, 4, 6)).astype(np.float32))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: is no readable NumPy archive \(.*CRC"):
        read(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_objects_are_never_unpickled(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"objects{suffix}"
    objects = np.array([{"a": 1}, None], dtype=object)
    if suffix == ".npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, data=objects)
    with pytest.raises(InputError, match=r"objects\.np.*: holds Python objects, which are never loaded"):
        read(path)


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.ones(4, complex), np.zeros(2, "datetime64[s]")])
def test_arrays_without_numbers(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=r"a\.npy: holds values of type .*, not numbers"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(5, 1, 4, 7), (5, 3, 4, 6), (24,), (5, 24), ()])
def test_wrong_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    with pytest.raises(
        InputError, match=r"a\.npy: an array of shape \[.*\] does not fit input 'data' of shape \[N, 1, 4, 6\]; .*"
    ):
        read(tmp_path / "a.npy")


def test_arrays_without_values(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 1, 4, 6), np.float32))
    with pytest.raises(InputError, match=r"a\.npy: holds no value \(shape \[0, 1, 4, 6\]\)"):
        read(tmp_path / "a.npy")


def test_an_archive_without_the_inputs_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=SAMPLES, second=SAMPLES)
    with pytest.raises(InputError, match=r"a\.npz: holds no array named 'data' \(it holds first, second\)"):
        read(tmp_path / "a.npz")
    assert np.array_equal(read(f"{tmp_path / 'a.npz'}:second")["data"], SAMPLES)
    with pytest.raises(InputError, match=r"a\.npz: holds no array named 'third'"):
        read(f"{tmp_path / 'a.npz'}:third")
    np.savez(tmp_path / "only.npz", arr_0=SAMPLES)
    assert np.array_equal(read(tmp_path / "only.npz")["data"], SAMPLES)
    inputs = (ModelInput("a", "a", (1, 2)), ModelInput("b", "b", (1, 2)))
    with pytest.raises(InputError, match="holds 'first' and 'second', but the network's inputs are 'a' and 'b'"):
        read(tmp_path / "a.npz", inputs)


def test_an_open_shape_asks_for_input_shape(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="input 'data' of the network has no fixed shape; give --input-shape data:"):
        open_inputs([], (ModelInput("data", "data", (1, 3, -1, -1)),))
