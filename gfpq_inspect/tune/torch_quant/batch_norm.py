"""BatchNorm folded into the weights before it, and frozen: what NNIE computes, trained as it is computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parameter import is_lazy

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.models.fold.affine import Affine, fold_bias, fold_weight
from gfpq_inspect.tune.torch_quant import flow
from gfpq_inspect.tune.torch_quant.layers import TRANSPOSED, WEIGHTED, has_weight_of_its_own, inner_model
from gfpq_inspect.tune.torch_quant.tensors import Tensor

_FROZEN = "_gfpq_frozen"
_BASE = "_gfpq_folded_into"
_CHECKED = "_gfpq_axes_checked"


@dataclass
class FoldedNorms:
    """What `fold_batch_norms` did.

    Attributes:
        folded: Name of each BatchNorm that was folded to the name of the module that took it in.
        kept: Name of each other BatchNorm to the reason why it stays: one clause.
        new_biases: Names of the modules that had no bias and have one now.
    """

    folded: dict[str, str] = field(default_factory=dict)
    new_biases: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


def fold_batch_norms(model: nn.Module) -> FoldedNorms:
    """Fold each BatchNorm into the convolution or inner product before it, in place, and freeze all of them.

    Which ones follow which is read off the model's forward. Parameters stay the objects that they are, so that an
    optimizer made before goes on; a module without a bias gets one, which such an optimizer does not know. A folded
    BatchNorm stays in the model and passes on what it reads. Called again, it changes nothing.

    Args:
        model: The model, wrapped or not.

    Returns:
        What was folded and what was not.
    """
    model = inner_model(model)
    modules: dict[str, Any] = dict(model.named_modules())
    done = FoldedNorms()
    owners = _owners(model)
    for pair in flow.pairs(model):
        base, norm = modules[pair.base], modules[pair.norm]
        if _BASE in norm.__dict__:
            continue
        reason = _obstacle(base, norm, owners)
        if reason:
            done.kept[pair.norm] = reason
            continue
        if base.bias is None:
            done.new_biases.append(pair.base)
        _fold(base, norm)
        norm.__dict__[_BASE] = pair.base
        if not pair.proven:
            _Watch(base, norm, pair)
    for name, module in modules.items():
        if isinstance(module, flow.NORMALIZATIONS):
            if _BASE in module.__dict__:
                done.folded[name] = module.__dict__[_BASE]
            else:
                done.kept.setdefault(name, "it does not follow one convolution or inner product alone")
            freeze_batch_norm(module)
    return done


def freeze_batch_norm(module: nn.Module, *, parameters: bool = True) -> None:
    """Keep a BatchNorm on its statistics, also after `model.train()`; any other module is left alone.

    For `model.apply(freeze_batch_norm)`.

    Args:
        module: Any module.
        parameters: Whether its factor and summand stay as they are, too.
    """
    if not isinstance(module, flow.NORMALIZATIONS) or module.running_mean is None:
        return
    if _FROZEN not in module.__dict__:
        module.__dict__[_FROZEN] = module.register_forward_pre_hook(_stay)
    module.eval()
    if parameters:
        for parameter in (module.weight, module.bias):
            if parameter is not None:
                parameter.requires_grad = False
                parameter.grad = None


def unfreeze_batch_norm(module: nn.Module) -> None:
    """Let a BatchNorm that was not folded follow its batches again; for `model.apply`."""
    handle = module.__dict__.get(_FROZEN)
    if handle is None or _BASE in module.__dict__:
        return
    handle.remove()
    del module.__dict__[_FROZEN]
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad_()


def forget_fold(module: nn.Module) -> None:
    """Treat a BatchNorm as one that was not folded yet, after a checkpoint gave it other numbers."""
    module.__dict__.pop(_BASE, None)


def _stay(module: nn.Module, _: tuple[Any, ...]) -> None:
    if module.training:
        module.eval()


def _owners(model: nn.Module) -> dict[int, int]:
    """How many modules hold a parameter."""
    counts: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    return counts


def _obstacle(base: Any, norm: Any, owners: dict[int, int]) -> str:
    """Why a pair cannot be folded; ''."""
    if any(is_lazy(one) for module in (base, norm) for one in (*module.parameters(), *module.buffers())):
        return "its shape is not known before the first batch (a lazy module)"
    if norm.running_mean is None or norm.running_var is None:
        return "it has no statistics of its own, it normalises by each batch"
    if not has_weight_of_its_own(base) or hasattr(base, "weight_fake_quant"):
        return "the weight before it is computed from other parameters"
    if any(owners[id(one)] > 1 for one in (base.weight, base.bias) if one is not None):
        return "the weight before it is shared with another module"
    stock = next(kind for kind in WEIGHTED if isinstance(base, kind))
    if type(base).forward is not stock.forward or getattr(type(base), "_conv_forward", None) is not getattr(
        stock, "_conv_forward", None
    ):
        return f"{type(base).__name__} before it computes in a way of its own"
    if _outputs(base) != norm.num_features:
        return f"it has {norm.num_features} channels, the module before it {_outputs(base)}"
    affine = _affine(norm)
    finite = all(bool(torch.isfinite(one).all()) for one in (base.weight, base.bias) if one is not None)
    return "" if affine.is_finite and finite else "its factors or the weights before it are not finite"


def _outputs(base: Any) -> int:
    return int(base.out_features if isinstance(base, nn.Linear) else base.out_channels)


def _affine(norm: Any) -> Affine:
    variance = _array(norm.running_var)
    affine = Affine.identity(variance.size).plus(-_array(norm.running_mean))
    with np.errstate(all="ignore"):
        affine = affine.over(np.sqrt(variance + norm.eps))
    if norm.weight is not None:
        affine = affine.times(_array(norm.weight))
    return affine.plus(_array(norm.bias)) if norm.bias is not None else affine


def _fold(base: Any, norm: Any) -> None:
    affine = _affine(norm)
    group = base.groups if isinstance(base, TRANSPOSED) else None
    weight = fold_weight(_array(base.weight), affine.scale, group=group)
    summand = _array(base.bias) if base.bias is not None else 0.0
    bias = torch.from_numpy(fold_bias(summand, affine, np.dtype(np.float64)))
    base.weight.data.copy_(torch.from_numpy(weight))
    if base.bias is not None:
        base.bias.data.copy_(bias)
    else:
        base.bias = nn.Parameter(bias.to(base.weight), requires_grad=base.weight.requires_grad)
    norm.running_mean.data.zero_()
    norm.running_var.data.fill_(1.0 - norm.eps)
    if norm.weight is not None:
        norm.weight.data.fill_(1.0)
    if norm.bias is not None:
        norm.bias.data.zero_()
    if isinstance(base, nn.Linear) and _CHECKED not in norm.__dict__:
        norm.__dict__[_CHECKED] = True
        norm.register_forward_pre_hook(_check_axes)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().to("cpu", torch.float64).numpy())


def _check_axes(norm: nn.Module, arguments: tuple[Any, ...]) -> None:
    """A BatchNorm1d counts channels on axis 1, an inner product on the last: with three axes these are two."""
    if _BASE in norm.__dict__ and arguments and arguments[0].dim() > 2:
        raise QuantizationError(
            f"a BatchNorm was folded into the inner product '{norm.__dict__[_BASE]}', which gives it "
            f"{arguments[0].dim()} axes: its channels are not those of the weights. Freeze it instead of folding."
        )


class _Watch:
    """Sees at the first call whether a normalization reads what its base gave; then it goes.

    Args:
        base: The base.
        norm: The normalization.
        pair: Their names.
    """

    def __init__(self, base: nn.Module, norm: nn.Module, pair: flow.Pair) -> None:
        self._pair = pair
        self._given: Any = None
        self._handles = (base.register_forward_hook(self._base_gave), norm.register_forward_pre_hook(self._norm_reads))

    def _base_gave(self, base: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        if not _is_elsewhere(base):
            self._given = output

    def _norm_reads(self, norm: nn.Module, arguments: tuple[Any, ...]) -> None:
        if _is_elsewhere(norm):
            return
        given, self._given = self._given, None
        if given is None or not arguments or arguments[0] is not given:
            raise QuantizationError(
                f"'{self._pair.norm}' was folded into '{self._pair.base}', after which it stands in the model, but "
                "forward gives it something else; name them in the order in which forward calls them, or freeze "
                "BatchNorm instead of folding it."
            )
        for handle in self._handles:
            handle.remove()


def _is_elsewhere(module: nn.Module) -> bool:
    """Whether this call says nothing: replicas run side by side, and a compiler sees placeholders."""
    return getattr(module, "_is_replica", False) or torch.compiler.is_compiling()
