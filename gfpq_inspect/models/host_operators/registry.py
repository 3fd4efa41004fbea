"""Operators that ONNX does not have, computed with numpy between two ONNX Runtime sessions.

A node of domain `CUSTOM_DOMAIN` names its function here by operator type. Installed packages add their own by an entry
point of group `gfpq_inspect.host_operators`, named after the operator, that loads to a `HostFunction`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeAlias

import onnx
from numpy.typing import NDArray
from onnx import helper

from gfpq_inspect.errors import InternalError, ModelError, Problem

ENTRY_POINT_GROUP = "gfpq_inspect.host_operators"
_MODULES = ("detection_output", "psroi_pooling")

Array: TypeAlias = NDArray[Any]
HostFunction: TypeAlias = Callable[[Mapping[str, Any], Sequence[Array]], list[Array]]
"""Takes the node's attributes and its inputs; returns its outputs. Must not change its inputs."""

_BUILT_IN: dict[str, HostFunction] = {}


def host_operator(name: str) -> Callable[[HostFunction], HostFunction]:
    """Register a function as the computation of an operator of our domain."""

    def register(function: HostFunction) -> HostFunction:
        _BUILT_IN[name] = function
        return function

    return register


@cache
def _functions() -> dict[str, HostFunction]:
    for module in _MODULES:
        import_module(f"gfpq_inspect.models.host_operators.{module}")
    return {**_BUILT_IN, **{point.name: point.load() for point in entry_points(group=ENTRY_POINT_GROUP)}}


def compute(operator: str, attributes: Mapping[str, Any], inputs: Sequence[Array]) -> list[Array]:
    """Compute one node of domain `CUSTOM_DOMAIN`.

    Args:
        operator: Operator type of the node.
        attributes: Its attributes as Python values; strings are `str`.
        inputs: Its inputs, in order.

    Returns:
        Its outputs, in order.

    Raises:
        ModelError: Nobody provides this operator.
    """
    function = _functions().get(operator)
    if function is None:
        raise ModelError(
            Problem(
                f"no host operator is called '{operator}'",
                remedy=f"install the package that provides it (entry point group {ENTRY_POINT_GROUP})",
            )
        )
    return function(attributes, inputs)


def node_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as Python values, for `compute`."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.GraphProto):
            raise InternalError(f"host operator {node.op_type} cannot take a graph as attribute {attribute.name}")
        values[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return values
