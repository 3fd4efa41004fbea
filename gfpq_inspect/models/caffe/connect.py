"""Connecting layers: which value each bottom reads, in place and through shared storage, as Caffe's net does it.

Caffe walks the layers in file order; a bottom must be a top written above. The rules are in `net`'s own text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.definition import LayerDefinition
from gfpq_inspect.models.caffe.net import AutomaticSplit
from gfpq_inspect.models.caffe.problems import Problems, nearest
from gfpq_inspect.models.caffe.schema import Parameters

_REFUSED_IN_PLACE = frozenset({"AbsVal", "Reshape", "Flatten", "Split"})
_WRONG_IN_PLACE = frozenset({"Pooling", "InnerProduct"})
_NEW_SHAPE_ALIASES = frozenset({"Flatten", "Reshape"})


@dataclass
class _Storage:
    """Memory that several blobs may share: the value last written over it in place, and how often that happened."""

    current: str
    version: int = 0


@dataclass
class _Blob:
    """What a blob name stands for at one point of the walk."""

    name: str
    value: str
    storage: _Storage
    version: int
    shape_class: object
    writer: str
    position: int
    top_index: int
    readers: int = 0
    kept_readers: int = 0
    loss: bool = False


class _Top(NamedTuple):
    """One top that is written: its number, its blob and its value."""

    number: int
    name: str
    value: str


@dataclass(frozen=True)
class ConnectedLayer:
    """What connecting adds to a definition; attributes as in `NetLayer`."""

    definition: LayerDefinition
    key: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    top_blobs: tuple[str, ...]
    bottom_shapes: tuple[str | None, ...]
    in_place: bool
    notes: tuple[str, ...]


@dataclass
class Connections:
    """All layers connected.

    Attributes:
        layers: In file order.
        splits: Caffe's automatic Split layers.
        outputs: Values that nobody reads, sorted by blob name.
    """

    layers: list[ConnectedLayer] = field(default_factory=list)
    splits: list[AutomaticSplit] = field(default_factory=list)
    outputs: tuple[str, ...] = ()


def connect(
    definitions: Sequence[LayerDefinition],
    path: str,
    problems: Problems,
    *,
    kept: Sequence[tuple[str, tuple[int, ...]]] | None = None,
    cut: frozenset[int] = frozenset(),
) -> Connections:
    """Connect layers in file order.

    Args:
        definitions: Layers that take part.
        path: File, for messages.
        problems: Receives dangling bottoms, tops written twice, and in-place layers that Caffe refuses.
        kept: For each layer the key that it has from the whole net, and which of its tops exist; by default keys are
            given here, and all tops exist.
        cut: Positions of layers that are not computed: what they read still counts as a network output.

    Returns:
        The connections; a dangling bottom is there under its blob's name, which is then no value of any layer.
    """
    if kept is None:
        numbers = range(len(definitions))
        kept = _kept_whole(definitions, numbers)
        if len({layer.name for layer in definitions}) < len(definitions):
            # Keys of repeated names hold Caffe's own layer number, for which the splits must be known first.
            walk = _Walk(definitions, path, Problems(), kept, cut)
            walk.run()
            kept = _kept_whole(definitions, walk.caffe_numbers())
    return _Walk(definitions, path, problems, kept, cut).run()


def _kept_whole(definitions: Sequence[LayerDefinition], numbers: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
    keys = layer_keys(definitions, numbers)
    return [(key, tuple(range(len(layer.tops)))) for key, layer in zip(keys, definitions, strict=True)]


def layer_keys(definitions: Sequence[LayerDefinition], numbers: Sequence[int]) -> list[str]:
    """Return a unique key for every layer: its name, or `name@i` where an earlier layer has that name.

    Args:
        definitions: Layers, in order.
        numbers: The i of each: its number in Caffe's own net, automatic Split layers counted.
    """
    taken: set[str] = set()
    keys = []
    for layer, number in zip(definitions, numbers, strict=True):
        name = layer.name or "(unnamed)"
        key, tops = name, max(1, len(layer.tops))
        # A layer may really be called 'a@1' or, like the second top of 'a', 'a:1'.
        while any(value in taken for value in _values(key, tops)):
            key = f"{name}@{number}" if key == name else f"{key}@{number}"
        taken.update(_values(key, tops))
        keys.append(key)
    return keys


def _values(key: str, count: int) -> tuple[str, ...]:
    return tuple(f"{key}:{index}" if index else key for index in range(count))


class _Walk:
    """The walk over all layers, with what every blob name stands for so far."""

    def __init__(
        self,
        definitions: Sequence[LayerDefinition],
        path: str,
        problems: Problems,
        kept: Sequence[tuple[str, tuple[int, ...]]],
        cut: frozenset[int],
    ) -> None:
        self._definitions = definitions
        self._kept = kept
        self._path = path
        self._problems = problems
        self._cut = cut
        self._blobs: dict[str, _Blob] = {}
        self._all: list[_Blob] = []
        self._by_value: dict[str, _Blob] = {}
        self._later: dict[str, LayerDefinition] = {}
        for layer in reversed(definitions):
            self._later.update(dict.fromkeys(layer.tops, layer))

    def run(self) -> Connections:
        found = Connections()
        for position, layer in enumerate(self._definitions):
            found.layers.append(self._layer(position, layer))
        found.splits = [
            AutomaticSplit(f"{blob.name}_{blob.writer}_{blob.top_index}_split", blob.value, blob.readers + blob.loss)
            for blob in self._all
            if blob.readers + blob.loss > 1
        ]
        unread = sorted((blob.name, blob.value) for blob in self._blobs.values() if not blob.kept_readers)
        found.outputs = tuple(value for _, value in unread)
        return found

    def caffe_numbers(self) -> list[int]:
        """Return the number of every layer in Caffe's own net, where a Split follows each blob read several times."""
        splits = [0] * (len(self._definitions) + 1)
        for blob in self._all:
            splits[blob.position + 1] += blob.readers + blob.loss > 1
        before = list(accumulate(splits))
        return [position + before[position] for position in range(len(self._definitions))]

    def _layer(self, position: int, layer: LayerDefinition) -> ConnectedLayer:
        key, top_indices = self._kept[position]
        bottoms: list[str] = []
        shapes: list[str | None] = []
        notes: list[str] = []
        read: list[_Blob | None] = []
        for index, name in enumerate(layer.bottoms):
            blob = self._blobs.get(name)
            read.append(blob)
            if blob is None:
                self._dangling(layer, name, index)
                bottoms.append(name)
                shapes.append(None)
                continue
            blob.readers += 1
            blob.kept_readers += position not in self._cut
            value, shape = self._current(blob)
            if value != blob.value:
                notes.append(f"reads '{name}' as the in-place layer '{value}' left it, since both share storage")
            bottoms.append(value)
            shapes.append(shape)
        tops = [_Top(index, layer.tops[index], f"{key}:{index}" if index else key) for index in top_indices]
        in_place = self._write(position, layer, tops, read)
        return ConnectedLayer(
            layer,
            key,
            tuple(bottoms),
            tuple(top.value for top in tops),
            tuple(top.name for top in tops),
            tuple(shapes),
            in_place,
            tuple(notes),
        )

    def _current(self, blob: _Blob) -> tuple[str, str | None]:
        """Return the value that a reader of a blob sees now, and the value whose shape it must have."""
        if blob.version == blob.storage.version:
            return blob.value, None
        writer = self._by_value[blob.storage.current]
        return blob.storage.current, None if writer.shape_class is blob.shape_class else blob.value

    def _write(self, position: int, layer: LayerDefinition, tops: list[_Top], read: list[_Blob | None]) -> bool:
        in_place = False
        losses = _has_loss_weight(layer)
        for top in tops:
            name, index = top.name, top.number
            old = self._blobs.get(name)
            source = read[index] if index < len(read) and layer.bottoms[index] == name else None
            if old is not None and source is None:
                self._written_twice(layer, name, index, old)
            if source is not None and old is source:
                self._check_in_place(layer, name, index, source)
                in_place = True
                source.storage.version += 1
                source.storage.current = top.value
                blob = self._blob(position, top, source.storage, source.shape_class)
            elif read and read[0] is not None and _shares_storage(layer):
                same = layer.type not in _NEW_SHAPE_ALIASES
                blob = self._blob(position, top, read[0].storage, read[0].shape_class if same else object())
            else:
                blob = self._blob(position, top, _Storage(top.value), object())
            blob.loss = losses[index]
            self._blobs[name] = blob
            self._all.append(blob)
            self._by_value[top.value] = blob
        return in_place

    def _blob(self, position: int, top: _Top, storage: _Storage, shape_class: object) -> _Blob:
        writer = self._definitions[position].name
        return _Blob(top.name, top.value, storage, storage.version, shape_class, writer, position, top.number)

    def _dangling(self, layer: LayerDefinition, name: str, index: int) -> None:
        later = self._later.get(name)
        if later is layer:
            what = f"reads its own top '{name}', which is not written above"
        elif later is not None:
            where = f" in line {later.line}" if later.line else ""
            what = f"reads blob '{name}', which only layer '{later.name}'{where} below writes"
        else:
            near = "" if self._problems.full else nearest(name, self._blobs)
            what = f"reads blob '{name}', which no layer writes{near}"
        remedy = "put the layer that writes it above, or correct the name"
        self._problems.add(layer.problem(what, self._path, remedy, "bottom", index))

    def _written_twice(self, layer: LayerDefinition, name: str, index: int, old: _Blob) -> None:
        what = f"writes blob '{name}', which layer '{old.writer}' has written already"
        remedy = "rename the top (in place means the same name as the bottom of the same number)"
        self._problems.add(layer.problem(what, self._path, remedy, "top", index))

    def _check_in_place(self, layer: LayerDefinition, name: str, index: int, blob: _Blob) -> None:
        remedy = "give its top a name of its own"
        if blob.readers > 1:
            what = f"changes blob '{name}' in place after another layer has read it"
            self._problems.add(layer.problem(what, self._path, remedy, "top", index))
        if layer.type in _REFUSED_IN_PLACE:
            what = f"{layer.type} cannot work in place"
            self._problems.add(layer.problem(what, self._path, remedy, "top", index))
        elif _is_wrong_in_place(layer):
            what = f"{layer.type} in place overwrites what it still has to read, in Caffe the result is wrong"
            self._problems.add(layer.problem(what, self._path, remedy, "top", index))


