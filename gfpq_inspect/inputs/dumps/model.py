"""A dump in the place of a network: a model without nodes, each of whose tensors is fed from a file."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from gfpq_inspect.inputs.dumps.dump import Dump, DumpTensor
from gfpq_inspect.models.model import Layer, LayerKind, Model, ModelInput, Origin

FRAMEWORK = "dump"
"""What stands for the framework of a dump."""

_TOOLS = {
    "mapper": "nnie_mapper",
    "board": "board or simulator",
    "caffe": "RuyiStudio's Caffe script",
    "numpy": "NumPy",
    "text": "text files",
}


def is_dump_model(model: Model | None) -> bool:
    """Whether a model stands for a dump."""
    return model is not None and model.origin.framework == FRAMEWORK


def value_of(tensor: DumpTensor) -> str:
    """Name of a tensor among the values of its model."""
    return f"dump:{tensor.name}"


def dump_layer(tensor: DumpTensor) -> Layer:
    """The row of the layer table of one tensor."""
    return Layer(
        key=tensor.name,
        name=tensor.name,
        type=FRAMEWORK,
        kind=LayerKind.COMPUTE,
        inputs=(),
        outputs=(value_of(tensor),),
        output_names=(tensor.name,),
        blob_names=(tensor.name,),
        nodes=(),
        quantization_reason="a dump: its tensors are taken as they are",
    )


def dump_model(
    dump: Dump, fed: Sequence[tuple[DumpTensor, tuple[int, ...]]], *, batchable: bool, notes: Sequence[str] = ()
) -> Model:
    """Make the model of a dump.

    Args:
        dump: The dump.
        fed: Tensors that are compared, with the shape of one sample.
        batchable: Whether axis 0 of all of them counts samples.
        notes: For the record.
    """
    given = {tensor.name for tensor, _ in fed}
    graph = onnx.ModelProto(ir_version=8)
    graph.opset_import.add(domain="", version=17)
    graph.graph.name = "dump"
    return Model(
        graph=graph,
        layers=tuple(dump_layer(tensor) for tensor in dump.tensors if tensor.name in given),
        inputs=tuple(ModelInput(value_of(tensor), value_of(tensor), shape) for tensor, shape in fed),
        outputs=(),
        origin=Origin(
            framework=FRAMEWORK,
            name=dump.name,
            structure_file=None,
            weights_file=dump.path,
            structure_source="files of tensors",
            sha256=dict(dump.sha256),
            notes=(f"A dump of {len(dump.tensors)} tensors ({tools_text(dump)}).", *dump.notes, *notes),
        ),
        batchable=batchable,
    )


def tools_text(dump: Dump) -> str:
    """Whose dump it is, for people."""
    return " and ".join(_TOOLS.get(tool, tool) for tool in dump.tools)
