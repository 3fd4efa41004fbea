"""Folding BatchNorm, Scale and Bias into the convolution or inner product before them."""

from gfpq_inspect.models.fold.affine import Affine, batch_norm_constants, fold_bias, fold_weight
from gfpq_inspect.models.fold.model import (
    CAFFE_PASS_TYPES,
    CAFFE_STEP_TYPES,
    FoldedModel,
    fold_model,
    fold_model_report,
    fold_onnx,
)
from gfpq_inspect.models.fold.units import Fold, Refusal

__all__ = [
    "CAFFE_PASS_TYPES",
    "CAFFE_STEP_TYPES",
    "Affine",
    "Fold",
    "FoldedModel",
    "Refusal",
    "batch_norm_constants",
    "fold_bias",
    "fold_model",
    "fold_model_report",
    "fold_onnx",
    "fold_weight",
]
