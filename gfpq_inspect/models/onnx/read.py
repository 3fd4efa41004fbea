"""Reads an ONNX file into memory, weights included, and says in one sentence why it cannot be used."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.onnx.names import subgraphs_of
from gfpq_inspect.models.onnx.outline import outline
from gfpq_inspect.models.tensors import can_stay, is_left, leave


def load(path: Path, *, weights_stay: bool = False) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Read a model and the files that hold its weights.

    Args:
        path: The ONNX file.
        weights_stay: Leave large weights in their files, see `models.tensors`.

    Returns:
        The model with all weights inside, and base name to SHA-256 of each file read.

    Raises:
        ModelError: Missing, empty, truncated, not ONNX, or its external data are missing or too short.
    """
    found = outline(path) if weights_stay else None
    model, digest, left = (*_parsed(path), frozenset()) if found is None else found
    hashes = {path.name: digest}
    if not model.graph.node and not model.graph.output:
        raise ModelError(
            Problem("holds no network (not an ONNX model?)", file=str(path), remedy="give the exported .onnx file")
        )
    problems: list[Problem] = []
    staying = len(model.graph.initializer) if weights_stay else 0
    for index, tensor in enumerate(_tensors(model.graph)):
        if index < staying and is_left(tensor, path, left):
            continue
        if uses_external_data(tensor):
            problems += _load_external(tensor, path, hashes, stay=index < staying)
        else:
            problems += _check_size(tensor, path)
    if problems:
        raise ModelError(problems)
    return model, hashes


def _parsed(path: Path) -> tuple[onnx.ModelProto, str]:
    """The model as it is in its file, and the file's SHA-256."""
    data = _bytes_of(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf promises no common class of its own
        raise ModelError(
            Problem("not an ONNX model, or cut off", file=str(path), remedy="export or copy the file again")
        ) from error
    return model, hashlib.sha256(data).hexdigest()


def _bytes_of(path: Path) -> bytes:
    remedy = "check the path"
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(Problem("no such file", file=str(path), remedy=remedy)) from error
    except IsADirectoryError as error:
        raise ModelError(Problem("is a folder, not a file", file=str(path), remedy=remedy)) from error
    except OSError as error:
        raise ModelError(Problem(f"cannot be read ({error.strerror})", file=str(path), remedy=remedy)) from error
    if not data:
        raise ModelError(Problem("the file is empty", file=str(path), remedy="export or copy the file again"))
    return data


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """All tensors of a graph and its subgraphs: initializers and attribute values."""
    tensors = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                tensors.append(attribute.t)
            elif attribute.type == onnx.AttributeProto.TENSORS:
                tensors += attribute.tensors
        for inner in subgraphs_of(node):
            tensors += _tensors(inner)
    return tensors


def _load_external(tensor: onnx.TensorProto, path: Path, hashes: dict[str, str], *, stay: bool) -> list[Problem]:
    """Bring a tensor that lies in another file into the model, or find it there where it may stay."""
    info = ExternalDataInfo(tensor)
    folder = path.resolve().parent
    source = (folder / info.location).resolve()
    if not source.is_relative_to(folder):
        what = f"the weights of '{tensor.name}' lie outside the model's folder ('{info.location}')"
        return [Problem(what, file=str(path), remedy="save the model with its data beside it")]
    if not source.is_file():
        what = f"the file '{info.location}' with the weights of '{tensor.name}' is missing"
        return [Problem(what, file=str(path), remedy="put it beside the model")]
    offset = info.offset or 0
    expected = info.length if info.length is not None else _expected_bytes(tensor)
    if source.name not in hashes:
        with source.open("rb") as stream:
            hashes[source.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    if stay and expected is not None and can_stay(tensor, expected) and offset + expected <= source.stat().st_size:
        leave(tensor, source, offset, expected)
        return []
    with source.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(expected if expected is not None else -1)
    if expected is not None and len(data) != expected:
        what = f"the weights of '{tensor.name}' in '{info.location}' are cut off: {len(data)} of {expected} bytes"
        return [Problem(what, file=str(path), byte=offset, remedy="copy the data file again")]
    tensor.raw_data = data
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return _check_size(tensor, path)


def _expected_bytes(tensor: onnx.TensorProto) -> int | None:
    """Bytes that the shape asks for, or None for types of no whole number of bytes and for text."""
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        return None
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    if name.endswith(("INT4", "INT2", "E2M1")) or name == "STRING":
        return None
    return int(math.prod(tensor.dims)) * int(dtype.itemsize)


def _check_size(tensor: onnx.TensorProto, path: Path) -> list[Problem]:
    """A tensor whose data do not fill its shape would fail much later, without its name."""
    if any(dimension < 0 for dimension in tensor.dims):
        return [Problem(f"the tensor '{tensor.name}' has the impossible shape {list(tensor.dims)}", file=str(path))]
    expected = _expected_bytes(tensor)
    if expected is None or not tensor.HasField("raw_data") or len(tensor.raw_data) == expected:
        return []
    what = f"the tensor '{tensor.name}' of shape {list(tensor.dims)} holds {len(tensor.raw_data)} of {expected} bytes"
    return [Problem(what, file=str(path), remedy="export the model again")]
