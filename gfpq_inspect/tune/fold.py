"""Folding from files to files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from gfpq_inspect.errors import UsageError
from gfpq_inspect.models.fold import Fold, Refusal, fold_onnx
from gfpq_inspect.tune.caffemodel import edit_caffemodel
from gfpq_inspect.tune.fold_caffe import fold_caffe
from gfpq_inspect.tune.networks import CaffeFiles, OnnxFile, check_folded, reopen, single_samples

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class FoldedFiles:
    """A folded network, not yet written.

    Attributes:
        files: Content by suffix: '.prototxt' and '.caffemodel', or '.onnx'.
        folds: What was folded.
        refusals: What was not, with reasons.
        difference: Largest difference of an output, relative to its largest magnitude, on seeded noise.
    """

    files: Mapping[str, bytes]
    folds: tuple[Fold, ...]
    refusals: tuple[Refusal, ...]
    difference: float


def fold_files(opened: CaffeFiles | OnnxFile, shapes: Shapes, *, allow_unknown_fields: bool = False) -> FoldedFiles:
    """Fold a network's files, and make sure that the outputs stay.

    Args:
        opened: The network.
        shapes: Input shapes by name, where the files leave them open.
        allow_unknown_fields: As the network was opened.

    Raises:
        ModelError: The network cannot be translated.
        UsageError: A Caffe network without a prototxt.
        InternalError: A folded layer does not compute what it should.
    """
    model, bound = single_samples(opened.network, shapes)
    if isinstance(opened, OnnxFile):
        proto, folds, refusals = fold_onnx(opened.proto)
        files = {".onnx": serialize(proto)}
    else:
        if opened.source is None:
            raise UsageError(f"{opened.paths[0]}: folding changes the structure; give the prototxt too")
        changed = fold_caffe(opened.network.net, model, opened.source, opened.stored)
        folds, refusals = changed.folded.folds, changed.folded.refusals
        files = {".prototxt": changed.content, ".caffemodel": edit_caffemodel(opened.stored, changed.edits)}
    after = reopen(files, allow_unknown_fields=allow_unknown_fields).network.build(bound)
    difference = check_folded(model, after, folds)
    return FoldedFiles(files, folds, refusals, difference)


def serialize(proto: onnx.ModelProto) -> bytes:
    """Return the bytes of an ONNX model; initializers that are no inputs need format 4 or later."""
    proto.ir_version = max(proto.ir_version, 4)
    return bytes(proto.SerializeToString(deterministic=True))
