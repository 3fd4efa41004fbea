"""Prototxts in the old formats (V1 `layers { }`, V0 `layers { layer { } }`) to the current one, and back.

The old formats name layer types by a list that has no Quant, so nothing can be inserted there. A V1 file is edited in
place, only where Caffe's own upgrade changes it (entry name, type, learning rates, moved data parameters); comments and
formatting stay. A V0 file is written anew. The former file goes into a comment at the end, so that it can be had again
byte for byte.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib

from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.upgrade import upgrade
from gfpq_inspect.models.caffe.write import format_prototxt
from gfpq_inspect.tune.prototxt import Edits, Entry, Source

_MARK = "# gfpq-inspect: this file in its old format, for strip-quant:"
_STORED = re.compile(rb"^" + re.escape(_MARK).encode() + rb" ([0-9a-f]{64}) ([A-Za-z0-9+/=]+)\r?\n?\Z", re.MULTILINE)
MAX_ORIGINAL_BYTES = 64 * 2**20
"""Size of a former file; a comment that unpacks to more is none of ours."""


class UpgradedSource(Source):
    """A file that was brought to the current format.

    Args:
        raw: The upgraded bytes.
        path: For messages.
        original: The former bytes.
    """

    def __init__(self, raw: bytes, path: str, original: bytes) -> None:
        super().__init__(raw, path)
        self._original = original

    def seal(self, text: str) -> bytes:
        """Return the edited file with its former self in a comment at the end."""
        body = self.encode(text)
        if not body.endswith(b"\n"):
            body += self.newline.encode()
        packed = base64.b64encode(zlib.compress(self._original, 9)).decode()
        return body + f"{_MARK} {hashlib.sha256(body).hexdigest()} {packed}{self.newline}".encode()


def restore_original(raw: bytes) -> bytes | None:
    """Return the former bytes that a file carries; None when it carries none, or was edited since."""
    match = _STORED.search(raw)
    if match is None or hashlib.sha256(raw[: match.start()]).hexdigest().encode() != match.group(1):
        return None
    unpacker = zlib.decompressobj()
    try:
        original = unpacker.decompress(base64.b64decode(match.group(2)), MAX_ORIGINAL_BYTES)
    except (zlib.error, binascii.Error):
        return None
    return original if unpacker.eof else None


def without_original(raw: bytes) -> bytes:
    """Return a file without the former self that it carries."""
    match = _STORED.search(raw)
    return raw if match is None else raw[: match.start()]


def upgrade_text(source: Source) -> UpgradedSource:
    """Bring an old file to the current format.

    Raises:
        ModelError: It holds both kinds of layers, or a field that cannot be upgraded.
    """
    problems = Problems()
    old = source.root.messages("layers")
    upgraded, _ = upgrade(source.root, source.path, problems)
    problems.raise_if_any()
    original = source.encode(source.text)
    if is_v0(source.root):
        net = Message({name: values for name, values in source.root.fields.items() if name != "layers"})
        net.fields["layer"] = [layer for layer in upgraded if layer.text("type") != "Input"]
        return UpgradedSource(source.encode(format_prototxt(net)), source.path, original)
    edits = Edits()
    current = upgraded[len(upgraded) - len(old) :]
    for (entry, before), after in zip(source.layers(), current, strict=True):
        edits.replace(entry.start, entry.start + len("layers"), "layer")
        _upgrade_layer(edits, source, entry, before, after)
    return UpgradedSource(source.encode(edits.apply(source.text)), source.path, original)


def is_v0(root: Message) -> bool:
    """Return whether a definition is in the oldest format."""
    return any("layer" in layer for layer in root.messages("layers"))


def _upgrade_layer(edits: Edits, source: Source, entry: Entry, before: Message, after: Message) -> None:
    """Replace the fields in which two forms of a layer differ; the others stay untouched."""
    gone = [name for name in before if not _same(before.fields[name], after.fields.get(name))]
    new = {name: values for name, values in after.fields.items() if not _same(before.fields.get(name), values)}
    places: dict[str, Entry] = {}
    for name in gone:
        entries = entry.of(name)
        places[name] = entries[0]
        for one in entries[1:] if name in new else entries:
            edits.remove_entry(source, one)
    for name, values in new.items():
        text = format_prototxt(Message({name: values})).rstrip("\n")
        anchor = places.get(name)
        if anchor is not None:
            edits.replace(anchor.start, anchor.end, _laid_out(source, anchor, text))
        else:
            edits.insert(*_before_end(source, entry, text))


def _same(before: object, after: object) -> bool:
    return before == after


def _laid_out(source: Source, anchor: Entry, text: str) -> str:
    indent = source.indent(anchor.start)
    if indent is None:
        return " ".join(line.strip() for line in text.split("\n"))
    return (source.newline + indent).join(text.split("\n"))


def _before_end(source: Source, entry: Entry, text: str) -> tuple[int, str]:
    """Return where and how to put a new field as the last one of a layer."""
    brace = entry.end - 1
    last = entry.children[-1] if entry.children else None
    indent = source.indent(last.start) if last is not None else None
    if indent is None or source.indent(brace) is None:
        return brace, " ".join(line.strip() for line in text.split("\n")) + " "
    block = "".join(f"{indent}{line}{source.newline}" for line in text.split("\n"))
    return source.line_start(brace), block
