"""The GPU kernels on CuPy arrays: compiled for the GPU at hand from the sources that libgfpq_gpu is built from.

Plain functions without policy, the counterparts of those in `kernels`: contiguous float32 or float64 arrays in, the
same bits out as on the CPU. Work is queued on CuPy's current stream; nothing here waits for it but `extremes`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import MissingExtraError, QuantizationError
from gfpq_inspect.quantize.cuda_launch import Launch, overlapping
from gfpq_inspect.quantize.formats import gfpq_of
from gfpq_inspect.quantize.installed import SIMILARITY_FILES, kernel_source
from gfpq_inspect.quantize.kernels import MOST_LANES, SUM_FIELDS

BLOCK = 512
"""Threads of a block; the kernels are compiled for this number."""

UNROLL = 4
"""16-byte vectors that a thread has under way at a time."""

_JOIN_BLOCK = 32  # threads that join the shares of a column
_BLOCKS_AT_ONCE = 132
_SMALLEST_SHARE, _LARGEST_SHARE = 1 << 12, 1 << 19
_MOST_SAMPLES = 65535  # of one launch
_STATE_BYTES = 32
_REPORT = struct.Struct("<dQQii")
_SMALLEST_INT = -(2**31)

CupyArray = Any
"""A cupy.ndarray; CuPy is an optional dependency without types."""


class Extremes(NamedTuple):
    """What a coefficient is made from.

    Attributes:
        largest: Largest finite magnitude, 0.0 where there is none.
        nan_count: NaN elements.
        infinity_count: Infinities of either sign.
    """

    largest: float
    nan_count: int
    infinity_count: int


@cache
def cupy() -> Any:
    """CuPy, once it is known that there is a GPU to use it with.

    Raises:
        MissingExtraError: CuPy is not installed.
        QuantizationError: There is no GPU, or its driver does not work.
    """
    try:
        import cupy as module  # noqa: PLC0415  (optional, and slow to import)
    except ImportError as error:
        raise MissingExtraError("Quantizing on a GPU", "cuda") from error
    try:
        devices = module.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own error class differs from version to version
        raise QuantizationError(
            f"CuPy is installed, but no CUDA GPU can be used ({error}); check the driver with nvidia-smi, "
            "or quantize on the CPU."
        ) from error
    if devices == 0:
        raise QuantizationError("CuPy is installed, but this machine has no CUDA GPU; quantize on the CPU.")
    return module


def stream(handle: int) -> Any:
    """A stream of another library as CuPy's, for a `with`.

    Args:
        handle: The address of its cudaStream_t.
    """
    streams = cupy().cuda
    if hasattr(streams.Stream, "from_external"):  # since CuPy 14, where the other way warns
        return streams.Stream.from_external(_ForeignStream(handle))
    return streams.ExternalStream(handle)


class _ForeignStream:
    """What the CUDA stream protocol asks for."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


def apply(array: CupyArray, bits: int, delta: int, out: CupyArray | None = None) -> CupyArray:
    """Quantize and dequantize with a given coefficient.

    Args:
        array: float32 or float64, C-contiguous.
        bits: 8 or 16.
        delta: Coefficient, used as it is.
        out: Array of the same size and type; may be `array` itself. New memory when None.

    Returns:
        `out`, or a new array.
    """
    out = cupy().empty_like(array) if out is None else out
    if array.size == 0:
        return out
    number_format = gfpq_of(bits)
    steps, top = number_format.steps_per_octave, number_format.highest_code
    grid = _grid(array.size * array.itemsize)
    if array.dtype == np.float32 and -125 * steps <= delta <= 127 * steps - top - 1:
        _kernel(f"gfpq_apply_float32_{bits}")(
            grid, (BLOCK,), (array, out, np.uint64(array.size), np.int32(delta), np.uint64(0), np.int32(0))
        )
        return out
    borders, values = _tables(bits, delta)
    _kernel(f"gfpq_apply_table_{array.dtype}_{bits}")(
        grid,
        (BLOCK,),
        (
            array,
            out,
            np.uint64(array.size),
            borders,
            values,
            np.float64(_power(delta, steps) / 2),
            np.float64(_power(delta + 1, steps) / 2),
            np.int32(delta),
            np.int32(0),
        ),
    )
    return out


def extremes(array: CupyArray) -> Extremes:
    """Largest finite magnitude and what is not finite; waits for the answer.

    Args:
        array: float32 or float64, C-contiguous.
    """
    if array.size == 0:
        return Extremes(0.0, 0, 0)
    state = cupy().zeros(_STATE_BYTES + _REPORT.size, np.uint8)
    report = state[_STATE_BYTES:]
    grid = _grid(array.size * array.itemsize)
    if array.dtype == np.float32:
        # Either width will do: the coefficient that this kernel also finds is not used.
        arguments = (array, np.uint64(array.size), state, np.int32(_SMALLEST_INT), report)
        _kernel("gfpq_coefficient_float32_8")(grid, (BLOCK,), arguments)
    else:
        _kernel("gfpq_magnitude_float64")(grid, (BLOCK,), (array, np.uint64(array.size), state, report))
    largest, nonfinite, infinities, _, _ = _REPORT.unpack(report.get().tobytes())
    return Extremes(largest, nonfinite - infinities, infinities)


