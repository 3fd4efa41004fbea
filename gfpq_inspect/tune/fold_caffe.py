"""Folding a Caffe network in its files: the prototxt edited in place, the caffemodel edited in place.

What is folded is decided and computed on the translated network (`models.fold`), for phase TEST. Layers that take part
only in another phase, and losses, which that network lacks, are asked here whether they read a value that would go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import numpy_helper

from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.net import Net, NetLayer
from gfpq_inspect.models.caffe.weights import StoredWeights
from gfpq_inspect.models.fold import CAFFE_PASS_TYPES, CAFFE_STEP_TYPES, FoldedModel, fold_model_report
from gfpq_inspect.models.model import Model
from gfpq_inspect.tune.caffemodel import LayerEdit
from gfpq_inspect.tune.prototxt import Edits, Entry, Source

_PARAMETERS = ("convolution_param", "inner_product_param")


@dataclass(frozen=True)
class CaffeFold:
    """What folding changes in the files of a network.

    Attributes:
        folded: The folded model and what was folded.
        content: The new prototxt.
        edits: Position in the stored layers to the change.
    """

    folded: FoldedModel
    content: bytes
    edits: Mapping[int, LayerEdit]


@dataclass
class _Placed:
    """A layer of the prototxt, whatever phase it takes part in."""

    position: int
    entry: Entry
    message: Message

    @property
    def name(self) -> str:
        return self.message.text("name")

    @property
    def tops(self) -> list[str]:
        return self.message.texts("top")

    @property
    def bottoms(self) -> list[str]:
        return self.message.texts("bottom")

    def is_twin_of(self, other: _Placed) -> bool:
        """Whether this is the same layer for other phases: equal name, type and blobs."""
        mine, theirs = (self.name, self.message.text("type")), (other.name, other.message.text("type"))
        return self is not other and mine == theirs and self.bottoms == other.bottoms and self.tops == other.tops


def fold_caffe(net: Net, model: Model, source: Source, stored: StoredWeights) -> CaffeFold:
    """Fold a network and change its files accordingly.

    Args:
        net: The network as read from these files, phase TEST.
        model: The same, translated.
        source: Its prototxt.
        stored: Its weights.

    Returns:
        The changes; nothing is written.
    """
    files = _Files(net, source)
    folded = fold_model_report(model, keep=files.kept())
    by_key = {layer.key: layer for layer in net.layers}
    arrays = {tensor.name: tensor for tensor in folded.model.graph.graph.initializer}
    rows = {layer.key: layer for layer in folded.model.layers}
    edits: dict[int, LayerEdit] = {}
    gone: set[str] = set()
    for fold in folded.folds:
        base = by_key[fold.base]
        kernels = [numpy_helper.to_array(arrays[name]) for name in rows[fold.base].weights]
        gone.update(by_key[key].name for key in fold.folded)
        files.fold(fold.base, fold.folded)
        edit = LayerEdit(dict(enumerate(kernels)), by_key[fold.folded[-1]].top_blobs, has_bias=True)
        edits.update({index: edit for index, layer in enumerate(stored.layers) if layer.name == base.name})
    gone -= {layer.name for layer in net.layers if layer.key in rows}
    dropped = {index: LayerEdit(drop=True) for index, layer in enumerate(stored.layers) if layer.name in gone}
    return CaffeFold(folded, source.encode(files.text.apply(source.text)), edits | dropped)


def _parameter_names(layer: NetLayer) -> set[str]:
    """Return the names under which a layer shares its weights."""
    return {param.text("name") for param in layer.message.messages("param")} - {""}


class _Files:
    """A network's layers and their places in its prototxt."""

    def __init__(self, net: Net, source: Source) -> None:
        self.text = Edits()
        self._net = net
        self._source = source
        self._placed = [_Placed(index, entry, message) for index, (entry, message) in enumerate(source.layers())]
        places = {(one.message.line, one.message.column): one for one in self._placed}
        self._own = {layer.key: places.get((layer.message.line, layer.message.column)) for layer in net.layers}
        taking_part = {id(one) for one in self._own.values() if one is not None}
        self._others = [one for one in self._placed if id(one) not in taking_part]
        self._names = Counter(layer.name for layer in net.layers)
        self._owners: dict[str, list[NetLayer]] = {}
        for layer in net.layers:
            for name in _parameter_names(layer):
                self._owners.setdefault(name, []).append(layer)

    def kept(self) -> dict[str, str]:
        """Return layers that must stay although the network for phase TEST could do without them, and why."""
        writers = {top: layer for layer in self._net.layers for top in layer.tops}
        kept = {}
        for layer in self._net.layers:
            if layer.type not in CAFFE_STEP_TYPES | CAFFE_PASS_TYPES or not layer.bottoms:
                continue
            before = writers[layer.bottoms[0]]
            reason = self._not_alone(layer) or self._not_alone(before) or self._read_elsewhere(layer, before)
            if reason is not None:
                kept[layer.key] = reason
        return kept

    def _not_alone(self, layer: NetLayer) -> str | None:
        if self._own[layer.key] is None and not layer.is_input:
            return f"'{layer.name}' is not written as a layer of the current format"
        for name in _parameter_names(layer):
            others = [other for other in self._owners[name] if other is not layer]
            if others:
                return f"'{layer.name}' shares its weights with '{others[0].name}'"
        if self._names[layer.name] > 1:
            return f"'{layer.name}' is the name of two layers"
        return None

    def _read_elsewhere(self, layer: NetLayer, before: NetLayer) -> str | None:
        """Say which layer of another phase, or which loss, reads the value between two layers that take part."""
        here, there = self._own[layer.key], self._own[before.key]
        if here is None or there is None:
            return None
        blob = layer.bottom_blobs[0]
        end = here.position if layer.in_place else len(self._placed)
        for other in self._others:
            if blob not in other.bottoms + other.tops or not there.position < other.position < end:
                continue
            if not any(own is not None and other.is_twin_of(own) for own in self._own.values()):
                return f"the value that it reads is also used by '{other.name}', a loss or a layer of another phase"
        return None

    def _with_twins(self, key: str) -> list[_Placed]:
        layer = self._own[key]
        assert layer is not None
        return [layer, *(other for other in self._placed if other.is_twin_of(layer))]

    def fold(self, base_key: str, folded: Sequence[str]) -> None:
        """Take the folded layers out; let the base write what the last of them wrote, with a bias."""
        last = self._own[folded[-1]]
        assert last is not None
        top = self._source.literal(last.entry.of("top")[0])
        for one in self._with_twins(base_key):
            place = one.entry.of("top")[0]
            if one.tops[0] != last.tops[0]:
                self.text.replace(place.value_start, place.end, top)
            for parameters in (child for name in _PARAMETERS for child in one.entry.of(name)):
                for flag in parameters.of("bias_term"):
                    self.text.replace(flag.value_start, flag.end, "true")
        for key in folded:
            for one in self._with_twins(key):
                self.text.remove_entry(self._source, one.entry)
