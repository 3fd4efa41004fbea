"""Operators that ONNX does not have, one file each; `compute` runs one, `host_operator` registers one."""

from gfpq_inspect.models.host_operators.registry import compute, host_operator, node_attributes

__all__ = ["compute", "host_operator", "node_attributes"]