def similarity(reference: CupyArray, lanes: Sequence[CupyArray]) -> tuple[CupyArray, CupyArray]:
    """Sums that tell how alike each lane and the reference are; the counterpart of `kernels.similarity`.

    The numbers agree with the CPU's up to the rounding of sums of float64, and depend on neither the GPU nor the
    batch.

    Args:
        reference: [N, ...], float32 or float64, C-contiguous; axis 0 counts samples.
        lanes: 1 to 16 arrays like it.

    Returns:
        float64 [N, K, F] with the columns `SUM_FIELDS`, and float64 [N, K, K], both on the GPU.

    Raises:
        ValueError: Shapes or types differ, no axis 0, or a number of lanes out of range.
    """
    if reference.ndim == 0:
        raise ValueError("axis 0 must count samples")
    if not 1 <= len(lanes) <= MOST_LANES:
        raise ValueError(f"1 to {MOST_LANES} lanes can be compared at a time, not {len(lanes)}")
    if any(lane.shape != reference.shape or lane.dtype != reference.dtype for lane in lanes):
        raise ValueError("every lane must have the shape and type of the reference")
    samples, count = reference.shape[0], len(lanes)
    size = math.prod(reference.shape[1:])
    blocks, block = similarity_blocks(size), similarity_block(count, reference.dtype.name)
    width = count * len(SUM_FIELDS) + count * count
    empty = cupy().empty
    sums, products = empty((samples, count, len(SUM_FIELDS))), empty((samples, count, count))
    add, join = _similarity_kernels(count, reference.dtype.char)
    arrays, whole = (reference, *lanes), samples <= _MOST_SAMPLES
    for first in range(0, samples, _MOST_SAMPLES):
        part = slice(first, min(samples, first + _MOST_SAMPLES))
        number = part.stop - part.start
        partial = empty((number, width, blocks))
        # Slicing costs as much as a launch.
        pieces = arrays if whole else tuple(array[part] for array in arrays)
        results = (sums, products) if whole else (sums[part], products[part])
        add((blocks, number), (block,), (*pieces, np.uint64(size), partial))
        join((width, number), (_JOIN_BLOCK,), (partial, np.uint64(blocks), *results))
    return sums, products


