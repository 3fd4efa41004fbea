"""What a Caffe network is after reading: layers in order, connected, with their weights.

Formats and upgrades are behind us here: V0, V1 and current files, text or binary, all end as this `Net`. What a layer
computes is not known here; that is `gfpq_inspect.models.caffe.translate`.

Values and blobs
    Caffe names storage ("blobs"), and several layers may write one blob in turn. A *value* is what one layer wrote: it
    has a unique name, the layer's key for its first top, `key:1`, `key:2`, ... for further ones (the names of the
    recorded data). `NetLayer.bottoms` and `NetLayer.tops` are value names; `bottom_blobs` and `top_blobs` are Caffe's.

Storage aliasing
    Flatten, Reshape, Split, a Concat of one bottom, a Slice to one top and a Permute that changes nothing share the
    storage of their bottom. An in-place layer on one of the sharing blobs changes them all for every reader that runs
    later. `bottoms` already names the value that such a reader really sees. That value may have another shape than
    the blob that the reader names; then `bottom_shapes[i]` names the value whose shape the reader must see, and a
    translator puts a Reshape in between. It is None wherever shapes agree by construction, which is nearly always.

Inputs
    Layers that nobody can compute here (Input, data layers; Proposal, Custom and Python layers without a plug-in) stay
    in `layers` with `is_input` set: their tops are network inputs, listed in `Net.inputs`. They emit no nodes.
    `NetLayer.bottoms` of a Proposal, Custom or Python layer still says what it reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.model import Origin


@dataclass(frozen=True, eq=False)
class NetLayer:
    """One layer of a network that is ready to translate.

    Attributes:
        key: Unique: the name, or `name@i` where an earlier layer has that name; i is the layer's number in Caffe's own
            net, automatic Split layers counted.
        name: As the file has it; untrusted text.
        type: Caffe's current type string ('Convolution'), V0 and V1 spellings upgraded.
        line: Line in the prototxt, or None for a structure from a binary.
        bottoms: Values it reads, in order (see the module's text on aliasing).
        tops: Values it writes, in order: `key`, `key:1`, ...
        bottom_blobs: Caffe's names of the bottoms.
        top_blobs: Caffe's names of the tops.
        message: The layer's message in the current format, upgrades applied.
        blobs: Stored weights in Caffe's order; float32, shapes as stored (see `weights.fit_blob`), read-only views
            of the file where possible. Empty when the layer has none or the file lacks them.
        phase: 'TEST' or 'TRAIN': in which phase this layer computes.
        path: File of the structure, for messages.
        bottom_shapes: One entry a bottom: None, or the value whose shape the bottom must be given.
        in_place: True when a top overwrites the bottom of the same index.
        is_input: True when its tops are network inputs and nothing is to be computed.
        has_stored_weights: True when the weight file had a layer of this name (with or without blobs).
        notes: Things a reader should know.
    """

    key: str
    name: str
    type: str
    line: int | None
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    bottom_blobs: tuple[str, ...]
    top_blobs: tuple[str, ...]
    message: Message
    blobs: tuple[NDArray[np.float32], ...] = ()
    phase: str = "TEST"
    path: str = ""
    bottom_shapes: tuple[str | None, ...] = ()
    in_place: bool = False
    is_input: bool = False
    has_stored_weights: bool = False
    notes: tuple[str, ...] = ()

    def parameters(self, field_name: str, schema: str | None = None) -> Parameters:
        """Return a parameter message of this layer, typed, with defaults where the file is silent.

        Args:
            field_name: Field of LayerParameter, for example 'convolution_param'. It need not be present.
            schema: Message name in the schema; by default the one that LayerParameter declares for the field.

        Raises:
            ModelError: The field is given twice, or is a scalar.
        """
        return Parameters.of_layer(self.message, field_name, schema, path=self.path, layer=self.name)

    def has(self, field_name: str) -> bool:
        """Return whether the layer's message has this field at all."""
        return field_name in self.message


@dataclass(frozen=True)
class NetInput:
    """A network input.

    Attributes:
        name: Caffe's blob name, the name for people and for `--input-shape`.
        value: Value name (a top of an `is_input` layer).
        shape: Declared shape with the batch axis, -1 for a dimension that the file leaves open; None if unknown.
        layer: Key of the layer whose top it is.
        note: Why the shape is unknown or where it came from; '' if there is nothing to say.
        transform: `transform_param` of a data layer (scale, mean_value, crop_size, ...), or None.
    """

    name: str
    value: str
    shape: tuple[int, ...] | None
    layer: str
    note: str = ""
    transform: Parameters | None = None


@dataclass(frozen=True)
class AutomaticSplit:
    """A Split layer that Caffe inserts for a blob with several readers; an identity, so no layer of the net here.

    Attributes:
        name: As Caffe names it, `<blob>_<layer>_<top index>_split`.
        source: Value that it copies.
        readers: How many tops it has; Caffe names them `<name>_0`, `<name>_1`, ...
    """

    name: str
    source: str
    readers: int


@dataclass(frozen=True, eq=False)
class Net:
    """A network read, filtered, connected and given its weights.

    Attributes:
        name: The network's own name, untrusted text.
        path: File of the structure as the user gave it.
        layers: In file order, which is the order of execution.
        inputs: In file order.
        outputs: Values that nobody reads, sorted by blob name.
        origin: Where everything came from.
        splits: Caffe's automatic Split layers.
        notes: Upgrades, cuts and lenient readings, each one clause.
        allow_missing: Missing weights are to be replaced by Caffe's filler (constant 0 unless the layer says
            otherwise) with a note instead of being refused.
        shapes_only: No weights were given, and only shapes are asked for: missing weights get their shape and no
            values, and the model cannot run.
        allow_unknown_fields: Unknown fields in known layers are to be ignored with a note instead of being refused.
    """

    name: str
    path: str
    layers: tuple[NetLayer, ...]
    inputs: tuple[NetInput, ...]
    outputs: tuple[str, ...]
    origin: Origin
    splits: tuple[AutomaticSplit, ...] = ()
    notes: tuple[str, ...] = ()
    allow_missing: bool = False
    shapes_only: bool = False
    allow_unknown_fields: bool = False
