"""Layer types that are known by name and cannot be computed here, with the reason."""

from __future__ import annotations

_REASONS = {
    ("FQConvolution", "FQInnerProduct", "FQActive"): "belongs to a fixed-point fine-tuning fork, which rounds data and "
    "weights by bit parameters of its own",
    ("Dequant", "AntiQuant", "IFMR", "RetrainDataQuant", "RetrainWeightQuant"): "belongs to Ascend's quantization tool",
    ("BinaryConvolution",): "belongs to a fork for binary networks, several of which differ",
    ("Local",): "has a filter of its own at every place, which needs the fork that defines it",
    ("Yolo", "Yolov3", "Yolov3DetectionOutput", "YoloDetectionOutput", "Region", "RegionOutput"): "decodes detections "
    "in a way that its forks disagree about",
    ("SpatialTransformer", "SpatialTransform"): "differs between forks",
    ("ROIAlign",): "differs between forks in how it samples",
    ("Resize", "BilinearInterpolate"): "differs between forks",
    ("ContinuationIndicator", "CtcLoss", "CTCLoss", "LabelsequenceAccuracy"): "serves training only",
    (
        "Data",
        "ImageData",
        "HDF5Data",
        "MemoryData",
        "WindowData",
        "AnnotatedData",
        "VideoData",
    ): "reads data and has bottoms, so it cannot become an input",
    ("MultiBoxLoss", "SmoothL1Loss", "DetectionEvaluate", "CenterLoss", "TripletLoss"): "serves training only",
}


def reason_to_refuse(layer_type: str) -> str | None:
    """Return a clause that says why a type is refused, or None for a type that nobody here has heard of."""
    for types, reason in _REASONS.items():
        if layer_type in types:
            return f"layer type '{layer_type}' {reason}"
    return None
