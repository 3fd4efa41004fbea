"""The functions of nnieqat."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import nn

from gfpq_inspect.tune.nnieqat import checkpoints
from gfpq_inspect.tune.nnieqat.hooked import HOOKED, Hooked
from gfpq_inspect.tune.torch_quant.batch_norm import fold_batch_norms, freeze_batch_norm
from gfpq_inspect.tune.torch_quant.data import with_data
from gfpq_inspect.tune.torch_quant.layers import (
    QuantizedLayer,
    has_weight_of_its_own,
    inner_model,
    is_weighted,
    quantized_layers,
)
from gfpq_inspect.tune.torch_quant.operator import NoCoefficientWarning, fake_quantize
from gfpq_inspect.tune.torch_quant.point import FakeQuantize
from gfpq_inspect.tune.torch_quant.swap import WeightSwap, coefficient

logger = logging.getLogger("nnieqat")


def register_quantization_hook(
    model: Any, quant_weight: bool = True, quant_activation: bool = True, quant_data: bool = False
) -> Any:
    """From now on, forward quantizes what NNIE quantizes: weights, and what the modules with weights and pooling read.

    Weights stand quantized in the model from forward on until `unquant_weight`. The coefficient of data comes from the
    first batch in training (INIT) and grows with the others (UPDATE); evaluation uses it as it is (APPLY). A model may
    be hooked once; a second call changes nothing. Tracing and exporting see the model without quantization.

    Args:
        model: Any model, wrapped or not; modules named *_hp get 16 bits, modules named *_cpu stay float.
        quant_weight: Quantize weights.
        quant_activation: Quantize the data that convolution, inner product and pooling read, which is what the chip
            does with activations.
        quant_data: The same points: one of the two is enough.

    Returns:
        The model.
    """
    data = quant_activation or quant_data
    inner: Any = inner_model(model)
    swaps: dict[int, WeightSwap] = {}
    for layer in list(quantized_layers(inner)):
        before: Hooked | None = layer.module.__dict__.get(HOOKED)
        if before is not None and before.registered:
            continue
        if before is not None and before.swap is not None:
            before.swap.restore(layer.module.weight)
        swap = _swap_of(layer, swaps) if quant_weight and is_weighted(layer.module) else None
        point = FakeQuantize(layer.bits, name=layer.name) if data else None
        if swap is None and point is None:
            continue
        layer.module.__dict__[HOOKED] = Hooked(swap, point)
        layer.module.register_forward_pre_hook(_before_forward, with_kwargs=True)
        checkpoints.carry_coefficient(layer.module)
        logger.debug("quantizing %s (%s)", layer.name, type(layer.module).__name__)
    checkpoints.take_foreign(inner)
    return model


def merge_freeze_bn(model: Any) -> Any:
    """Fold each BatchNorm into the weights before it, where it follows exactly one module, and freeze all of them.

    Called again, as scripts do in each epoch, it changes nothing.

    Args:
        model: Any model, wrapped or not.

    Returns:
        The model.
    """
    model.apply(unquant_weight)
    done = fold_batch_norms(model)
    checkpoints.keep_plain(inner_model(model), done)
    for name, reason in done.kept.items():
        logger.info("BatchNorm %s is frozen, not merged: %s", name, reason)
    return model


def freeze_bn(m: nn.Module, freeze_bn_affine: bool = True) -> None:
    """Freeze a BatchNorm, for `model.apply(freeze_bn)`.

    Args:
        m: Any module.
        freeze_bn_affine: Whether its factor and summand stay as they are, too.
    """
    freeze_batch_norm(m, parameters=freeze_bn_affine)


def unquant_weight(m: nn.Module) -> None:
    """Put the float master of a weight back, for `model.apply(unquant_weight)` before the optimizer's step.

    Args:
        m: Any module.
    """
    hooked = m.__dict__.get(HOOKED)
    if hooked is not None and hooked.swap is not None and has_weight_of_its_own(m):
        hooked.swap.restore(m.weight)


def quant_dequant_weight(m: nn.Module) -> None:
    """Put a weight on the grid, for `model.apply(quant_dequant_weight)` before saving; `unquant_weight` undoes it.

    Args:
        m: Any module; one that NNIE does not quantize is left alone.
    """
    hooked = m.__dict__.get(HOOKED)
    if hooked is None and is_weighted(m) and has_weight_of_its_own(m):
        hooked = m.__dict__[HOOKED] = Hooked(WeightSwap("", 8), None, registered=False)
    if hooked is not None and hooked.swap is not None and has_weight_of_its_own(m):
        hooked.swap.quantize(m.weight)


quant_weight = quant_dequant_weight
"""The name that the first releases had."""


def test() -> None:
    """Quantize the numbers of the vendor's guide and log what came out, as nnieqat does.

    Raises:
        AssertionError: The numbers are wrong.
    """
    values = torch.tensor([-9.0, *map(float, range(10))])
    found = fake_quantize(values)
    expected = torch.tensor([0, 1, 2, 2.9536523819, 4, 4.9674310684, 5.9073047638, 7.0250086784, 8, 8.7240619659])
    logger.info("Quant Data: %s", found.tolist())
    if not torch.equal(found[1:], expected) or found[0] != -expected[-1]:
        raise AssertionError(f"the numbers of the guide became {found.tolist()}")


def _swap_of(layer: QuantizedLayer, swaps: dict[int, WeightSwap]) -> WeightSwap | None:
    if not has_weight_of_its_own(layer.module):
        logger.warning("the weight of %s is computed from other parameters; it stays float", layer.name)
        return None
    return swaps.setdefault(id(layer.module.weight), WeightSwap(layer.name, layer.bits))


@torch.compiler.disable  # type: ignore[untyped-decorator]  # PyTorch gives it no types
def _before_forward(
    module: Any, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if _is_export():
        return arguments, named
    hooked: Hooked = module.__dict__[HOOKED]
    if hooked.swap is not None:
        if getattr(module, "_is_replica", False):
            # A copy of one forward, in data parallel training: its weight is made anew from the master each time.
            weight, bits = module.weight, hooked.swap.bits
            module.weight = fake_quantize(
                weight, bits, coefficient(weight, bits), where=f"layer '{hooked.swap.name}': "
            )
        elif has_weight_of_its_own(module):
            hooked.swap.quantize(module.weight)
    if hooked.point is None:
        return arguments, named
    hooked.point.train(module.training)
    with warnings.catch_warnings():
        # A model that is evaluated before it is trained: each batch sets its own coefficient, as nnieqat's do.
        warnings.simplefilter("ignore", NoCoefficientWarning)
        return with_data(hooked.point, arguments, named)


def _is_export() -> bool:
    """Whether the graph is only being written down, for a file that shall hold the network itself."""
    exporting = getattr(torch.compiler, "is_exporting", None)  # since 2.7
    return torch._C._get_tracing_state() is not None or (exporting is not None and exporting())
