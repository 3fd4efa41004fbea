"""`gfpq-inspect quantize-array`: the numbers of a .npy file, rounded to the GFPQ grid."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.files import check_writable, write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gfpq_inspect.quantize import GfpqParam


def quantize_array(
    source: Annotated[Path, typer.Argument(metavar="IN.npy", help="An array of float16, float32 or float64.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.npy", help="Where the rounded array goes.")],
    *,
    bits: Annotated[int, typer.Option(help="8 or 16.")] = 8,
    block: Annotated[
        str | None, typer.Option(metavar="HEX", help="Use this 16-byte parameter block instead of the data's own.")
    ] = None,
    codes: Annotated[bool, typer.Option("--codes", help="Write the chip's codes instead of their values.")] = False,
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Saturate infinities, turn NaN into 0, and count them.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an output file that exists.")] = False,
) -> None:
    """Quantize and dequantize the numbers of a .npy file, as the vendor's library does, bit for bit.

    Example: gfpq-inspect quantize-array weights.npy rounded.npy --bits 8
    """
    from gfpq_inspect.quantize import GfpqParam, Mode, quantize, quantize_dequantize

    check_writable(target, overwrite=force)
    if target.resolve() == source.resolve():
        raise UsageError(f"{source}: would be replaced by its own rounded values; name another output file")
    array = _read(source)
    param = GfpqParam() if block is None else GfpqParam.unpack(_bytes_of(block))
    mode = Mode.INIT if block is None else Mode.APPLY_ONLY
    policy: Any = "count" if allow_nonfinite else "error"
    if codes:
        rounded = quantize(array, bits, mode, param, nonfinite=policy).codes
    else:
        rounded = quantize_dequantize(array, bits, mode, param, nonfinite=policy)
    write_atomically(target, _npy(rounded), overwrite=force)
    print(f"{array.size:,} values, {bits} bit, coefficient {param.delta}, block {param.pack().hex(' ')}")
    _remarks(param)
    print(f"wrote {target}")


def _remarks(param: GfpqParam) -> None:
    """Say what was special about the data."""
    if param.nonfinite:
        print(f"{param.nonfinite:,} values were not finite: infinities saturated, NaN became 0")
    if param.all_zero:
        print("all finite values are zero: the coefficient is that of the magnitude 1e-6")


def _read(path: Path) -> NDArray[Any]:
    """Read the array; never unpickle."""
    import numpy as np

    try:
        with path.open("rb") as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: is no .npy array, or damaged ({error}); save it again with numpy.save") from error
    if array.dtype.kind != "f":
        raise InputError(f"{path}: holds {array.dtype}, not floating-point numbers; convert it to float32 first")
    return array


def _bytes_of(text: str) -> bytes:
    """Read a block written in hex, with or without spaces and 0x."""
    try:
        return bytes.fromhex(text.replace("0x", " ").replace(",", " "))
    except ValueError as error:
        raise UsageError(f"--block '{text}' is not hexadecimal; give 16 bytes such as '60 62 82 69 ...'") from error


def _npy(array: NDArray[Any]) -> bytes:
    """The bytes of a .npy file."""
    import numpy as np

    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()
