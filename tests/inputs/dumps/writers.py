"""Writes dumps as the vendor's tools do, from the documented formats alone; shares no code with the readers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def mangled(name: str) -> str:
    return name.replace("/", "_").replace("-", "_")


def chw(array: Array) -> tuple[int, int, int]:
    """(C, H, W) of a tensor of one image."""
    rest = [*array.shape[1:], 1, 1, 1][:3]
    return rest[0], rest[1], rest[2]


def fixed_point_lines(array: Array) -> str:
    """20.12: one 32-bit two's complement number a line, saturated at its ends."""
    lines = []
    for value in np.asarray(array, np.float64).ravel().tolist():
        number = max(-(2**31), min(2**31 - 1, round(value * 4096)))
        lines.append(f"{number & 0xFFFFFFFF:08x}")
    return "\n".join(lines) + "\n"


def float_lines(array: Array) -> str:
    return "".join(f"{value:.8f}\n" for value in np.asarray(array, np.float64).ravel().tolist())


def gfpq(array: Array, bits: int = 8) -> tuple[list[int], list[float]]:
    """Codes and values of GFPQ, element by element from the formula."""
    steps, top = (16, 127) if bits == 8 else (128, 1407)
    largest = float(np.abs(array).max()) or 1e-6
    delta = math.floor(steps * math.log2(largest)) - top
    sign = 1 << (bits - 1)
    codes, values = [], []
    for value in np.asarray(array, np.float64).ravel().tolist():
        lowest = 0 if value > 0 else 1
        if value == 0 or abs(value) <= 2.0 ** ((delta + lowest) / steps) / 2:
            codes.append(sign)
            values.append(0.0)
            continue
        code = min(top, max(lowest, math.floor(steps * math.log2(abs(value)) + 0.5) - delta))
        codes.append(code if value > 0 else sign | code)
        values.append(math.copysign(2.0 ** ((delta + code) / steps), value))
    return codes, values


def write_mapper_output(folder: Path, layer: str, array: Array, port: int = 0) -> Path:
    """`{layer}_output{i}_{C}_{H}_{W}_quant.linear.hex`."""
    c, h, w = chw(array)
    path = folder / f"{mangled(layer)}_output{port}_{c}_{h}_{w}_quant.linear.hex"
    path.write_text(fixed_point_lines(array))
    return path


def write_mapper_input(
    folder: Path, layer: str, array: Array, port: int = 0, *, bits: int = 8, anti: bool = True
) -> Path:
    """`{layer}_input{i}_{C}_{H}_{W}_quant.nonlinear.hex` and its dequantized twin."""
    c, h, w = chw(array)
    codes, values = gfpq(array, bits)
    digits = bits // 4
    stem = f"{mangled(layer)}_input{port}_{c}_{h}_{w}"
    path = folder / f"{stem}_quant.nonlinear.hex"
    path.write_text("".join(f"{code:0{digits}X}\n" for code in codes))
    if anti:
        (folder / f"{stem}_anti_quant.linear.float").write_text(float_lines(np.array(values)))
    return path


def write_board(folder: Path, segment: int, number: int, array: Array, port: int = 0, *, padded_to: int = 1) -> Path:
    """`seg{s}_layer{n}_output{i}_inst.linear.hex`; rows padded to a multiple of so many values."""
    width = array.shape[-1]
    spare = -width % padded_to
    padded = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, spare)])
    path = folder / f"seg{segment}_layer{number}_output{port}_inst.linear.hex"
    path.write_text(fixed_point_lines(padded))
    return path


def write_caffe(folder: Path, name: str, array: Array, port: int = 0) -> Path:
    """`{name}_output{i}_{C}_{H}_{W}_caffe.linear.float`."""
    c, h, w = chw(array)
    path = folder / f"{mangled(name)}_output{port}_{c}_{h}_{w}_caffe.linear.float"
    path.write_text(float_lines(array))
    return path


def write_npy(folder: Path, tensors: Mapping[str, Array]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in tensors.items():
        np.save(folder / f"{re.sub('/', '_', name)}.npy", array)
    return folder
