"""Fields that nobody here knows: refused where they may change the result, noted where they cannot.

Fields inside the parameter messages of a layer are checked where the layer is translated; here stand those of the net
and of the layers themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from gfpq_inspect.errors import Problem
from gfpq_inspect.models.caffe.cut import KnownTypes
from gfpq_inspect.models.caffe.definition import LayerDefinition
from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.problems import Problems, nearest
from gfpq_inspect.models.caffe.schema import message_type
from gfpq_inspect.models.caffe.schema.uses import uses

_REMEDY = "remove it, or ignore it with --allow-unknown-fields"
_HARMLESS = frozenset({"engine", "force_backward", "debug_info", "lr_mult", "decay_mult", "propagate_down"})


def check_net_fields(root: Message, path: str, problems: Problems, notes: list[str], *, allow: bool) -> None:
    """Look at the net's own fields.

    Args:
        root: The net as it was read.
        path: File, for messages.
        problems: Receives unknown fields that may change the result.
        notes: Receives those that are ignored.
        allow: Ignore all unknown fields.
    """
    known = message_type("NetParameter")
    assert known is not None
    for name, values in root.fields.items():
        if name in known.fields:
            continue
        if allow or name in _HARMLESS:
            notes.append(f"unknown field '{name}' of the net ignored")
            continue
        near = "" if problems.full else nearest(name, known.fields)
        what = f"the net has a field '{name}' that is not known{near}"
        problems.add(Problem(what, path, line=values[0].line, column=values[0].column, remedy=_REMEDY))


def check_layer_fields(
    layers: Sequence[LayerDefinition],
    path: str,
    problems: Problems,
    notes: list[str],
    types: KnownTypes,
    *,
    allow: bool,
) -> None:
    """Look at the fields of each layer; layers of an unknown type have a worse problem and are passed over.

    Args:
        layers: Layers that are computed.
        path: File, for messages.
        problems: Receives unknown fields that may change the result.
        notes: Receives those that are ignored.
        types: Which layer types can be translated; a plug-in looks after its own fields.
        allow: Ignore all unknown fields.
    """
    known = message_type("LayerParameter")
    assert known is not None
    for layer in layers:
        if types.has_plugin(layer.type) or not types.is_known(layer.type):
            continue
        for name, values in layer.message.fields.items():
            if name in known.fields:
                continue
            leftover = all(isinstance(value, Message) for value in values) and not uses(layer.type, name)
            if allow or leftover or name in _HARMLESS:
                notes.append(f"layer '{layer.name}': unknown field '{name}' ignored")
                continue
            near = "" if problems.full else nearest(name, known.fields)
            what = f"has a field '{name}' that is not known{near}"
            problems.add(layer.problem(what, path, _REMEDY, name))
