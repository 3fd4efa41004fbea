"""nnie_mapper configurations: the same files, the same preprocessing as the mapper's own calibration.

A configuration holds lines `[key] value`. Keys of one input repeat once an input, in the order of the prototxt, or
stand once for all. Preprocessing is (value - mean) * data_scale, as the mapper does it (spec: nnie, S2.2 and S3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import check_file
from gfpq_inspect.inputs.feed import ArrayFeed, Feed, open_feed
from gfpq_inspect.inputs.feed_source import FeedSource
from gfpq_inspect.inputs.options import InputOptions, listed
from gfpq_inspect.inputs.plans import plan_for
from gfpq_inspect.inputs.preprocess import Preprocessing, text_of
from gfpq_inspect.models.model import ModelInput

NNIE_SUFFIX = ".cfg"
FEATURE_MAP, U8_IMAGE, YUV420SP, YUV422SP = 0, 1, 3, 5
NO_NORM, MEAN_FILE, CHANNEL_MEAN, SCALE, MEAN_FILE_AND_SCALE, CHANNEL_MEAN_AND_SCALE = range(6)
DEFAULT_SCALE = 0.00390625
LOWEST_SCALE = 1 / 4096
_BITS = {0: 8, 1: 16, 2: None}
_PER_INPUT = frozenset({"image_list", "image_type", "norm_type", "mean_file", "data_scale", "RGB_order"})
_OTHER = frozenset({
    "prototxt_file", "caffemodel_file", "net_type", "batch_num", "compile_mode", "compress_mode", "sparse_rate",
    "is_simulation", "roi_coordinate_file", "max_roi_frame_cnt", "instructions_name", "instruction_name",
    "internal_stride", "is_check_prototxt", "log_level", "recurrent_tmax", "gfpq_param_file", "RGB_order",
})  # fmt: skip
_LINE = re.compile(r"\[\s*(\w+)\s*\]\s*(.*)")


@dataclass(frozen=True)
class NnieInput:
    """What a configuration says of one network input.

    Attributes:
        image_list: List of images or frames; for feature maps the values themselves, a tensor a line.
        image_type: 0 feature map, 1 U8 image, 3 YUV420SP, 5 YUV422SP.
        norm_type: 0 none, 1 mean file, 2 channel mean, 3 scale, 4 mean file and scale, 5 channel mean and scale.
        mean_file: Mean image (.binaryproto) or one channel mean a line; None for 'null'.
        data_scale: Factor of norm types 3 to 5.
        rgb_order: 'BGR' or 'RGB': what the network reads.
    """

    image_list: Path
    image_type: int
    norm_type: int
    mean_file: Path | None
    data_scale: float
    rgb_order: str


@dataclass(frozen=True)
class NnieConfig:
    """A configuration as far as precision is concerned.

    Attributes:
        path: The file as the user gave it.
        prototxt: Of the network, or None.
        caffemodel: Of the network, or None.
        inputs: In the prototxt's order.
        bits: 8 or 16 (compile_mode 0, 1), or None where layers named `*_hp` take 16 and others 8 (compile_mode 2).
        notes: What a report should say: keys that change nothing here, rules that the mapper forces.
    """

    path: Path
    prototxt: Path | None
    caffemodel: Path | None
    inputs: tuple[NnieInput, ...]
    bits: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Value:
    text: str
    line: int


def read_nnie_config(path: Path) -> NnieConfig:
    """Read a configuration and find its files.

    Args:
        path: The configuration.

    Raises:
        InputError: Names the line of what is missing, unknown or out of range.
    """
    return _Reader(path).read()


class _Reader:
    """Values by key with their lines; every complaint names file and line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, list[_Value]] = {}
        self.notes: list[str] = []

    def read(self) -> NnieConfig:
        self._scan()
        lists = self.values.get("image_list", [])
        if not lists:
            raise InputError(f"{self.path}: has no [image_list]; add one a network input")
        mode = self._number("compile_mode", 0, len(lists), 0, (0, 1, 2))
        return NnieConfig(
            self.path,
            self._optional_file("prototxt_file"),
            self._optional_file("caffemodel_file"),
            tuple(self._input(index, len(lists)) for index in range(len(lists))),
            _BITS[mode],
            tuple(self.notes),
        )

    def _scan(self) -> None:
        check_file(self.path)
        try:
            lines = self.path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: is not a readable text file; give an nnie_mapper configuration") from error
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith(("#", "//")):
                continue
            match = _LINE.fullmatch(text)
            if match is None:
                raise InputError(f"{self.path}:{number}: is not of the form '[key] value'; correct the line")
            key, value = match[1], match[2].strip()
            if key not in _PER_INPUT | _OTHER:
                self.notes.append(f"{self.path.name}:{number}: key [{key}] is not known and changes nothing here")
            self.values.setdefault(key, []).append(_Value(value, number))

    def _input(self, index: int, count: int) -> NnieInput:
        image_type = self._number("image_type", index, count, U8_IMAGE, (FEATURE_MAP, U8_IMAGE, YUV420SP, YUV422SP))
        norm_type = self._number("norm_type", index, count, NO_NORM, range(6))
        if image_type == FEATURE_MAP and norm_type != NO_NORM:
            self.notes.append(f"{self.path.name}: norm_type {norm_type} of a feature map is ignored, as by the mapper")
            norm_type = NO_NORM
        needs_mean = norm_type in (MEAN_FILE, CHANNEL_MEAN, MEAN_FILE_AND_SCALE, CHANNEL_MEAN_AND_SCALE)
        found = self._value("mean_file", index, count)
        given = found is not None and found.text.lower() not in ("", "null")
        if needs_mean and not given:
            raise InputError(
                f"{self.path}: norm_type {norm_type} needs a [mean_file]; name it, or choose norm_type 0 or 3"
            )
        order = self._value("RGB_order", index, count) or _Value("BGR", 0)
        if order.text.upper() not in ("BGR", "RGB"):
            raise InputError(f"{self.path}:{order.line}: RGB_order '{order.text}' is unknown; write BGR or RGB")
        listing = self._value("image_list", index, count)
        assert listing is not None
        return NnieInput(
            self._file(listing, "image_list"),
            image_type,
            norm_type,
            self._file(found, "mean_file") if needs_mean and found is not None else None,
            self._scale(index, count),
            order.text.upper(),
        )

    def _scale(self, index: int, count: int) -> float:
        found = self._value("data_scale", index, count)
        if found is None:
            return DEFAULT_SCALE
        try:
            scale = float(found.text)
        except ValueError:
            scale = 0.0
        if not LOWEST_SCALE < scale < np.inf:
            raise InputError(
                f"{self.path}:{found.line}: data_scale '{found.text}' is not a number above 1/4096; correct the value"
            )
        return scale

    def _value(self, key: str, index: int, count: int) -> _Value | None:
        """The value of one input: its own, or the only one for all."""
        values = self.values.get(key, [])
        if len(values) not in (0, 1, count):
            raise InputError(
                f"{self.path}:{values[-1].line}: [{key}] stands {len(values)} times for {count} [image_list]; "
                "write it once, or once an input"
            )
        return None if not values else values[index if len(values) == count else 0]

    def _number(self, key: str, index: int, count: int, default: int, allowed: Sequence[int]) -> int:
        found = self._value(key, index, count)
        if found is None:
            return default
        if not found.text.isdecimal() or int(found.text) not in allowed:
            choices = ", ".join(map(str, allowed))
            raise InputError(
                f"{self.path}:{found.line}: {key} '{found.text}' is not one of {choices}; correct the value"
            )
        return int(found.text)

    def _optional_file(self, key: str) -> Path | None:
        values = self.values.get(key)
        return self._file(values[0], key) if values else None

    def _file(self, value: _Value, key: str) -> Path:
        name = value.text.strip("\"'").replace("\\", "/")
        for candidate in (self.path.parent / name, Path(name)):
            if candidate.is_file():
                return candidate
        raise InputError(
            f"{self.path}:{value.line}: [{key}] {value.text}: there is no such file; paths count from the "
            "configuration's folder, then from the current one"
        )


