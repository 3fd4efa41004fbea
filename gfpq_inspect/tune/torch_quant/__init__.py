"""GFPQ inside PyTorch: quantization in the training loop, with a float master behind it.

    from gfpq_inspect.tune.torch_quant import QuantizedWeights, fold_batch_norms, quantize_data

    fold_batch_norms(model)             # what NNIE computes: no BatchNorm of its own after a convolution
    quantize_data(model)                # what convolution, deconvolution, inner product and pooling read
    weights = QuantizedWeights(model)
    for images, labels in loader:
        optimizer.zero_grad()
        with weights.quantized():       # forward and backward see weights on the grid,
            criterion(model(images), labels).backward()
        optimizer.step()                # the step moves the float master

The arithmetic is that of the Quant layer and of `wk_quant.py` for Caffe, bit for bit. Needs PyTorch, the extra 'torch'.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from gfpq_inspect.errors import MissingExtraError

if TYPE_CHECKING:
    from gfpq_inspect.tune.torch_quant.batch_norm import (
        FoldedNorms,
        fold_batch_norms,
        freeze_batch_norm,
        unfreeze_batch_norm,
    )
    from gfpq_inspect.tune.torch_quant.data import quantize_data, remove_data_points
    from gfpq_inspect.tune.torch_quant.observers import (
        BatchObserver,
        FrozenObserver,
        Observer,
        RunningMaximumObserver,
        UpdateObserver,
    )
    from gfpq_inspect.tune.torch_quant.operator import fake_quantize
    from gfpq_inspect.tune.torch_quant.point import FakeQuantize
    from gfpq_inspect.tune.torch_quant.swap import MasterWarning
    from gfpq_inspect.tune.torch_quant.weights import QuantizedWeights

_MODULES = {
    "BatchObserver": "observers",
    "FakeQuantize": "point",
    "FoldedNorms": "batch_norm",
    "FrozenObserver": "observers",
    "MasterWarning": "swap",
    "Observer": "observers",
    "QuantizedWeights": "weights",
    "RunningMaximumObserver": "observers",
    "UpdateObserver": "observers",
    "fake_quantize": "operator",
    "fold_batch_norms": "batch_norm",
    "freeze_batch_norm": "batch_norm",
    "quantize_data": "data",
    "remove_data_points": "data",
    "unfreeze_batch_norm": "batch_norm",
}

__all__ = [
    "BatchObserver",
    "FakeQuantize",
    "FoldedNorms",
    "FrozenObserver",
    "MasterWarning",
    "Observer",
    "QuantizedWeights",
    "RunningMaximumObserver",
    "UpdateObserver",
    "fake_quantize",
    "fold_batch_norms",
    "freeze_batch_norm",
    "quantize_data",
    "remove_data_points",
    "unfreeze_batch_norm",
]

if find_spec("torch") is None:
    raise MissingExtraError("Quantizing inside PyTorch", "torch")


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: PyTorch takes seconds."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