def _shares_storage(layer: LayerDefinition) -> bool:
    """Return whether Caffe makes the tops of this layer aliases of its first bottom."""
    if layer.type in _NEW_SHAPE_ALIASES or layer.type == "Split":
        return True
    if layer.type == "Concat":
        return len(layer.bottoms) == 1
    if layer.type == "Slice":
        return len(layer.tops) == 1
    if layer.type == "Permute":
        order = [scalar.text for param in layer.message.messages("permute_param") for scalar in param.scalars("order")]
        return order == [str(axis) for axis in range(len(order))]
    return False


def _is_wrong_in_place(layer: LayerDefinition) -> bool:
    if layer.type in _WRONG_IN_PLACE:
        return True
    try:
        if layer.type == "Eltwise":
            return Parameters.of_layer(layer.message, "eltwise_param").string("operation") != "PROD"
        if layer.type == "LRN":
            return Parameters.of_layer(layer.message, "lrn_param").string("norm_region") == "ACROSS_CHANNELS"
        if layer.type == "Convolution":
            convolution = Parameters.of_layer(layer.message, "convolution_param")
            sizes = convolution.integers("kernel_size")
            sizes += [convolution.integer(name) for name in ("kernel_h", "kernel_w") if convolution.has(name)]
            return all(size == 1 for size in sizes)
    except ModelError:
        return False  # the fault in the parameters is reported where they are checked
    return False


def _has_loss_weight(layer: LayerDefinition) -> list[bool]:
    """Return for every top whether it counts as read by the loss, which is how Caffe inserts its splits."""
    weights = [scalar.text for scalar in layer.message.scalars("loss_weight")]
    if not weights and layer.type.endswith(("Loss", "WithLoss")):
        weights = ["1"]
    counted = [_is_nonzero(text) for text in weights[: len(layer.tops)]]
    return counted + [False] * (len(layer.tops) - len(counted))


def _is_nonzero(text: str) -> bool:
    return any(digit in text.lower().partition("e")[0] for digit in "123456789")
