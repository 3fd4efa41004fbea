"""The structure inside a caffemodel, for networks that come without a prototxt.

Field numbers up to 11 mean the same in every fork. Above, forks have reused numbers, so a parameter message is taken by
BVLC's and the SSD fork's numbers only where the layer's type reads that message and the bytes fit it; what does not fit
is a problem, never a guess. NNIE's Quant parameters are read by our own field number (native/caffe), since the vendor's
is not public.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, field

from gfpq_inspect.errors import Problem
from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.cut import DATA_TYPES, FOREIGN_TYPES, KnownTypes, is_measure
from gfpq_inspect.models.caffe.message import Message, Scalar, decode_text
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.schema import Field, MessageType, enum_values, message_type
from gfpq_inspect.models.caffe.schema.uses import uses
from gfpq_inspect.models.caffe.text import BYTES_A_VALUE, MIN_VALUE_LIMIT
from gfpq_inspect.models.caffe.wire import Buffer, LimitError, WireError, WireField

_FIRST_FORK_NUMBER = 100
_SKIPPED = frozenset({"blobs", "include", "exclude", "phase", "loss_weight", "propagate_down"})
# Number of quant_param in a fork: a field inside that NNIE's message cannot have, and the name of that field.
_FOREIGN_QUANT = {149: (1, wire.LENGTH, "forward_func"), 208: (2, wire.FIXED32, "scale")}
_VARINT_TYPES = frozenset({"int32", "int64", "uint32", "uint64", "bool"})


class _MisfitError(ValueError):
    """Bytes that are not the message they were taken for."""


@dataclass
class _Decoder:
    """Decodes messages by the schema, counting values so that memory stays bounded."""

    buffer: Buffer
    values_left: int
    skipped: set[int] = field(default_factory=set)

    def decode(self, kind: MessageType, start: int, end: int, *, strict: bool) -> Message:
        """Decode one message.

        Args:
            kind: Its type.
            start: First byte.
            end: End.
            strict: Every field must be known and of the right wire type, as it is where the type is a guess.

        Raises:
            _MisfitError: The bytes do not fit (strict only).
            WireError: The bytes are no message.
        """
        message = Message()
        for item in wire.fields(self.buffer, start, end):
            known = kind.by_number.get(item.number)
            if known is None or known.name in _SKIPPED:
                if strict and known is None:
                    raise _MisfitError(f"field #{item.number} is not in {kind.name}")
                continue
            try:
                self.add(message, kind, known, item, strict=strict)
            except _MisfitError:
                if strict:
                    raise
        if strict:
            missing = [known.name for known in kind.fields.values() if known.required and known.name not in message]
            if missing:
                raise _MisfitError(f"{kind.name} lacks {missing[0]}")
        return message

    def add(self, message: Message, kind: MessageType, known: Field, item: WireField, *, strict: bool) -> None:
        """Decode one field into a message; of a singular field the last value stays, messages are merged."""
        sub = message_type(known.type)
        if sub is not None:
            if item.wire != wire.LENGTH:
                raise _MisfitError(f"{known.name} is no message")
            self._count()
            child = self.decode(sub, item.start, item.end, strict=strict)
            if known.repeated or known.name not in message:
                message.add(known.name, child)
            else:
                message.messages(known.name)[0].fields.update(child.fields)
            return
        for scalar in self._scalars(kind, known, item):
            self._count()
            if not known.repeated:
                message.fields.pop(known.name, None)
            message.add(known.name, scalar)

    def _scalars(self, kind: MessageType, known: Field, item: WireField) -> list[Scalar]:
        if known.type in ("string", "bytes"):
            if item.wire != wire.LENGTH:
                raise _MisfitError(f"{known.name} is no string")
            return [Scalar(decode_text(bytes(self.buffer[item.start : item.end])), "string")]
        if known.type in ("float", "double"):
            return self._floats(known, item)
        if item.wire == wire.VARINT:
            return [_integer(kind, known, item.value)]
        if item.wire != wire.LENGTH or not known.repeated:
            raise _MisfitError(f"{known.name} is no number")
        scalars = []
        position = item.start
        while position < item.end:
            value, position = wire.read_varint(self.buffer, position, item.end)
            self._count()
            scalars.append(_integer(kind, known, value))
        return scalars

    def _floats(self, known: Field, item: WireField) -> list[Scalar]:
        code, size, single = ("<f", 4, wire.FIXED32) if known.type == "float" else ("<d", 8, wire.FIXED64)
        content = bytes(self.buffer[item.start : item.end])
        packed = item.wire == wire.LENGTH and known.repeated and len(content) % size == 0
        if item.wire != single and not packed:
            raise _MisfitError(f"{known.name} is no {known.type}")
        self.values_left -= len(content) // size
        self._count()
        return [Scalar(repr(value), "number") for (value,) in struct.iter_unpack(code, content)]

    def _count(self) -> None:
        self.values_left -= 1
        if self.values_left < 0:
            raise LimitError("it holds more values than a network of its size can", 0)


def _integer(kind: MessageType, known: Field, value: int) -> Scalar:
    if known.type in _VARINT_TYPES:
        number = wire.signed(value)
        if known.type == "int32":
            number = (number + 2**31) % 2**32 - 2**31
        if known.type == "bool":
            return Scalar("true" if value else "false", "identifier")
        return Scalar(str(number if known.type.startswith("int") else value), "number")
    for name, number in enum_values(kind.name, known.type).items():
        if number == wire.signed(value):
            return Scalar(name, "identifier")
    raise _MisfitError(f"{known.name} has no value {value}")


def read_structure(buffer: Buffer, path: str, problems: Problems, types: KnownTypes) -> tuple[Message, list[str]]:
    """Decode the definition that a caffemodel carries.

    Args:
        buffer: The file; its framing has been checked by `read_caffemodel`.
        path: File, for messages.
        problems: Receives layers whose parameters cannot be trusted.
        types: Which layer types can be translated; of others nothing is taken and nothing said here.

    Returns:
        The net as a message tree (`layer` or `layers` as stored, automatic Split layers undone), and notes.

    Raises:
        WireError: The file holds more values than a network of its size can, or bytes that are no message.
    """
    decoder = _Decoder(buffer, max(MIN_VALUE_LIMIT, len(buffer) // BYTES_A_VALUE))
    net, v1 = message_type("NetParameter"), message_type("V1LayerParameter")
    assert net is not None
    assert v1 is not None
    root = Message()
    for item in wire.fields(buffer, 0, len(buffer)):
        known = net.by_number.get(item.number)
        if known is None or item.wire not in (wire.LENGTH, wire.VARINT):
            continue
        if known.name == "layer" and item.wire == wire.LENGTH:
            root.add("layer", _current_layer(decoder, item, path, problems, types))
        elif known.name == "layers" and item.wire == wire.LENGTH:
            root.add("layers", decoder.decode(v1, item.start, item.end, strict=False))
        elif known.name in ("name", "input", "input_dim", "input_shape"):
            with contextlib.suppress(_MisfitError):
                decoder.add(root, net, known, item, strict=False)
    notes = ["parameters come from the caffemodel, by the field numbers of BVLC Caffe and its SSD fork"]
    undone = _undo_automatic_splits(root)
    if undone:
        notes.append(f"{undone} automatic Split layers of the caffemodel were undone")
    return root, notes


def stored_quantization(buffer: Buffer, start: int, end: int) -> Message | None:
    """Return the `quant_param` of a stored layer, or None unless our own field number holds one that fits."""
    layer, quant = message_type("LayerParameter"), message_type("QuantParameter")
    assert layer is not None
    assert quant is not None
    decoder = _Decoder(buffer, MIN_VALUE_LIMIT)
    for item in wire.fields(buffer, start, end):
        if item.number == layer.fields["quant_param"].number and item.wire == wire.LENGTH:
            try:
                return decoder.decode(quant, item.start, item.end, strict=True)
            except (_MisfitError, WireError):
                return None
    return None


def _current_layer(decoder: _Decoder, item: WireField, path: str, problems: Problems, types: KnownTypes) -> Message:
    known = message_type("LayerParameter")
    assert known is not None
    common = MessageType(
        known.name, known.fields, {n: f for n, f in known.by_number.items() if n < _FIRST_FORK_NUMBER}, known.enums
    )
    layer = decoder.decode(common, item.start, item.end, strict=False)
    kind, name = layer.text("type"), layer.text("name")
    if not types.is_known(kind) and kind not in DATA_TYPES | FOREIGN_TYPES | {"Input"}:
        return layer
    # What data layers and losses say is of little use and never changes what is computed.
    strict = not (kind in DATA_TYPES or is_measure(kind))
    readable = {number for number, f in known.by_number.items() if uses(kind, f.name)}
    unread: list[int] = []
    for part in wire.fields(decoder.buffer, item.start, item.end):
        if part.number < _FIRST_FORK_NUMBER:
            continue
        if part.number not in readable:
            unread.append(part.number)
            if kind == "Quant":
                _recognise_foreign_quant(decoder.buffer, layer, part)
            continue
        parameter = known.by_number[part.number]
        try:
            decoder.add(layer, known, parameter, part, strict=strict)
        except LimitError:
            raise
        except (_MisfitError, WireError) as error:
            what = f"its field #{part.number} in the caffemodel is not BVLC's {parameter.name} ({error})"
            problems.add(Problem(what, path, name, remedy="give the prototxt of this network"))
    if unread and strict and not readable and kind not in FOREIGN_TYPES and not _needs_no_parameters(kind):
        what = f"its {kind} parameters stand in field #{unread[0]} of the caffemodel, which forks use differently"
        problems.add(Problem(what, path, name, remedy="give the prototxt of this network"))
    return layer


def _recognise_foreign_quant(buffer: Buffer, layer: Message, part: WireField) -> None:
    """Name a field that only HWGQ's or Ascend's layer called Quant has, so that it is refused by name later."""
    if part.wire != wire.LENGTH or part.number not in _FOREIGN_QUANT:
        return
    inner, kind, name = _FOREIGN_QUANT[part.number]
    try:
        found = any(item.number == inner and item.wire == kind for item in wire.fields(buffer, part.start, part.end))
    except WireError:
        return
    if found:
        message = Message()
        message.add_text(name, "")
        layer.add("quant_param", message)


def _needs_no_parameters(layer_type: str) -> bool:
    return layer_type in {"Split", "Silence", "AbsVal", "BNLL", "BatchReindex", "Filter", "Axpy", "Mish", "CReLU"}


def _undo_automatic_splits(root: Message) -> int:
    """Remove the Split layers that Caffe inserted, recognised by their names; return how many."""
    writers: dict[str, tuple[str, int]] = {}
    renamed: dict[str, str] = {}
    kept: list[Scalar | Message] = []
    field_name, split_type = ("layer", "Split") if "layer" in root else ("layers", "SPLIT")
    layers = root.messages(field_name)
    for layer in layers:
        bottoms = [renamed.get(blob, blob) for blob in layer.texts("bottom")]
        tops = layer.texts("top")
        if layer.text("type") == split_type and len(bottoms) == 1 and bottoms[0] in writers:
            writer, index = writers[bottoms[0]]
            if layer.text("name") == f"{bottoms[0]}_{writer}_{index}_split":
                renamed.update(dict.fromkeys(tops, bottoms[0]))
                continue
        if bottoms != layer.texts("bottom"):
            layer.fields["bottom"] = [Scalar(blob, "string") for blob in bottoms]
        for index, blob in enumerate(tops):
            writers[blob] = (layer.text("name"), index)
        kept.append(layer)
    if layers:
        root.fields[field_name] = kept
    return len(layers) - len(kept)