def similarity_blocks(size: int) -> int:
    """Blocks of the similarity kernel that share a sample; part of the definition of the result.

    A sample that is large enough occupies a GPU of 132 multiprocessors a whole number of times: what a block costs
    beside reading is paid rarely, and no block runs with the rest of the GPU idle. The GPU at hand is not asked, so
    that every GPU gives the same sums.

    Args:
        size: Elements of a sample.
    """
    most = _BLOCKS_AT_ONCE * max(1, -(-size // (_BLOCKS_AT_ONCE * _LARGEST_SHARE)))
    return max(1, min(most, -(-size // _SMALLEST_SHARE)))


def similarity_block(lanes: int, element: str) -> int:
    """Threads of a block of the similarity kernel, as many as have registers; part of the definition of the result.

    Args:
        lanes: Number of lanes.
        element: 'float32' or 'float64'.
    """
    if lanes == 1 and element == "float32":
        return 1024
    return 512 if lanes <= (4 if element == "float32" else 2) else 256


def source(**definitions: int) -> str:
    """The text that CuPy compiles for `apply` and `extremes`, with macros such as GFPQ_UNROLL defined first."""
    head = "".join(f"#define {name} {value}\n" for name, value in definitions.items())
    return head + kernel_source("gfpq_roots.cuh", "gfpq_device.cuh", "gfpq_kernels.cuh")


def similarity_source(lanes: int, element: str, **definitions: int) -> str:
    """The text that CuPy compiles for `similarity`.

    Args:
        lanes: Number of lanes.
        element: 'float32' or 'float64'.
        definitions: Further macros, such as GFPQ_RESIDENT.
    """
    names = ", ".join(f"y{lane}" for lane in range(lanes))
    parameters = ", ".join(f"const gfpq_similarity::Element* __restrict__ y{lane}" for lane in range(lanes))
    definitions = {"GFPQ_THREADS": similarity_block(lanes, element)} | definitions
    head = "".join(f"#define {name} {value}\n" for name, value in definitions.items())
    head += (
        f"#define GFPQ_LANES {lanes}\n#define GFPQ_ELEMENT {'float' if element == 'float32' else 'double'}\n"
        f"#define GFPQ_LANE_POINTERS {parameters}\n#define GFPQ_LANE_NAMES {names}\n"
    )
    return head + kernel_source(*SIMILARITY_FILES)


@cache
def _module() -> Any:
    text = source(GFPQ_BLOCK=BLOCK, GFPQ_UNROLL=UNROLL)
    return cupy().RawModule(code=text, options=("-std=c++17",))


@cache
def _kernel(name: str) -> Callable[..., None]:
    function: Callable[..., None] = _module().get_function(name)
    return function


def compile_similarity(text: str) -> tuple[Launch, Launch]:
    """The kernels of `similarity_source`: that which adds, and that which joins."""
    module = cupy().RawModule(code=text, options=("-std=c++17",))
    names = ("gfpq_similarity_shares", "gfpq_similarity_join")
    add, join = (overlapping(cupy(), module.get_function(name)) for name in names)
    return add, join


@cache
def _similarity_kernels(lanes: int, element: str) -> tuple[Launch, Launch]:
    return compile_similarity(similarity_source(lanes, "float32" if element == "f" else "float64"))


def _grid(size_in_bytes: int) -> tuple[int]:
    """One block a tile, up to as many as run at the same time."""
    tiles = -(-size_in_bytes // (BLOCK * UNROLL * 16))
    return (max(1, min(tiles, _resident_blocks(cupy().cuda.Device().id))),)


@cache
def _resident_blocks(device: int) -> int:
    attributes = cupy().cuda.Device(device).attributes
    return int(attributes["MultiProcessorCount"] * (attributes["MaxThreadsPerMultiProcessor"] // BLOCK))


def _power(step: float, steps_per_octave: int) -> float:
    """2^(step / S), with the limits of float64 instead of errors."""
    try:
        return math.pow(2.0, step / steps_per_octave)
    except OverflowError:
        return math.inf


def _tables(bits: int, delta: int) -> tuple[CupyArray, CupyArray]:
    """Where each code of a coefficient begins, and its value, on the current GPU."""
    number_format = gfpq_of(bits)
    length = number_format.highest_code + 1
    low, high = number_format.lowest_coefficient, number_format.highest_coefficient
    if low <= delta <= high:
        borders, values = _all_tables(bits, cupy().cuda.Device().id)
        return borders[delta - low : delta - low + length], values[delta - low : delta - low + length]
    borders, values = spell_out(bits, delta, delta + number_format.highest_code)
    return cupy().asarray(borders), cupy().asarray(values)


@cache
def _all_tables(bits: int, device: int) -> tuple[CupyArray, CupyArray]:
    number_format = gfpq_of(bits)
    first, last = number_format.lowest_coefficient, number_format.highest_coefficient + number_format.highest_code
    borders, values = spell_out(bits, first, last)
    with cupy().cuda.Device(device):
        return cupy().asarray(borders), cupy().asarray(values)


def spell_out(bits: int, first: int, last: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Borders and values of the steps `first` to `last` (a step is coefficient + code).

    A float64 number may lie so close to a border that the rounding of log2 decides. A GPU's log2 is another one, so it
    is given the borders as this machine's has them.

    Args:
        bits: 8 or 16.
        first: First step.
        last: Last step.

    Returns:
        float64 each: the smallest magnitude that rounds to the step or above it (inf where none does), and
        2^(step / S).
    """
    steps = gfpq_of(bits).steps_per_octave
    numbers = range(first, last + 1)
    return (
        np.array([_border(step, steps) for step in numbers]),
        np.array([_power(step, steps) for step in numbers]),
    )


def _border(step: int, steps_per_octave: int) -> float:
    """The smallest positive number whose rounded logarithm is `step` or more."""
    smallest, infinity = 1, _rank(math.inf)

    def reaches(rank: int) -> bool:
        if rank == infinity:
            return True
        return _round_half_away(steps_per_octave * math.log2(_at_rank(rank))) >= step

    middle = min(max(_rank(_power(step - 0.5, steps_per_octave)), smallest), infinity)
    below, width = middle, 64
    while below > smallest and reaches(below):
        below, width = max(smallest, below - width), 2 * width
    if reaches(below):
        return _at_rank(below)
    above, width = middle, 64
    while above < infinity and not reaches(above):
        above, width = min(infinity, above + width), 2 * width
    while above - below > 1:
        half = (below + above) // 2
        below, above = (below, half) if reaches(half) else (half, above)
    return _at_rank(above)


def _round_half_away(number: float) -> int:
    """Round as C's round does; adding 0.5 first would itself round."""
    size = abs(number)
    whole = math.floor(size)
    rounded = whole + 1 if size - whole >= 0.5 else whole
    return rounded if number > 0 else -rounded


def _rank(number: float) -> int:
    """Positive float64 numbers in their order, counted from 0 at +0."""
    rank: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return rank


def _at_rank(rank: int) -> float:
    number: float = struct.unpack("<d", struct.pack("<q", rank))[0]
    return number
