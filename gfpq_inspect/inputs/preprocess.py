"""From what a file holds to what the network reads: shape, layout, channel order, mean and scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.arrays import StoredArray, numpy_arrays
from gfpq_inspect.inputs.images import Target
from gfpq_inspect.inputs.mean import read_mean_image
from gfpq_inspect.inputs.options import MeanLike, Numbers, parse_numbers

_CHANNEL_COUNTS = (1, 3)


@dataclass(frozen=True)
class Preprocessing:
    """How one input's samples are made.

    Attributes:
        input_name: The network input.
        sample_shape: Shape of one sample, batch axis included.
        dtype: What the network reads.
        layout: 'nchw' or 'nhwc' of the network's input.
        layout_given: The user said so; arrays in the other layout are then transposed.
        channel_order: 'bgr', 'rgb' or 'gray'.
        resize: See `options.parse_resize`.
        mean: Subtracted; broadcasts over a sample without its batch axis. None for nothing.
        scale: Multiplied then; likewise.
        mean_text: As the user gave it, files by base name.
        scale_text: As the user gave it.
        frame_size: Height and width of raw frames, or None for the network's.
        defaults_from: See `InputOptions`.
    """

    input_name: str
    sample_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    layout: str
    layout_given: bool
    channel_order: str
    resize: tuple[int, int] | int | None
    mean: NDArray[np.float32] | None = None
    scale: NDArray[np.float32] | None = None
    mean_text: str = "none"
    scale_text: str = "none"
    frame_size: tuple[int, int] | None = None
    defaults_from: str = ""

    def record(self) -> dict[str, str]:
        """What a report says of the preprocessing, option name to text."""
        resize = "stretched to the network's size" if self.resize is None else "none" if self.resize == 0 else ""
        if not resize:
            pair = self.resize if isinstance(self.resize, tuple) else None
            resize = f"to {pair[0]} x {pair[1]}" if pair else f"shorter side to {self.resize}"
            resize += ", then cut from the centre"
        image = {"channel order": self.channel_order, "layout": self.layout, "resize of images": resize}
        steps = {"mean": self.mean_text, "scale": self.scale_text, "order": "(value - mean) * scale"}
        origin = (
            {"mean and scale from": f"{self.defaults_from}; not for arrays of floats"} if self.defaults_from else {}
        )
        return {**(image if len(self.sample_shape) in (3, 4) else {}), **steps, **origin}

    @property
    def image_channels(self) -> int:
        """Channels of the network's input; 1 where it has no channel axis."""
        shape = self.sample_shape
        return 1 if len(shape) == 3 else shape[1 if self.layout == "nchw" else 3]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        shape = self.sample_shape
        if len(shape) == 3:
            return shape[1], shape[2]
        return (shape[2], shape[3]) if self.layout == "nchw" else (shape[1], shape[2])

    @property
    def target(self) -> Target:
        """What images are brought to."""
        return Target(self.image_channels, self.channel_order, self.image_size, self.resize)

    def check_image_input(self, where: str) -> None:
        """Find out whether images can feed this input.

        Raises:
            InputError: Not the shape of an image.
        """
        shape = self.sample_shape
        if len(shape) not in (3, 4) or shape[0] != 1 or self.image_channels not in (1, 3):
            raise InputError(
                f"{where}: input '{self.input_name}' of shape {text_of(shape)} does not take images "
                "(one image, 1 or 3 channels); give an .npy or .npz file of that shape"
            )

    def image_sample(self, pixels: NDArray[np.float32]) -> NDArray[Any]:
        """Make a sample of [height, width, channels] pixels."""
        if len(self.sample_shape) == 3:
            arranged = pixels[:, :, 0]
        else:
            arranged = pixels.transpose(2, 0, 1) if self.layout == "nchw" else pixels
        return self.finished(arranged)

    def plane_sample(self, planes: NDArray[Any], where: str) -> NDArray[Any]:
        """Make a sample of [C, H, W] values in the network's channel order, cut from their centre.

        Raises:
            InputError: Other channels, or smaller than the network's input.
        """
        height, width = self.image_size
        top, left = (planes.shape[1] - height) // 2, (planes.shape[2] - width) // 2
        if planes.shape[0] != self.image_channels or top < 0 or left < 0:
            raise InputError(
                f"{where}: values of shape {text_of(planes.shape)} do not fit input '{self.input_name}' of shape "
                f"{text_of(self.sample_shape)}; give --input-shape, or make the data set again"
            )
        cut = planes[:, top : top + height, left : left + width].astype(np.float32)
        return self.image_sample(cut.transpose(1, 2, 0))

    def sample_count(self, array: StoredArray) -> int:
        """Count the samples that an array holds.

        Raises:
            InputError: The array does not fit, or is empty.
        """
        return self._fit(array).count

    def array_samples(self, array: StoredArray) -> Iterator[NDArray[Any]]:
        """Give an array's samples in order, preprocessed.

        Raises:
            InputError: Cannot be read.
        """
        fit = self._fit(array)
        plan = self if not (self.defaults_from and array.dtype.kind == "f") else replace(self, mean=None, scale=None)
        rows = array.rows()
        for _ in range(fit.count):
            sample = np.stack(list(islice(rows, fit.rows))) if fit.rows > 1 or fit.whole else next(rows)
            yield plan.finished(sample if fit.axes is None else np.transpose(sample, fit.axes))

    def finished(self, values: NDArray[Any]) -> NDArray[Any]:
        """Subtract the mean, multiply by the scale, in float32 and in this order; then the network's type."""
        shape = self.sample_shape
        if self.dtype.kind != "f":
            return np.ascontiguousarray(values, dtype=self.dtype).reshape(shape)
        if self.mean is None and self.scale is None and values.dtype == self.dtype == np.float32:
            return np.ascontiguousarray(values).reshape(shape)  # small samples take as long as what is done to each
        with np.errstate(over="ignore"):  # what overflows is infinite then, and refused by name
            sample: NDArray[Any] = np.ascontiguousarray(values, dtype=np.float32).reshape(shape)
            if self.mean is not None:
                sample = sample - self.mean
            if self.scale is not None:
                sample = sample * self.scale
            return np.ascontiguousarray(sample, dtype=self.dtype).reshape(shape)

    def _fit(self, array: StoredArray) -> _Fit:
        """Match an array's shape with a sample's; axes of size 1 may be missing or added.

        Raises:
            InputError: It does not fit.
        """
        shape, wanted = array.shape, self.sample_shape
        self._check_type(array)
        if 0 in shape:
            raise InputError(f"{array.where}: holds no value (shape {text_of(shape)}); make the file again")
        if not shape:
            if _squeezed(wanted):
                raise InputError(f"{array.where}: {self._misfit(shape)}")
            return _Fit(count=1)
        if shape[1:] == wanted:
            return _Fit(count=shape[0])
        batch, rest = (wanted[0], wanted[1:]) if wanted else (1, ())
        if batch == 1 and shape == rest:
            return _Fit(count=1, rows=shape[0], whole=True)
        if _squeezed(shape[1:]) == _squeezed(rest):
            if shape[0] % batch:
                raise InputError(
                    f"{array.where}: holds {shape[0]} rows, but input '{self.input_name}' takes {batch} at a time; "
                    f"give a multiple of {batch}"
                )
            return _Fit(count=shape[0] // batch, rows=batch)
        if _squeezed(shape) == _squeezed(wanted):
            return _Fit(count=1, rows=shape[0], whole=True)
        if self.layout_given and batch == 1 and len(rest) == 3 and len(shape) in (3, 4):
            for axes in ((2, 0, 1), (1, 2, 0)):
                if _moved(shape[-3:], axes) == rest:
                    single = len(shape) == 3
                    return _Fit(1 if single else shape[0], shape[0] if single else 1, whole=single, axes=axes)
        raise InputError(f"{array.where}: {self._misfit(shape)}")

    def _misfit(self, shape: tuple[int, ...]) -> str:
        wanted = ("N", *self.sample_shape[1:])
        said = (
            f"an array of shape {text_of(shape)} does not fit input '{self.input_name}' "
            f"of shape [{', '.join(map(str, wanted))}]"
        )
        rest = self.sample_shape[1:]
        if len(rest) == 3 and len(shape) in (3, 4):
            if _moved(shape[-3:], (2, 0, 1)) == rest:
                return f"{said}; it looks like nhwc: give --layout nhwc, or transpose it"
            if _moved(shape[-3:], (1, 2, 0)) == rest:
                return f"{said}; it looks like nchw: give --layout nchw, or transpose it"
        return f"{said}; save the samples along axis 0 in the network's shape, or give --input-shape"

    def _check_type(self, array: StoredArray) -> None:
        if self.dtype.kind in "iu" and array.dtype.kind == "f":
            raise InputError(
                f"{array.where}: holds {array.dtype}, but input '{self.input_name}' takes {self.dtype}; "
                "save it in the network's type"
            )


@dataclass(frozen=True)
class _Fit:
    """How an array holds samples: how many, rows of axis 0 in each, and how the axes of one are moved.

    `whole` marks an array that is one sample without its batch axis.
    """

    count: int
    rows: int = 1
    whole: bool = False
    axes: tuple[int, ...] | None = None


def make_preprocessing(
    input_name: str,
    sample_shape: tuple[int, ...],
    dtype: str,
    *,
    layout: str | None,
    channel_order: str,
    resize: tuple[int, int] | int | None,
    mean: MeanLike | None,
    scale: Numbers | None,
    frame_size: tuple[int, int] | None = None,
    defaults_from: str = "",
) -> Preprocessing:
    """Resolve the options for one input.

    Raises:
        UsageError: As many means or scales as neither one nor the channels.
        InputError: A mean file that cannot be read or does not fit.
    """
    resolved = _layout_of(sample_shape, layout)
    kind = np.dtype(dtype)
    if kind.kind != "f" and not (mean is None and scale is None):
        raise UsageError(f"input '{input_name}' takes {kind}: mean and scale are for floating-point inputs")
    plan = Preprocessing(input_name, sample_shape, kind, resolved, layout is not None, channel_order, resize)
    return replace(
        plan,
        frame_size=frame_size,
        defaults_from=defaults_from,
        mean=None if mean is None else _resolved_mean(mean, plan),
        scale=None if scale is None else _per_channel(parse_numbers(scale, "--scale"), plan, "--scale"),
        mean_text=_option_text(mean),
        scale_text=_option_text(scale),
    )


def _option_text(value: MeanLike | Numbers | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        return ",".join(f"{number:g}" for number in value) if value.ndim == 1 else f"an array {text_of(value.shape)}"
    if isinstance(value, str | Path):
        return Path(value).name
    return f"{value:g}" if isinstance(value, int | float) else ",".join(f"{number:g}" for number in value)


def _resolved_mean(mean: MeanLike, plan: Preprocessing) -> NDArray[np.float32]:
    if isinstance(mean, np.ndarray) and mean.ndim > 1:
        return _mean_image(mean.astype(np.float32), plan, "the mean array")
    if isinstance(mean, np.ndarray):
        mean = [float(value) for value in mean.reshape(-1)]
    if isinstance(mean, Path) or (isinstance(mean, str) and Path(mean).suffix.lower() in (".npy", ".binaryproto")):
        path = Path(mean)
        if path.suffix.lower() == ".binaryproto":
            values = read_mean_image(path)
        else:
            stored = numpy_arrays(path)[0]
            values = np.stack(list(stored.rows())).astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{path}: the mean holds NaN or infinite values; make the file again")
        if values.ndim == 1:
            return _per_channel(tuple(values.tolist()), plan, str(path))
        return _mean_image(values, plan, str(path))
    return _per_channel(parse_numbers(mean, "--mean"), plan, "--mean")


def _per_channel(values: tuple[float, ...], plan: Preprocessing, where: str) -> NDArray[np.float32]:
    """One value for all, or one a channel, ready to broadcast over a sample (batch axis included)."""
    numbers = np.asarray(values, dtype=np.float32)
    if len(values) == 1:
        return numbers.reshape(())
    rank = len(plan.sample_shape)
    channels = plan.image_channels if rank in (3, 4) else plan.sample_shape[1] if rank > 1 else 1
    if len(values) != channels:
        raise UsageError(
            f"{where}: holds {len(values)} values, but input '{plan.input_name}' has {channels} channels; "
            "give one value, or one a channel"
        )
    if rank == 3 or plan.layout == "nhwc":
        return numbers
    return numbers.reshape(-1, *([1] * (rank - 2)))


def _mean_image(values: NDArray[np.float32], plan: Preprocessing, where: str) -> NDArray[np.float32]:
    """A mean image [C, H, W] (leading ones allowed): the network's size, or cut from its centre as Caffe does."""
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 2:
        values = values[None]
    channels, (height, width) = plan.image_channels, plan.image_size
    if values.ndim != 3 or values.shape[0] != channels:
        raise InputError(
            f"{where}: a mean of shape {text_of(values.shape)} does not fit input '{plan.input_name}' of "
            f"{channels} channels; give [C, H, W] in the network's channel order"
        )
    top, left = (values.shape[1] - height) // 2, (values.shape[2] - width) // 2
    if top < 0 or left < 0:
        averages = ",".join(f"{value:.6g}" for value in values.mean((1, 2)))
        raise InputError(
            f"{where}: the mean image is smaller than the network's {height} x {width}; "
            f"give its channel averages instead: --mean {averages}"
        )
    cut = values[:, top : top + height, left : left + width]
    if len(plan.sample_shape) == 3:
        return np.ascontiguousarray(cut[0])
    return np.ascontiguousarray(cut if plan.layout == "nchw" else cut.transpose(1, 2, 0))


def _layout_of(shape: tuple[int, ...], given: str | None) -> str:
    """The network's layout: as given where its channels can be that, else told from the shape.

    A given layout that the network's shape rules out speaks of the arrays (see `Preprocessing._fit`).
    """
    if len(shape) != 4:
        return "nchw"
    planar, packed = shape[1] in _CHANNEL_COUNTS, shape[3] in _CHANNEL_COUNTS
    if given is not None and (planar == packed or (planar if given == "nchw" else packed)):
        return given
    return "nhwc" if packed and not planar else "nchw"


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _moved(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in axes)


def text_of(shape: tuple[int, ...]) -> str:
    """A shape as people write it: [1, 3, 224, 224]."""
    return f"[{', '.join(map(str, shape))}]"
