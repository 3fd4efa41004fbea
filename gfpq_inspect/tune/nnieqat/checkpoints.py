"""Checkpoints that fit the plain model: hooking and merging leave the keys of a state dictionary as they are.

The coefficients of data travel in the dictionary's metadata, which `torch.save` keeps and plain models ignore. A bias
that merging gave to a module without one is written as that of the BatchNorm behind it, where it means the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gfpq_inspect.tune.nnieqat.hooked import HOOKED, Hooked
from gfpq_inspect.tune.torch_quant.batch_norm import FoldedNorms, forget_fold
from gfpq_inspect.tune.torch_quant.layers import has_weight_of_its_own
from gfpq_inspect.tune.torch_quant.operator import State

_KEY = "gfpq"
_FOREIGN = (".weight_origin", ".activation_max_value")
_TAKES_FOREIGN = "_nnieqat_takes_foreign"
_MERGED = "_nnieqat_merged"

StateDict = dict[str, Any]


@dataclass
class _Merged:
    """What was merged in a model.

    Attributes:
        norm_of: Name of each module that took a BatchNorm in to the BatchNorm's.
        new_biases: Those of them that had no bias before.
    """

    norm_of: dict[str, str]
    new_biases: set[str]


def carry_coefficient(module: Any) -> None:
    """Let the state dictionary of a hooked module carry the coefficient of its data."""
    module._register_state_dict_hook(_save)
    module._register_load_state_dict_pre_hook(_load, with_module=True)


def take_foreign(model: Any) -> None:
    """Let a model load checkpoints that nnieqat itself wrote, with what it added to them left out."""
    if not model.__dict__.get(_TAKES_FOREIGN):
        model.__dict__[_TAKES_FOREIGN] = True
        model._register_load_state_dict_pre_hook(_drop_foreign)


def keep_plain(model: Any, done: FoldedNorms) -> None:
    """Let a merged model write and read checkpoints with the keys that it had before.

    Args:
        model: The model itself, not a wrapper.
        done: What was folded.
    """
    if _MERGED in model.__dict__:
        merged: _Merged = model.__dict__[_MERGED]
        merged.norm_of.update({base: norm for norm, base in done.folded.items()})
        merged.new_biases.update(done.new_biases)
    else:
        model.__dict__[_MERGED] = _Merged({base: norm for norm, base in done.folded.items()}, set(done.new_biases))
        model._register_state_dict_hook(_write_plain)
        model._register_load_state_dict_pre_hook(_read_plain, with_module=True)


def _save(module: nn.Module, state: StateDict, prefix: str, metadata: StateDict) -> None:
    del state, prefix
    hooked: Hooked = module.__dict__[HOOKED]
    if hooked.point is not None:
        metadata[_KEY] = list(hooked.point.observer.seen)


def _load(module: Any, state: StateDict, prefix: str, metadata: StateDict, *_: Any) -> None:
    hooked: Hooked = module.__dict__[HOOKED]
    if hooked.swap is not None and has_weight_of_its_own(module) and f"{prefix}weight" in state:
        hooked.swap.restore(module.weight)
    if hooked.point is not None and _KEY in metadata:
        hooked.point.observer.state.copy_(State(*metadata[_KEY]).tensor())


def _drop_foreign(state: StateDict, *_: Any) -> None:
    for key in [key for key in state if key.endswith(_FOREIGN)]:
        del state[key]


def _write_plain(model: Any, state: StateDict, prefix: str, metadata: StateDict) -> None:
    """Hand each new bias on to the BatchNorm behind it: the tensor itself, for those who average states in place."""
    del metadata
    merged: _Merged = model.__dict__[_MERGED]
    for base in merged.new_biases:
        norm, bias = merged.norm_of[base], state.pop(f"{prefix}{base}.bias", None)
        if bias is not None and f"{prefix}{norm}.bias" in state:
            state[f"{prefix}{norm}.bias"] = bias
        elif bias is not None:  # without factors of its own
            state[f"{prefix}{norm}.running_mean"] = -bias


def _read_plain(model: Any, state: StateDict, prefix: str, *_: Any) -> None:
    """Take the biases back; a checkpoint of the model before merging makes its BatchNorm what they were."""
    modules = dict(model.named_modules())
    merged: _Merged = model.__dict__[_MERGED]
    for base, name in merged.norm_of.items():
        bias, shift, mean = (f"{prefix}{key}" for key in (f"{base}.bias", f"{name}.bias", f"{name}.running_mean"))
        if mean not in state:
            continue
        is_new = base in merged.new_biases and bias not in state
        zeros = torch.zeros_like(state[mean])
        if not _is_merged(state, f"{prefix}{name}", modules[name]):
            forget_fold(modules[name])
            state.update({bias: zeros} if is_new else {})
        elif is_new and shift in state:
            state[bias], state[shift] = state[shift], zeros
        elif is_new:
            state[bias], state[mean] = -state[mean], zeros


def _is_merged(state: StateDict, prefix: str, norm: Any) -> bool:
    """Whether a stored BatchNorm only adds."""
    variance, weight = state.get(f"{prefix}.running_var"), state.get(f"{prefix}.weight")
    ones = variance is not None and bool(((variance + norm.eps - 1).abs() < 1e-6).all())
    return ones and (weight is None or bool((weight == 1).all()))
