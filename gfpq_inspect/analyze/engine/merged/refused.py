"""Which layers no merged graph can hold, as far as their nodes say: they run by themselves, the others do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from gfpq_inspect.models.model import CUSTOM_DOMAIN, Model
from gfpq_inspect.models.onnx.names import names_read, subgraphs_of

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)

_SHAPED_BY_DATA = frozenset({"Compress", "DetectionOutput", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"})
"""The shape of what they give goes by the numbers that they read."""

_REDUCTIONS = tuple(
    f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
)

_SHAPES_AT: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "MaxUnpool": (2,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    **dict.fromkeys(_REDUCTIONS, (1,)),
}
"""Operator to the places of those inputs whose numbers decide the shape of the output."""

_NO_TENSORS = ("Sequence", "Optional", "SplitToSequence", "ConcatFromSequence", "ZipMap", "DictVectorizer", "CastMap")


def refused_layers(model: Model) -> dict[str, str]:
    """Layers that run by themselves.

    Returns:
        Layer key to why, in one clause.
    """
    nodes = {node.name: node for node in model.graph.graph.node}
    sparse = {tensor.values.name for tensor in model.graph.graph.sparse_initializer}
    shapes = _Shapes(model)
    found: dict[str, str] = {}
    for layer in model.layers:
        for name in layer.nodes:
            reason = _own_reason(nodes[name], sparse) or shapes.reason(nodes[name])
            if reason is not None:
                found.setdefault(layer.key, reason)
    return found


def _own_reason(node: onnx.NodeProto, sparse: set[str]) -> str | None:
    if node.domain == CUSTOM_DOMAIN:
        return f"{node.op_type} is computed on the host"
    if any(True for _ in subgraphs_of(node)):
        return f"{node.op_type} is control flow"
    if node.op_type in _RANDOM:
        return f"{node.op_type} draws random numbers"
    if node.op_type.startswith(_NO_TENSORS):
        return f"{node.op_type} works on what is no tensor"
    if sparse.intersection(node.input):
        return "the weights are sparse"
    return None


class _Shapes:
    """Which tensors have a shape that goes by the data, found without running anything.

    Nodes must be asked about in graph order.
    """

    def __init__(self, model: Model) -> None:
        self._data = {entry.value for entry in model.inputs}
        self._dynamic: set[str] = set()

    def reason(self, node: onnx.NodeProto) -> str | None:
        """Why a node's tensors have no fixed shape, or None."""
        read = names_read(node)
        if node.op_type in ("Shape", "Size") and node.domain in ("", "ai.onnx"):
            if self._dynamic.intersection(read):
                self._data.update(node.output)
                return "its shape depends on the data"
            return None
        decides = _SHAPES_AT.get(node.op_type, ())
        # What a branch or a loop gives is taken to have the shape of the trial: ONNX Runtime looks before it goes on.
        if node.op_type in _SHAPED_BY_DATA:
            decides = tuple(range(len(node.input)))
        reads_data = bool(self._data.intersection(read))
        deciding: Iterable[str] = (node.input[place] for place in decides if place < len(node.input))
        dynamic = bool(self._dynamic.intersection(read)) or bool(self._data.intersection(deciding))
        names = [name for name in node.output if name]
        if reads_data:
            self._data.update(names)
        if dynamic:
            self._dynamic.update(names)
        return "the shape of its tensors depends on the data" if dynamic else None
