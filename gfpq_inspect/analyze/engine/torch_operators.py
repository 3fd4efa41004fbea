"""ONNX operators as PyTorch functions: arithmetic, normalisation, matrix products, reductions.

Windows (convolution, pooling, resizing) are in `torch_windows`, moves of data in `torch_shapes`. An operator that
stands in none of the tables runs on the CPU. Meanings are those of the ONNX operator specification.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch.nn import functional

from gfpq_inspect.analyze.engine.torch_call import Call, Function, Tensor, UnsupportedError


def _unary(function: Callable[[Tensor], Tensor]) -> Function:
    return lambda call: function(call[0])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda call: function(call[0], call[1])


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda call: reduce(function, [call[index] for index in range(len(call.inputs))])


def _divide(call: Call) -> Tensor:
    if call[0].is_floating_point():
        return call[0] / call[1]
    return torch.div(call[0], call[1], rounding_mode="trunc")


def _modulo(call: Call) -> Tensor:
    return torch.fmod(call[0], call[1]) if call.option("fmod", 0) else torch.remainder(call[0], call[1])


def _power(call: Call) -> Tensor:
    result = torch.pow(call[0], call[1])
    return result.to(call[0].dtype)


def _mean(call: Call) -> Tensor:
    return reduce(torch.add, [call[index] for index in range(len(call.inputs))]) / len(call.inputs)


def _clip(call: Call) -> Tensor:
    low = call.number(1, "min", -math.inf)
    high = call.number(2, "max", math.inf)
    if not call[0].is_floating_point():
        low, high = _integer_limit(low), _integer_limit(high)
    return torch.clamp(call[0], low, high)


def _integer_limit(limit: float) -> Any:
    return None if math.isinf(limit) else int(limit)


def _prelu(call: Call) -> Tensor:
    return torch.where(call[0] >= 0, call[0], call[0] * call[1])


def _leaky_relu(call: Call) -> Tensor:
    return torch.where(call[0] >= 0, call[0], call[0] * call.option("alpha", 0.01))


def _elu(call: Call) -> Tensor:
    return torch.where(call[0] >= 0, call[0], call.option("alpha", 1.0) * torch.expm1(call[0]))


def _selu(call: Call) -> Tensor:
    alpha, gamma = call.option("alpha", 1.6732631921768188), call.option("gamma", 1.0507010221481323)
    result: Tensor = torch.where(call[0] > 0, call[0], alpha * torch.expm1(call[0])) * gamma
    return result


def _softplus(call: Call) -> Tensor:
    return torch.logaddexp(call[0], torch.zeros_like(call[0]))


def _hard_sigmoid(call: Call) -> Tensor:
    return torch.clamp(call.option("alpha", 0.2) * call[0] + call.option("beta", 0.5), 0, 1)


def _hard_swish(call: Call) -> Tensor:
    return call[0] * torch.clamp(call[0] / 6 + 0.5, 0, 1)


def _gelu(call: Call) -> Tensor:
    return functional.gelu(call[0], approximate=call.option("approximate", "none"))


def _thresholded_relu(call: Call) -> Tensor:
    return torch.where(call[0] > call.option("alpha", 1.0), call[0], torch.zeros_like(call[0]))


def _softmax(function: Callable[..., Tensor]) -> Function:
    def run(call: Call) -> Tensor:
        data = call[0]
        if call.opset >= 13:
            return function(data, dim=call.option("axis", -1))
        # Before version 13 everything from the axis on counts as one.
        axis = call.option("axis", 1) % max(1, data.dim())
        return function(data.reshape(math.prod(data.shape[:axis]), -1), dim=1).reshape(data.shape)

    return run


def _batch_normalization(call: Call) -> Tensor:
    if call.option("training_mode", 0):
        raise UnsupportedError("BatchNormalization in training mode")
    scale, bias, mean, variance = (call[index] for index in range(1, 5))
    return functional.batch_norm(call[0], mean, variance, scale, bias, False, 0.0, call.option("epsilon", 1e-5))


def _instance_normalization(call: Call) -> Tensor:
    return functional.instance_norm(call[0], weight=call[1], bias=call[2], eps=call.option("epsilon", 1e-5))


def _layer_normalization(call: Call) -> Tensor:
    if call.outputs > 1:
        raise UnsupportedError("LayerNormalization that also hands out its statistics")
    data = call[0]
    axis = call.option("axis", -1) % data.dim()
    bias = call[2] if call.has(2) else None
    return functional.layer_norm(data, data.shape[axis:], call[1], bias, call.option("epsilon", 1e-5))


def _local_response_normalization(call: Call) -> Tensor:
    data, size = call[0], int(call.attributes["size"])
    before, after = (size - 1) // 2, size // 2
    squares = functional.pad((data * data).flatten(2).movedim(1, 2), (before, after)).unfold(2, size, 1).sum(-1)
    squares = squares.movedim(2, 1).reshape(data.shape)
    base = call.option("bias", 1.0) + call.option("alpha", 0.0001) / size * squares
    return data / torch.pow(base, call.option("beta", 0.75))


def _lp_normalization(call: Call) -> Tensor:
    norm = torch.linalg.vector_norm(call[0], call.option("p", 2), dim=call.option("axis", -1), keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(call[0]), call[0] / norm)


def _gemm(call: Call) -> Tensor:
    one = call[0].t() if call.option("transA", 0) else call[0]
    other = call[1].t() if call.option("transB", 0) else call[1]
    alpha, beta = call.option("alpha", 1.0), call.option("beta", 1.0)
    product = one @ other
    product = product if alpha == 1 else alpha * product
    if not call.has(2):
        return product
    return product + (call[2] if beta == 1 else beta * call[2])


def _reduction(function: Callable[..., Tensor]) -> Function:
    def run(call: Call) -> Tensor:
        axes = call.integers(1, "axes")
        if not axes:
            if call.option("noop_with_empty_axes", 0):
                return call[0]
            axes = list(range(call[0].dim()))
        return function(call[0], dim=axes, keepdim=bool(call.option("keepdims", 1)))

    return run


def _reduce_product(data: Tensor, dim: Sequence[int], keepdim: bool) -> Tensor:
    for axis in sorted((axis % data.dim() for axis in dim), reverse=True):
        data = torch.prod(data, dim=axis, keepdim=keepdim)
    return data


def _reduce_squares(data: Tensor, dim: Sequence[int], keepdim: bool) -> Tensor:
    return torch.sum(data * data, dim=list(dim), keepdim=keepdim)


def _reduce_l2(data: Tensor, dim: Sequence[int], keepdim: bool) -> Tensor:
    return torch.sqrt(_reduce_squares(data, dim, keepdim))


def _reduce_l1(data: Tensor, dim: Sequence[int], keepdim: bool) -> Tensor:
    return torch.sum(torch.abs(data), dim=list(dim), keepdim=keepdim)


def _extreme_place(function: Callable[..., Tensor]) -> Function:
    def run(call: Call) -> Tensor:
        axis, data = call.option("axis", 0), call[0]
        last = bool(call.option("select_last_index", 0))
        place = function(data.flip(axis) if last else data, dim=axis, keepdim=bool(call.option("keepdims", 1)))
        return data.shape[axis] - 1 - place if last else place

    return run


ARITHMETIC: Mapping[str, Function] = {
    "Abs": _unary(torch.abs),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "ArgMax": _extreme_place(torch.argmax),
    "ArgMin": _extreme_place(torch.argmin),
    "BatchNormalization": _batch_normalization,
    "Ceil": _unary(torch.ceil),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Div": _divide,
    "Elu": _elu,
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "InstanceNormalization": _instance_normalization,
    "IsInf": _unary(torch.isinf),
    "IsNaN": _unary(torch.isnan),
    "LRN": _local_response_normalization,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _leaky_relu,
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "LogSoftmax": _softmax(torch.log_softmax),
    "LpNormalization": _lp_normalization,
    "MatMul": _binary(torch.matmul),
    "Max": _variadic(torch.maximum),
    "Mean": _mean,
    "Min": _variadic(torch.minimum),
    "Mish": _unary(functional.mish),
    "Mod": _modulo,
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _unary(torch.reciprocal),
    "ReduceL1": _reduction(_reduce_l1),
    "ReduceL2": _reduction(_reduce_l2),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceProd": _reduction(_reduce_product),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(_reduce_squares),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round),
    "Selu": _selu,
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Softmax": _softmax(torch.softmax),
    "Softplus": _softplus,
    "Softsign": _unary(functional.softsign),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _variadic(torch.add),
    "Tanh": _unary(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
    "Xor": _binary(torch.logical_xor),
}
"""Operator to its function."""
