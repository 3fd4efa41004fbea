"""Quant layers in a prototxt: put in before every layer that NNIE quantizes, taken out again, byte for byte.

One Quant layer serves all readers of a blob that are quantized with one bit width; other readers keep the float blob.
It stands right before the first of them, behind the last in-place layer, and takes part in just those phases in which
one of its readers does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gfpq_inspect.errors import ModelError, Problem, QuantizationError
from gfpq_inspect.models.caffe.message import Message, Scalar
from gfpq_inspect.models.caffe.python_quant import LAYER, MODULE, is_python_quant
from gfpq_inspect.models.model import LayerKind
from gfpq_inspect.models.place import caffe_quantization
from gfpq_inspect.tune.old_format import restore_original, upgrade_text, without_original
from gfpq_inspect.tune.prototxt import Edits, Entry, Source, quoted, respelled, with_suffix
from gfpq_inspect.tune.rules import any_of, rules_of


@dataclass(frozen=True)
class QuantChange:
    """An edited prototxt.

    Attributes:
        content: The new file.
        layers: Names of the Quant layers that were put in or taken out, in file order.
        notes: What else a reader should know, one clause each.
    """

    content: bytes
    layers: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _TextLayer:
    """A layer with the places of its blob names."""

    entry: Entry
    message: Message
    name: str
    type: str
    bottoms: list[tuple[str, Entry]]
    tops: list[tuple[str, Entry]]

    @property
    def quant_bottoms(self) -> list[tuple[str, str, Entry]]:
        """For a Quant layer: name of each top, of its bottom, and the bottom's place."""
        if not is_quant_layer(self.message):
            return []
        return [(top, bottom, entry) for (top, _), (bottom, entry) in zip(self.tops, self.bottoms, strict=False)]


@dataclass
class _Group:
    """Readers that share one Quant layer."""

    blob: str
    bits: int
    in_place: bool
    readers: list[tuple[_TextLayer, Entry]] = field(default_factory=list)


def is_quant_layer(layer: Message) -> bool:
    """Return whether a layer is NNIE's Quant layer or our Python layer that stands for it."""
    if layer.text("type") in ("Quant", "QUANT"):
        messages = layer.messages("quant_param")
        return not messages or any(name in messages[0] for name in ("quant_bits", "quant_en"))
    return is_python_quant(layer)


def insert_quant_layers(raw: bytes, path: str, *, bits: int = 8, python_layer: bool = False) -> QuantChange:
    """Put a Quant layer before every layer that NNIE quantizes.

    Args:
        raw: Bytes of the prototxt.
        path: For messages.
        bits: Bit width, 8 or 16; layers whose name ends in `_hp` get 16.
        python_layer: Write our Python layer instead of type Quant, so that a stock Caffe loads the file.

    Returns:
        The new file. A file that has them already comes back as it is; one in the old format (`layers { }`), which has
        no place for them, is brought to the current format first and keeps its former self in a comment.

    Raises:
        ModelError: The file breaks the grammar, or no Quant layer can be put in.
        QuantizationError: Another bit width.
    """
    if bits not in (8, 16):
        raise QuantizationError(f"quant_bits {bits}: GFPQ has 8 and 16 bits")
    source = Source(raw, path)
    notes: tuple[str, ...] = ()
    if source.root.messages("layers"):
        source = upgrade_text(source)
        notes = ("the file was in the old format and is in the current one now; strip-quant restores it",)
    layers = _layers(source)
    groups = _groups(layers, bits)
    if not groups:
        return QuantChange(raw, (), _why_none(layers))
    taken = {name for layer in layers for name, _ in (*layer.tops, *layer.bottoms)} | {layer.name for layer in layers}
    taken |= set(source.root.texts("input"))
    edits = Edits()
    names = [_insert(edits, source, group, taken, python_layer=python_layer) for group in groups]
    text = edits.apply(source.text)
    return QuantChange(source.seal(text), tuple(names), notes)


def strip_quant_layers(raw: bytes, path: str) -> QuantChange:
    """Take all Quant layers out, and let their readers read the float blobs again.

    Args:
        raw: Bytes of the prototxt.
        path: For messages.

    Returns:
        The new file; for one that `insert_quant_layers` made, the bytes that it was made from.

    Raises:
        ModelError: The file breaks the grammar, or a Quant layer cannot go.
    """
    original = restore_original(raw)
    source = Source(without_original(raw), path)
    layers = _layers(source)
    quants = [layer for layer in layers if is_quant_layer(layer.message)]
    names = tuple(layer.name for layer in quants)
    if original is not None:
        return QuantChange(original, names, ("the file is in the old format again, as it was",))
    floats = _float_blobs(source, layers, quants)
    edits = Edits()
    for layer in layers:
        if layer in quants:
            edits.remove_entry(source, layer.entry)
            continue
        for blob, entry in layer.bottoms:
            if blob in floats:
                edits.replace(entry.value_start, entry.end, _float_literal(source, entry, blob, *floats[blob]))
    return QuantChange(source.encode(edits.apply(source.text)), names)


def _layers(source: Source) -> list[_TextLayer]:
    layers = []
    for entry, message in source.layers():
        bottoms, tops = _blobs(message, entry, "bottom"), _blobs(message, entry, "top")
        layers.append(_TextLayer(entry, message, message.text("name"), message.text("type"), bottoms, tops))
    if not layers:
        raise ModelError(Problem("holds no layers", source.path, remedy="give the prototxt of a network"))
    return layers


def _blobs(message: Message, entry: Entry, field_name: str) -> list[tuple[str, Entry]]:
    values = message.fields.get(field_name, [])
    return [
        (value.text, place)
        for value, place in zip(values, entry.of(field_name), strict=True)
        if isinstance(value, Scalar)
    ]


