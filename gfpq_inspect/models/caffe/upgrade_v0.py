"""V0 layers (`layers { layer { type: "conv" ... } }`) to V1 layers."""

from __future__ import annotations

from gfpq_inspect.errors import Problem
from gfpq_inspect.models.caffe.message import Message, Scalar
from gfpq_inspect.models.caffe.problems import Problems, nearest

V0_TYPES = {
    "accuracy": "ACCURACY", "bnll": "BNLL", "concat": "CONCAT", "conv": "CONVOLUTION", "data": "DATA",
    "dropout": "DROPOUT", "euclidean_loss": "EUCLIDEAN_LOSS", "flatten": "FLATTEN", "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT", "im2col": "IM2COL", "images": "IMAGE_DATA", "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT", "lrn": "LRN", "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING", "relu": "RELU", "sigmoid": "SIGMOID", "softmax": "SOFTMAX", "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT", "tanh": "TANH", "window_data": "WINDOW_DATA",
}  # fmt: skip
"""Type of a V0 layer to the V1 type; `padding` layers are merged into their reader before."""

_PARAMETERS = {
    "conv": "convolution_param", "im2col": "convolution_param", "innerproduct": "inner_product_param",
    "pool": "pooling_param", "dropout": "dropout_param", "lrn": "lrn_param", "concat": "concat_param",
    "data": "data_param", "hdf5_data": "hdf5_data_param", "images": "image_data_param",
    "window_data": "window_data_param", "infogain_loss": "infogain_loss_param",
}  # fmt: skip
_FIELDS = {
    "num_output": "num_output", "biasterm": "bias_term", "weight_filler": "weight_filler",
    "bias_filler": "bias_filler", "pad": "pad", "kernelsize": "kernel_size", "group": "group", "stride": "stride",
    "pool": "pool", "dropout_ratio": "dropout_ratio", "local_size": "local_size", "alpha": "alpha", "beta": "beta",
    "k": "k", "concat_dim": "concat_dim", "source": "source", "batchsize": "batch_size", "rand_skip": "rand_skip",
    "shuffle_images": "shuffle", "new_height": "new_height", "new_width": "new_width",
    "det_fg_threshold": "fg_threshold", "det_bg_threshold": "bg_threshold", "det_fg_fraction": "fg_fraction",
    "det_context_pad": "context_pad", "det_crop_mode": "crop_mode",
}  # fmt: skip
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_KEPT = ("name", "blobs_lr", "weight_decay", "hdf5_output_param")
_PADDED = ("conv", "pool")


def upgrade_v0_layers(entries: list[Message], inputs: list[str], path: str, problems: Problems) -> list[Message]:
    """Upgrade all `layers` entries of a V0 net; entries that are V1 already stay.

    Args:
        entries: The `layers` messages.
        inputs: Names of the net's inputs.
        path: File, for messages.
        problems: Receives what cannot be upgraded.

    Returns:
        V1 messages, `padding` layers merged into the convolution or pooling that reads them.
    """
    merged = _merge_padding(entries, inputs, path, problems)
    return [_upgrade_entry(entry, path, problems) if "layer" in entry else entry for entry in merged]


def _inner(entry: Message) -> Message:
    messages = entry.messages("layer")
    return messages[0] if messages else Message(line=entry.line, column=entry.column)


def _merge_padding(entries: list[Message], inputs: list[str], path: str, problems: Problems) -> list[Message]:
    writer: dict[str, Message | None] = dict.fromkeys(inputs)
    kept: list[Message] = []
    for original in entries:
        entry = original
        for blob in entry.texts("bottom"):
            source = writer.get(blob)
            if source is not None and _inner(source).text("type") == "padding":
                entry = _take_padding(entry, source, path, problems)
        if _inner(entry).text("type") != "padding":
            kept.append(entry)
        for blob in entry.texts("top"):
            writer[blob] = entry
    return kept


def _take_padding(entry: Message, padding: Message, path: str, problems: Problems) -> Message:
    """Return the reader of a padding layer with its pad set and its bottom taken from before the padding."""
    inner = _inner(entry)
    if inner.text("type") not in _PADDED or len(entry.texts("bottom")) != 1 or len(padding.texts("bottom")) != 1:
        problems.add(
            Problem(
                "reads a padding layer, which only a conv or pool layer with one bottom can",
                path,
                inner.text("name"),
                entry.line,
                entry.column,
                remedy="set the pad of the layers that need it",
            )
        )
        return entry
    new, new_inner = entry.copy(), inner.copy()
    pad = _inner(padding).fields.get("pad")
    new_inner.fields["pad"] = pad if pad else [Scalar("0", "number", padding.line, padding.column)]
    new.fields["layer"] = [new_inner]
    new.fields["bottom"] = padding.fields["bottom"]
    return new


def _upgrade_entry(entry: Message, path: str, problems: Problems) -> Message:
    inner = _inner(entry)
    kind = inner.text("type")
    new = Message({key: values for key, values in entry.fields.items() if key != "layer"}, entry.line, entry.column)
    if kind in V0_TYPES:
        place = inner.scalars("type")[0]
        new.add("type", Scalar(V0_TYPES[kind], "identifier", place.line, place.column))
    else:
        what = f"'{kind}' is no layer type of the V0 format{nearest(kind, V0_TYPES)}" if kind else "has no type"
        problems.add(Problem(what, path, inner.text("name"), inner.line, inner.column, remedy="correct the type"))
    parameters = Message(line=inner.line, column=inner.column)
    transform = Message(line=inner.line, column=inner.column)
    for field, values in inner.fields.items():
        if field in _KEPT:
            new.fields[field] = values
        elif field in _TRANSFORM:
            transform.fields[_TRANSFORM[field]] = values
        elif field in _FIELDS:
            parameters.fields[_FIELDS[field]] = values
    if parameters.fields and kind in _PARAMETERS:
        new.fields[_PARAMETERS[kind]] = [parameters]
    if transform.fields:
        new.fields["transform_param"] = [transform]
    return new
