"""Opening a network, whatever framework wrote it: the files' content decides, not their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from gfpq_inspect.errors import ModelError, Problem, UsageError
from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.caffemodel import open_buffer
from gfpq_inspect.models.caffe.definition import NetState
from gfpq_inspect.models.caffe.hdf5 import MAGIC as HDF5_MAGIC
from gfpq_inspect.models.caffe.network import CaffeOptions, read_network
from gfpq_inspect.models.caffe.wire import Buffer, WireError
from gfpq_inspect.models.model import Network

Content: TypeAlias = Literal["prototxt", "caffe weights", "onnx"]

_TEXT_SAMPLE = 4096
_ONNX_IR_VERSION, _ONNX_GRAPH = 1, 7
_CAFFE_NAME, _CAFFE_LAYER = 1, 100


def open_network(
    path: Path | str,
    structure: Path | str | None = None,
    other_structure: Path | str | None = None,
    *,
    allow_missing: bool = False,
    allow_unknown_fields: bool = False,
    shapes_only: bool = False,
    keep_losses: bool = False,
    weights_stay: bool = False,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
) -> Network:
    """Read a network from its files.

    Args:
        path: A caffemodel, an HDF5 snapshot, a prototxt without weights, or an ONNX model.
        structure: Prototxt of a Caffe network; without it one of the weights' stem beside them is taken, else
            `other_structure`, else the layers inside the caffemodel.
        other_structure: Prototxt of the other network of a comparison.
        allow_missing: Missing weights get Caffe's filler values, with a note, instead of being refused.
        allow_unknown_fields: Unknown prototxt fields are ignored, with a note, instead of being refused.
        shapes_only: Only shapes will be asked for; a Caffe network then needs no weights, and cannot run without.
        keep_losses: Keep losses and accuracies of a Caffe network; the labels become inputs.
        weights_stay: Large weights of an ONNX model stay in its file until somebody asks for them, see
            `models.tensors`; for who only computes with them.
        phase: 'TEST' or 'TRAIN': which layers of a Caffe network take part.
        stages: Stages for the same.
        level: Level for the same.

    Returns:
        The network; `build` translates it and raises what is wrong with it as a whole.

    Raises:
        ModelError: A file is missing, damaged or of another kind.
        UsageError: Files or options that make no sense together.
        MissingExtraError: The weights are HDF5 and h5py is not installed.
    """
    path = Path(path)
    given = Path(structure) if structure is not None else None
    other = Path(other_structure) if other_structure is not None else None
    content = sniff(path)
    if content == "onnx":
        from gfpq_inspect.models.onnx.network import read_onnx  # noqa: PLC0415  (Caffe users need not load it)

        if given is not None:
            raise UsageError(f"{path} is an ONNX model, which has its own structure; leave the prototxt {given} away")
        return read_onnx(path, weights_stay=weights_stay)
    if phase not in ("TEST", "TRAIN"):
        raise UsageError(f"phase '{phase}' does not exist in Caffe; use TEST or TRAIN")
    options = CaffeOptions(
        allow_missing=allow_missing,
        allow_unknown_fields=allow_unknown_fields,
        shapes_only=shapes_only,
        keep_losses=keep_losses,
        state=NetState(phase, level, tuple(stages)),
    )
    if content == "caffe weights":
        return read_network(path, given, other_structure=other, options=options)
    if given is not None:
        raise UsageError(f"{path} and {given} are both text; give the binary weights (.caffemodel) as one of them")
    return read_network(None, path, options=options)


def sniff(path: Path) -> Content:
    """Tell by its content what a file is.

    Raises:
        ModelError: It is missing or unreadable.
    """
    if not path.exists():
        raise ModelError(Problem("does not exist", str(path), remedy="check the path"))
    if path.is_dir():
        raise ModelError(Problem("is a folder", str(path), remedy="name a file in it"))
    buffer = open_buffer(path)
    head = bytes(buffer[:_TEXT_SAMPLE])
    if head.startswith(HDF5_MAGIC):
        return "caffe weights"
    if _is_text(head) and path.suffix.lower() not in (".caffemodel", ".onnx"):
        return "prototxt"
    return _sniff_protobuf(buffer, "onnx" if path.suffix.lower() == ".onnx" else "caffe weights")


def _sniff_protobuf(buffer: Buffer, fallback: Content) -> Content:
    """Tell an ONNX ModelProto from a Caffe NetParameter by the first fields that only one of them has."""
    try:
        for item in wire.fields(buffer, 0, len(buffer)):
            if (item.number, item.wire) in ((_ONNX_IR_VERSION, wire.VARINT), (_ONNX_GRAPH, wire.LENGTH)):
                return "onnx"
            if (item.number, item.wire) in ((_CAFFE_NAME, wire.LENGTH), (_CAFFE_LAYER, wire.LENGTH)):
                return "caffe weights"
    except WireError:
        pass
    return fallback


def _is_text(head: bytes) -> bool:
    """Return whether a file begins like text: no control characters but white space, and not empty."""
    return bool(head) and not any(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head)
