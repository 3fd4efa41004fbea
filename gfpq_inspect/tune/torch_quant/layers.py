"""Which modules of a PyTorch model NNIE quantizes, and with how many bits."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.models.place import name_suffixes
from gfpq_inspect.quantize import gfpq_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Convolutions, depthwise ones among them."""

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Caffe's Deconvolution."""

WEIGHTED: tuple[type[nn.Module], ...] = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
"""Modules whose weight NNIE quantizes, and the data that they read (guide section 1)."""

POOLING: tuple[type[nn.Module], ...] = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.LPPool1d, nn.LPPool2d, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d),
)
"""Modules that have no weight and whose data NNIE quantizes."""


class QuantizedLayer(NamedTuple):
    """A module that NNIE quantizes.

    Attributes:
        name: Its name in the model: the first one, where a module is shared; '' for the model itself.
        module: The module.
        bits: 8 or 16.
    """

    name: str
    module: Any
    bits: int


def inner_model(model: nn.Module) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and torch.compile's wrapper."""
    while True:
        wrapped = getattr(model, "_orig_mod", None)
        if wrapped is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            wrapped = model.module
        if not isinstance(wrapped, nn.Module):
            return model
        model = wrapped


def has_weight_of_its_own(module: nn.Module) -> bool:
    """Whether the weight is a parameter, not computed from others (weight_norm, spectral_norm, parametrizations)."""
    return module._parameters.get("weight") is not None


def is_weighted(module: nn.Module) -> bool:
    """Whether NNIE quantizes this module's weight and nobody else does already (torch.ao's training modules do)."""
    fused_elsewhere = isinstance(module, NonDynamicallyQuantizableLinear) or hasattr(module, "weight_fake_quant")
    return isinstance(module, WEIGHTED) and not fused_elsewhere


def quantized_layers(
    model: nn.Module, bits: int = 8, layers: Collection[str] | None = None, *, pooling: bool = True
) -> Iterator[QuantizedLayer]:
    """The modules that NNIE quantizes, each once, in the order of the model.

    Names work as in Caffe: `*_hp` asks for 16 bits, `*_cpu` keeps a layer off the chip.

    Args:
        model: Any model, wrapped or not.
        bits: Bit width of the others.
        layers: Names of the modules to take; all that NNIE quantizes when None.
        pooling: Whether to yield what has no weight.

    Raises:
        QuantizationError: Bad bits, or a name that is none of such a module.
    """
    gfpq_of(bits)
    kinds = WEIGHTED + (POOLING if pooling else ())
    model = inner_model(model)
    if layers is not None:
        _check_names(model, layers, kinds)
    for name, module in model.named_modules():
        suffixes = name_suffixes(name.rpartition(".")[2])
        wanted = name in layers if layers is not None else "_cpu" not in suffixes
        if wanted and (is_weighted(module) or (pooling and isinstance(module, POOLING))):
            yield QuantizedLayer(name, module, 16 if "_hp" in suffixes else bits)


def _check_names(model: nn.Module, layers: Collection[str], kinds: tuple[type[nn.Module], ...]) -> None:
    modules = dict(model.named_modules())
    for name in layers:
        if name not in modules:
            raise QuantizationError(f"the model has no module '{name}'; its names are those of named_modules().")
        if not isinstance(modules[name], kinds):
            raise QuantizationError(f"NNIE does not quantize '{name}', a {type(modules[name]).__name__}.")
