"""Our Python layer that stands for NNIE's Quant layer in a Caffe without it (`native/caffe/wk_quant.py`)."""

from __future__ import annotations

import ast

from gfpq_inspect.models.caffe.message import Message

MODULE, LAYER = "wk_quant", "QuantLayer"
"""What `python_param` of such a layer names."""


def is_python_quant(layer: Message) -> bool:
    """Return whether a layer is our Python layer for Quant."""
    return layer.text("type") == "Python" and any(
        python.text("module") == MODULE and python.text("layer") == LAYER for python in layer.messages("python_param")
    )


def as_quant_layer(layer: Message) -> Message:
    """Return our Python layer as a layer of type Quant; any other layer, and one that cannot be read, as it is.

    Its `param_str` is the text of a Python dictionary: `{'quant_bits': 8, 'quant_en': 1}`.
    """
    if not is_python_quant(layer):
        return layer
    text = layer.messages("python_param")[0].text("param_str") or "{}"
    try:
        values = ast.literal_eval(text) if len(text) <= 1000 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return layer
    if not isinstance(values, dict):
        return layer
    new = Message({name: value for name, value in layer.fields.items() if name not in ("type", "python_param")})
    new.line, new.column = layer.line, layer.column
    new.add_text("type", "Quant")
    parameters = Message(line=layer.line, column=layer.column)
    for name, default in (("quant_bits", 8), ("quant_en", 1)):
        value = values.get(name, default)
        if not isinstance(value, int):
            return layer
        parameters.add_text(name, str(int(value)), "number")
    new.add("quant_param", parameters)
    return new