def _groups(layers: Sequence[_TextLayer], bits: int) -> list[_Group]:
    """Collect the readers that each Quant layer serves, in the order of their first reader."""
    last_writer: dict[str, int] = {}
    groups: dict[tuple[str, int, int, int | None], _Group] = {}
    for index, layer in enumerate(layers):
        quantization, _ = caffe_quantization(
            layer.name, layer.type, LayerKind.COMPUTE, tuple(name for name, _ in layer.bottoms), ()
        )
        for position, (blob, entry) in enumerate(layer.bottoms):
            writer = last_writer.get(blob, -1)
            if quantization is None or (writer >= 0 and is_quant_layer(layers[writer].message)):
                continue
            width = quantization.bits or bits
            in_place = position < len(layer.tops) and layer.tops[position][0] == blob
            key = (blob, writer, width, index if in_place else None)
            groups.setdefault(key, _Group(blob, width, in_place)).readers.append((layer, entry))
        for blob, _ in layer.tops:
            last_writer[blob] = index
    return list(groups.values())


def _why_none(layers: Sequence[_TextLayer]) -> tuple[str, ...]:
    if any(is_quant_layer(layer.message) for layer in layers):
        return ("every layer that NNIE quantizes reads a Quant layer already",)
    return ("no layer of a type that NNIE quantizes",)


def _insert(edits: Edits, source: Source, group: _Group, taken: set[str], *, python_layer: bool) -> str:
    """Write one Quant layer and let its readers read it; returns its name."""
    stem = _stem(group.blob)
    suffix, number = "_quant", 1
    while stem + suffix in taken:
        number += 1
        suffix = f"_quant_{number}"
    name = stem + suffix
    taken.add(name)
    first, place = group.readers[0]
    bottom = source.literal(place)
    literal = _quant_literal(bottom, group.blob, suffix)
    rules = any_of([rules_of(reader.message, source.path) for reader, _ in group.readers])
    body = [
        f"name: {literal}",
        'type: "Python"' if python_layer else 'type: "Quant"',
        f"bottom: {bottom}",
        f"top: {bottom if group.in_place else literal}",
        *[f"include {{ {rule} }}" for rule in rules or ()],
        # Its blob holds the coefficient, which no solver may touch; type Quant sees to that itself.
        *(["param { lr_mult: 0 decay_mult: 0 }"] if python_layer else []),
        *(_python_parameters(group.bits) if python_layer else _parameters(group.bits)),
    ]
    indent = source.indent(first.entry.start)
    if indent is None:
        line = " ".join(part.strip() for part in body)
        edits.insert(first.entry.start, f"layer {{ {line} }} ")
    else:
        lines = ["layer {", *(f"  {part}" for part in body), "}"]
        block = "".join(f"{indent}{line}{source.newline}" for line in lines)
        edits.insert(source.line_start(first.entry.start), block)
    if not group.in_place:
        for _, entry in group.readers:
            spelled = _quant_literal(source.literal(entry), group.blob, suffix)
            edits.replace(entry.value_start, entry.end, spelled)
    return name


def _parameters(bits: int) -> list[str]:
    return ["quant_param {", f"  quant_bits: {bits}", "  quant_en: 1", "}"]


def _python_parameters(bits: int) -> list[str]:
    return [
        "python_param {",
        f'  module: "{MODULE}"',
        f'  layer: "{LAYER}"',
        f"  param_str: \"{{'quant_bits': {bits}, 'quant_en': 1}}\"",
        "}",
    ]


def _float_blobs(
    source: Source, layers: Sequence[_TextLayer], quants: Sequence[_TextLayer]
) -> dict[str, tuple[str, str]]:
    """Return, for every blob that a Quant layer made, the float blob's name and its spelling."""
    floats: dict[str, tuple[str, str]] = {}
    for layer in quants:
        for top, bottom, entry in layer.quant_bottoms:
            if top == bottom:
                continue
            found = floats.get(bottom, (bottom, source.literal(entry)))
            if floats.get(top, found)[0] != found[0]:
                raise _stuck(source, layer, f"'{top}' is made from different blobs in different phases")
            floats[top] = found
    for layer in layers:
        for top, _ in layer.tops:
            if top in floats and layer not in quants:
                raise _stuck(source, layer, f"it works in place on '{top}', which a Quant layer makes")
    return floats


def _stuck(source: Source, layer: _TextLayer, what: str) -> ModelError:
    place = layer.message
    remedy = "give that layer a top of its own, then strip again"
    return ModelError(Problem(what, source.path, layer.name, place.line, place.column, remedy=remedy))


def _stem(blob: str) -> str:
    """Return a blob's name without blanks and control characters."""
    return "".join("_" if c.isspace() or not c.isprintable() else c for c in blob)


def _quant_literal(literal: str, blob: str, suffix: str) -> str:
    """Return how a Quant layer's top is spelled, given how its bottom is: as much as can be stays."""
    stem = _stem(blob)
    spelled = literal if stem == blob else respelled(literal, stem)
    return quoted(stem + suffix) if spelled is None else with_suffix(spelled, suffix)


def _float_literal(source: Source, entry: Entry, blob: str, name: str, spelling: str) -> str:
    """Return how a reader spells the float blob: as before where `_quant_literal` made it from that."""
    literal = source.literal(entry)
    stem, suffix = _stem(name), blob[len(name) :]
    if blob == stem + suffix and suffix.isascii() and literal[:-1].endswith(suffix):
        before = literal[: -1 - len(suffix)] + literal[-1]
        spelled = before if stem == name else respelled(before, name)
        if spelled is not None:
            return spelled
    return spelling
