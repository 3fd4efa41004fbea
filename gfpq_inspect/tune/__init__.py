"""Recovering precision: folding and quantizing weights into files, Quant layers, fine-tuning with a float master.

From Python as from the command line:

    opened = open_files([Path("net.prototxt"), Path("net.caffemodel")])
    folded = fold_files(opened, {})                    # .files: content by suffix, .refusals: what stays and why
    quantized = quantize_files(opened, {}, bits=8)     # .weights: coefficient, saturation, underflow of each layer
    change = insert_quant_layers(Path("net.prototxt").read_bytes(), "net.prototxt")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfpq_inspect.tune.fold import FoldedFiles, fold_files
    from gfpq_inspect.tune.networks import open_files
    from gfpq_inspect.tune.parameters import parameter_files
    from gfpq_inspect.tune.quant_layers import QuantChange, insert_quant_layers, strip_quant_layers
    from gfpq_inspect.tune.quantize import QuantizedFiles, quantize_files
    from gfpq_inspect.tune.weights import QuantizedTensor, quantize_tensor

__all__ = [
    "FoldedFiles",
    "QuantChange",
    "QuantizedFiles",
    "QuantizedTensor",
    "fold_files",
    "insert_quant_layers",
    "open_files",
    "parameter_files",
    "quantize_files",
    "quantize_tensor",
    "strip_quant_layers",
]

_MODULES = {
    "FoldedFiles": "fold",
    "QuantChange": "quant_layers",
    "QuantizedFiles": "quantize",
    "QuantizedTensor": "weights",
    "fold_files": "fold",
    "insert_quant_layers": "quant_layers",
    "open_files": "networks",
    "parameter_files": "parameters",
    "quantize_files": "quantize",
    "quantize_tensor": "weights",
    "strip_quant_layers": "quant_layers",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: most of this room needs onnx, its neighbours may not."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
