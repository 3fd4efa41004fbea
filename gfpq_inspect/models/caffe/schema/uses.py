"""Which parameter messages a layer type reads. Others are leftovers of copying and change nothing."""

from __future__ import annotations

_CONVOLUTIONS = (
    "Convolution", "Deconvolution", "Im2col", "DepthwiseConvolution", "ConvolutionDepthwise", "DepthwiseConv",
    "DWConvolution", "CuDNNConvolution",
)  # fmt: skip
_SPECIAL = {
    **dict.fromkeys(_CONVOLUTIONS, ("convolution_param",)),
    "LSTM": ("recurrent_param",),
    "RNN": ("recurrent_param",),
    "Normalize": ("norm_param",),
    "SoftmaxWithLoss": ("softmax_param", "loss_param"),
    "InfogainLoss": ("infogain_loss_param", "softmax_param"),
    "MultiBoxLoss": ("multibox_loss_param",),
    "MaxUnPool": ("upsample_param", "max_unpool_param"),
    "Unpooling": ("upsample_param", "max_unpool_param"),
    "PassThrough": ("pass_through_param", "reorg_param"),
    "ReLU6": ("relu6_param", "relu_param"),
    "Data": ("data_param", "transform_param"),
    "ImageData": ("image_data_param", "transform_param"),
    "MemoryData": ("memory_data_param", "transform_param"),
    "WindowData": ("window_data_param", "transform_param"),
    "AnnotatedData": ("data_param", "annotated_data_param", "transform_param"),
    "VideoData": ("data_param", "video_data_param", "transform_param"),
}


def uses(layer_type: str, field: str) -> bool:
    """Return whether layers of a type read a parameter field of LayerParameter ('convolution_param')."""
    if field == "loss_param" and layer_type.endswith("Loss"):
        return True
    special = _SPECIAL.get(layer_type)
    if special is not None:
        return field in special
    return field.endswith("_param") and field.removesuffix("_param").replace("_", "") == layer_type.lower()
