"""What the name of a dump's file says: which layer, which output or input, its shape and how values are written.

{layer}_output{i}_{C}_{H}_{W}_quant.linear.hex          nnie_mapper: 20.12 fixed point
{layer}_input{i}_{C}_{H}_{W}_quant.nonlinear.hex        nnie_mapper: GFPQ codes, 2 digits at 8 bit, 4 at 16 bit
{layer}_input{i}_{C}_{H}_{W}_anti_quant.linear.float    nnie_mapper: the same, dequantized
{layer}_weight.hex, _weight-anti.float, _bias.hex       nnie_mapper: parameters
{layer}_output{i}_{C}_{H}_{W}_caffe.linear.float        RuyiStudio's Caffe script
seg{s}_layer{n}_output{i}_inst.linear.hex               board and instruction simulator: numbers, no names
{layer}.npy, {layer}_output{i}.npy                      NumPy
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Encoding(StrEnum):
    """How values are written."""

    FIXED_POINT = "20.12 fixed point"  # hexadecimal two's complement, value / 4096
    CODES = "GFPQ codes"
    FLOAT_TEXT = "floats as text"
    NUMPY = "NumPy"


class Role(StrEnum):
    """What a tensor is to its layer."""

    OUTPUT = "output"
    INPUT = "input"
    PARAMETER = "parameter"


@dataclass(frozen=True)
class FileName:
    """What a name says.

    Attributes:
        layer: Layer (or blob) as the file calls it; empty where the file only numbers layers.
        role: What the tensor is.
        port: Which of the layer's outputs or inputs; of parameters 0 the weight, 1 the bias.
        shape: (C, H, W) as the name states it, or None.
        encoding: How values are written.
        tool: 'mapper', 'board', 'caffe', 'numpy' or 'text': whose naming this is.
        place: (segment, layer number) where the file only numbers layers, else None.
    """

    layer: str
    role: Role
    port: int
    shape: tuple[int, int, int] | None
    encoding: Encoding
    tool: str
    place: tuple[int, int] | None = None


_ENDINGS: tuple[tuple[str, Encoding, str], ...] = (
    ("_quant.nonlinear.hex", Encoding.CODES, "mapper"),
    (".nonlinear.hex", Encoding.CODES, "mapper"),
    ("_anti_quant.linear.float", Encoding.FLOAT_TEXT, "mapper"),
    ("_anti_quant.float", Encoding.FLOAT_TEXT, "mapper"),
    ("_quant.linear.float", Encoding.FLOAT_TEXT, "mapper"),
    ("_quant.linear.hex", Encoding.FIXED_POINT, "mapper"),
    ("_inst.linear.hex", Encoding.FIXED_POINT, "board"),
    ("_inst.linear.float", Encoding.FLOAT_TEXT, "board"),
    ("_func.linear.hex", Encoding.FIXED_POINT, "board"),
    ("_sim.linear.hex", Encoding.FIXED_POINT, "board"),
    ("_caffe.linear.float", Encoding.FLOAT_TEXT, "caffe"),
    ("_caffe.float", Encoding.FLOAT_TEXT, "caffe"),
    (".linear.hex", Encoding.FIXED_POINT, "board"),
    (".linear.float", Encoding.FLOAT_TEXT, "text"),
    (".hex", Encoding.FIXED_POINT, "text"),
    (".float", Encoding.FLOAT_TEXT, "text"),
    (".txt", Encoding.FLOAT_TEXT, "text"),
    (".npy", Encoding.NUMPY, "numpy"),
)
_PARAMETER = re.compile(
    r"^(?P<layer>.+?)(?:_blob\d+)?[_.-](?:weight|bias)s?(?:-anti|_anti)?(?:\.linear)?\.(?:hex|float)$"
)
_NUMBERED = re.compile(
    r"^seg(?P<segment>\d+)_layer(?P<layer>\d+)_(?P<role>output|input)(?P<port>\d+)(?P<shape>(_\d+){3})?$"
)
_NAMED = re.compile(r"^(?P<layer>.+)_(?P<role>output|input)(?P<port>\d+)(?P<shape>(_\d+){3})?$", re.DOTALL)
_SHAPED = re.compile(r"^(?P<layer>.+?)(?P<shape>(_\d+){3})$", re.DOTALL)
_LONGEST_DIMENSION = 9


def parse_file_name(name: str) -> FileName | None:
    """Read a file's name.

    Args:
        name: Base name; letter case of the ending does not matter.

    Returns:
        What it says, or None where it is not a tensor's.
    """
    lower = name.lower()
    if (found := _PARAMETER.match(lower)) is not None:
        layer = name[: len(found["layer"])]
        return FileName(layer, Role.PARAMETER, int("bias" in lower), None, _parameter_encoding(lower), "mapper")
    for ending, encoding, tool in _ENDINGS:
        if lower.endswith(ending) and len(name) > len(ending):
            return parse_stem(name[: -len(ending)], encoding, tool)
    return None


def _parameter_encoding(lower: str) -> Encoding:
    if lower.endswith(".float"):
        return Encoding.FLOAT_TEXT
    return Encoding.FIXED_POINT if "bias" in lower else Encoding.CODES


def parse_stem(stem: str, encoding: Encoding, tool: str) -> FileName:
    """Read a name without its ending, or the name of an array in an .npz."""
    if (found := _NUMBERED.match(stem)) is not None:
        place = (int(found["segment"]), int(found["layer"]))
        return FileName("", Role(found["role"]), int(found["port"]), _shape(found["shape"]), encoding, tool, place)
    if (found := _NAMED.match(stem)) is not None:
        return FileName(found["layer"], Role(found["role"]), int(found["port"]), _shape(found["shape"]), encoding, tool)
    found = _SHAPED.match(stem) if tool == "caffe" else None
    if found is not None:
        return FileName(found["layer"], Role.OUTPUT, 0, _shape(found["shape"]), encoding, tool)
    return FileName(stem, Role.OUTPUT, 0, None, encoding, tool)


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if not text:
        return None
    parts = text.strip("_").split("_")
    if any(len(part) > _LONGEST_DIMENSION or int(part) == 0 for part in parts):
        return None
    channels, height, width = map(int, parts)
    return channels, height, width