def open_nnie_inputs(
    config: NnieConfig, model_inputs: Sequence[ModelInput], *, batchable: bool = True, samples: int | None = None
) -> FeedSource:
    """Open the data of a configuration for a network.

    Args:
        config: From `read_nnie_config`.
        model_inputs: The network's inputs, in the prototxt's order.
        batchable: See `opening.open_inputs`.
        samples: Use the first so many.

    Raises:
        InputError: More or fewer lists than inputs, or files that cannot serve.
    """
    if len(config.inputs) != len(model_inputs):
        names = listed([model_input.name for model_input in model_inputs])
        raise InputError(
            f"{config.path}: has {len(config.inputs)} [image_list], but the network's inputs are {names}; "
            "write one a network input"
        )
    plans: dict[str, Preprocessing] = {}
    feeds: dict[str, Feed] = {}
    for said, model_input in zip(config.inputs, model_inputs, strict=True):
        plan = plan_for(model_input, _options(said, samples), batchable=batchable)
        plans[model_input.name] = plan
        if said.image_type == FEATURE_MAP:
            feeds[model_input.name] = _feature_maps(said.image_list, plan)
        else:
            feeds[model_input.name] = open_feed(str(said.image_list), plan)
    return FeedSource(feeds, plans, InputOptions(samples=samples, notes=config.notes))


