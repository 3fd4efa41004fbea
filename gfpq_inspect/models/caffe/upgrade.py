"""Old definitions to the current format: V0 (`layers { layer {} }`) and V1 (`layers {}`) to `layer {}`, and net inputs.

The steps and their order are Caffe's own, for text and for what was decoded from a binary alike. After `upgrade` a net
has only `layer` entries; the first one is named "input" when the file had `input` fields.
"""

from __future__ import annotations

from gfpq_inspect.errors import Problem
from gfpq_inspect.models.caffe.message import Message, Scalar
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.python_quant import as_quant_layer
from gfpq_inspect.models.caffe.upgrade_v0 import upgrade_v0_layers

MAX_LAYERS = 10_000
"""Layers of one definition; the largest real ones have a few thousand."""

V1_TYPES = {
    "NONE": "", "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DECONVOLUTION": "Deconvolution",
    "DATA": "Data", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "EUCLIDEAN_LOSS": "EuclideanLoss",
    "ELTWISE": "Eltwise", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData", "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct", "LRN": "LRN", "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "POOLING": "Pooling", "POWER": "Power",
    "RELU": "ReLU", "SIGMOID": "Sigmoid", "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "SLICE": "Slice",
    "TANH": "TanH", "WINDOW_DATA": "WindowData", "THRESHOLD": "Threshold",
    # Never in BVLC Caffe.
    "LOCAL": "Local", "RESHAPE": "Reshape", "UPSAMPLE": "Upsample", "INTERP": "Interp", "BN": "BN", "PRELU": "PReLU",
    "QUANT": "Quant",
}  # fmt: skip
"""Type of a V1 layer to the current type string."""

_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_TRANSFORM_OWNERS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_V1_RENAMED = ("type", "param", "blob_share_mode", "blobs_lr", "weight_decay", "layer", "blobs")


def upgrade(root: Message, path: str, problems: Problems) -> tuple[list[Message], list[str]]:
    """Bring a definition to the current format.

    Args:
        root: The net as it was read; stays as it is.
        path: File, for messages.
        problems: Receives what cannot be upgraded.

    Returns:
        The layers' messages in order, in the current format, and a note for each upgrade that took place.
    """
    notes: list[str] = []
    old, layers = root.messages("layers"), root.messages("layer")
    if len(old) + len(layers) > MAX_LAYERS:
        what = f"the network has {len(old) + len(layers)} layers, more than {MAX_LAYERS}"
        problems.add(Problem(what, path, remedy="cut it into parts"))
        old, layers = old[:MAX_LAYERS], layers[:MAX_LAYERS]
    if old and layers:
        problems.add(
            Problem(
                "the file has both 'layer' and 'layers' entries",
                path,
                line=old[0].line,
                column=old[0].column,
                remedy="use one of the two formats (Caffe refuses the mixture)",
            )
        )
    if any("layer" in layer for layer in old):
        notes.append("the structure was upgraded from the V0 format")
        old = upgrade_v0_layers(old, root.texts("input"), path, problems)
    elif old:
        notes.append("the structure was upgraded from the V1 format")
    upgraded = [_upgrade_v1_layer(layer) for layer in old] + [as_quant_layer(layer) for layer in layers]
    return _input_layers(root, upgraded, path, problems) + upgraded, notes


def _upgrade_v1_layer(layer: Message) -> Message:
    new = Message({name: values for name, values in layer.fields.items() if name not in _V1_RENAMED})
    new.line, new.column = layer.line, layer.column
    for scalar in layer.scalars("type")[:1]:
        new.add("type", Scalar(V1_TYPES.get(scalar.text, scalar.text), "string", scalar.line, scalar.column))
    owner = _TRANSFORM_OWNERS.get(layer.text("type"))
    if owner and layer.messages(owner):
        _move_transform(new, owner)
    for param in _param_specs(layer):
        new.add("param", param)
    return new


def _move_transform(layer: Message, owner: str) -> None:
    """Move scale, mean, crop and mirror from the data parameters to `transform_param`."""
    data = layer.messages(owner)[0].copy()
    transform = layer.messages("transform_param")[0].copy() if layer.messages("transform_param") else None
    if transform is None:
        transform = Message(line=data.line, column=data.column)
    for name in _TRANSFORM_FIELDS:
        if name in data:
            transform.fields[name] = data.fields.pop(name)
    layer.fields[owner] = [data]
    layer.fields["transform_param"] = [transform]


def _param_specs(layer: Message) -> list[Message]:
    """Turn the four parallel lists of V1 into `param` messages."""
    lists = (
        ("name", layer.scalars("param")),
        ("share_mode", layer.scalars("blob_share_mode")),
        ("lr_mult", layer.scalars("blobs_lr")),
        ("decay_mult", layer.scalars("weight_decay")),
    )
    specs = [Message(line=layer.line, column=layer.column) for _ in range(max(len(values) for _, values in lists))]
    for name, values in lists:
        for spec, value in zip(specs, values, strict=False):
            if name != "name" or value.text:
                spec.add(name, value)
    return specs


def _input_layers(root: Message, layers: list[Message], path: str, problems: Problems) -> list[Message]:
    """Turn the net's `input` fields into one layer "input" of type Input.

    Caffe drops inputs without dimensions; here they stay, without a shape, unless a layer writes a blob of the name.
    """
    names = root.scalars("input")
    shapes = root.messages("input_shape") or _four_axis_shapes(root, len(names), path, problems)
    if not shapes:
        written = {blob for layer in layers for blob in layer.texts("top")}
        names = [name for name in names if name.text not in written]
    if not names:
        return []
    if shapes and len(shapes) != len(names):
        problems.add(
            Problem(
                f"the net has {len(names)} inputs and {len(shapes)} input shapes",
                path,
                line=names[0].line,
                column=names[0].column,
                remedy="give one input_shape (or four input_dim) for every input",
            )
        )
        shapes = []
    layer = Message(line=names[0].line, column=names[0].column)
    layer.add_text("name", "input")
    layer.add_text("type", "Input")
    layer.fields["top"] = list(names)
    if shapes:
        layer.fields["input_param"] = [Message({"shape": list(shapes)}, layer.line, layer.column)]
    return [layer]


def _four_axis_shapes(root: Message, inputs: int, path: str, problems: Problems) -> list[Message]:
    dimensions = root.scalars("input_dim")
    if not dimensions or not inputs:
        return []
    if len(dimensions) != 4 * inputs:
        problems.add(
            Problem(
                f"the net has {inputs} inputs and {len(dimensions)} input_dim numbers",
                path,
                line=dimensions[0].line,
                column=dimensions[0].column,
                remedy="give four input_dim for every input",
            )
        )
        return []
    return [
        Message({"dim": list(dimensions[start : start + 4])}, dimensions[start].line, dimensions[start].column)
        for start in range(0, len(dimensions), 4)
    ]
