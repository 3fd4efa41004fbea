"""The interface of nnieqat over our kernels, so that training scripts written for it run unchanged.

    python -m gfpq_inspect.tune.nnieqat SCRIPT ...

runs a script in which `import nnieqat` and `from nnieqat import ...` mean this package. No package of that name is
installed, or looked for. What the four functions do:

* `register_quantization_hook(model)`: from then on forward quantizes weights and data of what NNIE quantizes.
* `merge_freeze_bn(model)`: BatchNorm goes into the weights before it; all BatchNorm keep their statistics.
* `model.apply(unquant_weight)`, before the optimizer's step: the float master is back.
* `model.apply(quant_dequant_weight)`, before saving: weights lie on the grid; `unquant_weight` undoes it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfpq_inspect.tune.nnieqat.hooks import (
        freeze_bn,
        merge_freeze_bn,
        quant_dequant_weight,
        quant_weight,
        register_quantization_hook,
        test,
        unquant_weight,
    )

__all__ = [
    "freeze_bn",
    "merge_freeze_bn",
    "quant_dequant_weight",
    "quant_weight",
    "register_quantization_hook",
    "test",
    "unquant_weight",
]


def __getattr__(name: str) -> Any:
    """Import PyTorch when a function is asked for: a script may still have to set environment variables."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.hooks"), name)