def _options(said: NnieInput, samples: int | None) -> InputOptions:
    mean: str | list[float] | None = None
    if said.mean_file is not None:
        per_channel = said.norm_type in (CHANNEL_MEAN, CHANNEL_MEAN_AND_SCALE)
        mean = _channel_means(said.mean_file) if per_channel else str(said.mean_file)
    scaled = said.norm_type in (SCALE, MEAN_FILE_AND_SCALE, CHANNEL_MEAN_AND_SCALE)
    return InputOptions(
        mean=mean,
        scale=said.data_scale if scaled else None,
        channel_order=said.rgb_order.lower(),
        samples=samples,
    )


def _channel_means(path: Path) -> list[float]:
    """One mean a line, or several separated by blanks or commas."""
    check_file(path)
    try:
        return [float(word) for word in path.read_text(encoding="utf-8-sig").replace(",", " ").split()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not a list of channel means; write one number a line") from error


def _feature_maps(path: Path, plan: Preprocessing) -> Feed:
    """Tensors as text: one a line in the list itself, or in files that it lists."""
    first = next((line for line in _lines(path) if line), "")
    if _numbers(first) is not None:
        return ArrayFeed(TextTensors(path, plan.sample_shape, plan.dtype), path.name, plan, path.name)
    raise InputError(f"{path}: holds no numbers; for image_type 0 write one tensor a line, values separated by blanks")


@dataclass(frozen=True)
class TextTensors:
    """Tensors in a text file, one a line, flattened."""

    path: Path
    sample_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str | None = None

    @property
    def where(self) -> str:
        """See `StoredArray`."""
        return str(self.path)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `StoredArray`."""
        return (sum(1 for line in _lines(self.path) if line), *self.sample_shape)

    def rows(self) -> Iterator[NDArray[Any]]:
        """See `StoredArray`."""
        wanted = int(np.prod(self.sample_shape))
        for number, line in enumerate(_lines(self.path), 1):
            if not line:
                continue
            values = _numbers(line)
            if values is None or len(values) != wanted:
                held = "something else than numbers" if values is None else f"{len(values)} values"
                raise InputError(
                    f"{self.path}:{number}: holds {held}, but a tensor of shape {text_of(self.sample_shape)} has "
                    f"{wanted}; correct the line"
                )
            yield np.asarray(values, self.dtype).reshape(self.sample_shape)


def _lines(path: Path) -> Iterator[str]:
    check_file(path)
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for line in stream:
                yield line.strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a readable text file; write one tensor a line") from error


def _numbers(line: str) -> list[float] | None:
    try:
        return [float(word) for word in line.replace(",", " ").split()]
    except ValueError:
        return None


def calibration_image(config: NnieConfig) -> str | None:
    """The last image of the first list: the one whose layers the mapper dumps (spec: nnie, section S3)."""
    lines = [line for line in _lines(config.inputs[0].image_list) if line]
    return Path(lines[-1].replace("\\", "/")).name if lines else None
