"""Reading a Caffe network from its files: structure and weights to a `Net`, and on to a `Model`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gfpq_inspect.errors import ModelError, Problem, UsageError
from gfpq_inspect.models.caffe.attach import AttachedWeights, attach_weights
from gfpq_inspect.models.caffe.binary_structure import read_structure, stored_quantization
from gfpq_inspect.models.caffe.caffemodel import read_caffemodel, too_large
from gfpq_inspect.models.caffe.connect import ConnectedLayer, connect
from gfpq_inspect.models.caffe.cut import Cut, cut_to_inference
from gfpq_inspect.models.caffe.definition import LayerDefinition, NetState, define_layers
from gfpq_inspect.models.caffe.hdf5 import MAGIC, read_hdf5
from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.net import Net, NetLayer
from gfpq_inspect.models.caffe.net_inputs import find_inputs
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.text import read_text
from gfpq_inspect.models.caffe.unknown_fields import check_layer_fields, check_net_fields
from gfpq_inspect.models.caffe.upgrade import upgrade
from gfpq_inspect.models.caffe.weights import StoredLayer, StoredWeights
from gfpq_inspect.models.caffe.wire import LimitError, WireError
from gfpq_inspect.models.model import Model, ModelInput, Origin


@dataclass(frozen=True)
class CaffeOptions:
    """How to read a Caffe network.

    Attributes:
        allow_missing: Missing weights get Caffe's filler values, with a note, instead of being refused.
        allow_unknown_fields: Unknown fields are ignored, with a note, instead of being refused.
        shapes_only: Only shapes will be asked for: without a weight file the weights get no values, and the model that
            is built cannot run.
        keep_losses: Keep losses and accuracies; the labels become inputs.
        state: Phase, level and stages that decide which layers take part.
    """

    allow_missing: bool = False
    allow_unknown_fields: bool = False
    shapes_only: bool = False
    keep_losses: bool = False
    state: NetState = field(default_factory=NetState)


class CaffeNetwork:
    """A Caffe network read from its files; implements `gfpq_inspect.models.model.Network`.

    Args:
        net: What was read.
        problems: What is wrong with it beyond single files; raised by `build`, together with what translating finds.
    """

    def __init__(self, net: Net, problems: Sequence[Problem] = ()) -> None:
        self.net = net
        self.problems = tuple(problems)

    @property
    def origin(self) -> Origin:
        """Where it came from."""
        return self.net.origin

    @property
    def declared_inputs(self) -> tuple[ModelInput, ...]:
        """Inputs as the file declares them; a dimension that the file leaves open is -1, no shape at all is ()."""
        return tuple(ModelInput(one.name, one.value, one.shape or ()) for one in self.net.inputs)

    def build(self, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Model:
        """Translate for these input shapes (by input name; those not named keep the declared shape).

        Raises:
            ModelError: With all problems of the network, an input without a shape among them.
        """
        from gfpq_inspect.models.caffe.translate import translate  # noqa: PLC0415  (imports onnx)

        problems = Problems()
        problems.extend(self.problems)
        try:
            model = translate(self.net, input_shapes)
        except ModelError as error:
            problems.extend(error.problems)
        except KeyError:
            # A blob that nobody makes is missing from the graph too; reading has told of it.
            if not problems:
                raise
        problems.raise_if_any()
        return model


def find_structure(
    weights: Path | None, structure: Path | None, other_structure: Path | None
) -> tuple[Path | None, str]:
    """Decide where the structure of a network comes from.

    Args:
        weights: Weight file, or None.
        structure: Prototxt that the user gave for this network.
        other_structure: Prototxt of the other network of a comparison.

    Returns:
        The prototxt (None: the layers inside the caffemodel) and how it was found, as in `Origin.structure_source`.
    """
    if structure is not None:
        return structure, "given"
    if weights is not None:
        stem = weights.name.removesuffix(".h5").rpartition(".")[0] or weights.name
        beside = weights.with_name(stem + ".prototxt")
        if beside.is_file():
            return beside, "beside the weights"
    if other_structure is not None:
        return other_structure, "the other model's"
    return None, "inside the weights"


def read_network(
    weights: Path | None,
    structure: Path | None = None,
    *,
    other_structure: Path | None = None,
    options: CaffeOptions | None = None,
) -> CaffeNetwork:
    """Read a Caffe network.

    Args:
        weights: Caffemodel or HDF5 snapshot; None for a network without weights (every blob then has filler values).
        structure: Prototxt; see `find_structure` for what happens without.
        other_structure: Prototxt of the other network of a comparison.
        options: How to read.

    Returns:
        The network. Faults of a single file are raised here, faults of the network by its `build`.

    Raises:
        ModelError: A file is missing, damaged or breaks its format.
        MissingExtraError: The weights are HDF5 and h5py is not installed.
    """
    if weights is None and structure is None:
        raise UsageError("a Caffe network needs a prototxt, weights, or both")
    options = options or CaffeOptions()
    found, source = find_structure(weights, structure, other_structure)
    problems = Problems()
    root, stored = Message(), None
    try:
        root = read_text(found) if found is not None else root
    except ModelError as error:
        problems.extend(error.problems)
    try:
        stored = _read_weights(weights) if weights is not None else None
    except ModelError as error:
        problems.extend(error.problems)
    problems.raise_if_any()
    reader = _NetReader(found or weights or Path(), source, stored, options)
    if found is None and stored is not None:
        root = reader.structure_inside(stored)
    return reader.read(root)


def _read_weights(path: Path) -> StoredWeights:
    try:
        with path.open("rb") as stream:
            head = stream.read(len(MAGIC))
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise ModelError(Problem(what, str(path), remedy="check the path and its permissions")) from error
    return read_hdf5(path) if head == MAGIC else read_caffemodel(path)


class _RegisteredTypes:
    """`KnownTypes` from the registry of translators, which imports onnx and so is loaded late."""

    def is_known(self, layer_type: str) -> bool:
        from gfpq_inspect.models.caffe.translate.registry import translator  # noqa: PLC0415  (imports onnx)

        return translator(layer_type) is not None

    def has_plugin(self, layer_type: str) -> bool:
        from gfpq_inspect.models.caffe.translate.registry import has_plugin  # noqa: PLC0415  (imports onnx)

        return has_plugin(layer_type)

    def needs_weights(self, layer_type: str) -> bool:
        from gfpq_inspect.models.caffe.translate.registry import translator  # noqa: PLC0415  (imports onnx)

        known = translator(layer_type)
        return known is not None and known.needs_weights


class _NetReader:
    """The steps from a definition and stored weights to a `Net`; problems and notes gather on the way."""

    def __init__(self, path: Path, source: str, stored: StoredWeights | None, options: CaffeOptions) -> None:
        self._path = path
        self._source = source
        self._stored = stored
        self._options = options
        self._types = _RegisteredTypes()
        self._placeholders = False
        self._problems = Problems()
        self._notes: list[str] = list(stored.notes) if stored is not None else []

    def structure_inside(self, stored: StoredWeights) -> Message:
        """Return the definition that the weights carry.

        Raises:
            ModelError: They carry none.
        """
        root = Message()
        if stored.kind == "caffemodel":
            try:
                root, notes = read_structure(stored.buffer, stored.path, self._problems, self._types)
            except LimitError as error:
                raise too_large(error, stored.path) from error
            except WireError as error:
                what = f"holds a structure that cannot be read: {error}"
                remedy = "give the prototxt of this network"
                raise ModelError(Problem(what, stored.path, byte=error.byte, remedy=remedy)) from error
            self._notes += notes
        messages = root.messages("layer") + root.messages("layers")
        if not any(message.texts("top") for message in messages):
            near = sorted(path.name for path in Path(stored.path).parent.glob("*.prototxt"))[:3]
            hint = f" (there is {', '.join(near)} beside it)" if near else ""
            raise ModelError(
                Problem(
                    f"holds weights but no structure{hint}",
                    stored.path,
                    remedy="give the prototxt of this network (--float-prototxt or --quant-prototxt)",
                )
            )
        return root

    def read(self, root: Message) -> CaffeNetwork:
        path = str(self._path)
        from_text = self._source != "inside the weights"
        if from_text:
            check_net_fields(root, path, self._problems, self._notes, allow=self._options.allow_unknown_fields)
            self._check_values(root)
        messages, notes = upgrade(root, path, self._problems)
        self._notes += notes
        definitions = define_layers(messages, self._state(root), path, self._problems, filtered=from_text)
        if not definitions:
            self._no_layers(root)
        cut = self._cut(definitions)
        self._notes += cut.notes
        inputs = frozenset(cut.input_positions)
        connections = connect(cut.layers, path, Problems(), kept=cut.kept, cut=inputs)
        attached = self._attach(connections.layers)
        layers = tuple(
            self._layer(position, layer, attached, is_input=position in inputs)
            for position, layer in enumerate(connections.layers)
        )
        net = Net(
            name=root.text("name"),
            path=path,
            layers=layers,
            inputs=find_inputs(layers, self._problems),
            outputs=connections.outputs,
            origin=self._origin(root.text("name")),
            splits=tuple(connections.splits),
            notes=tuple(self._notes),
            allow_missing=self._options.allow_missing or self._placeholders,
            shapes_only=self._placeholders,
            allow_unknown_fields=self._options.allow_unknown_fields,
        )
        return CaffeNetwork(net, self._problems.found())

    def _state(self, root: Message) -> NetState:
        """Return the state to filter by: stages of the file's own `state` count too, its phase and level do not."""
        state = self._options.state
        own = [stage for message in root.messages("state") for stage in message.texts("stage")]
        return replace(state, stages=(*state.stages, *own))

    def _check_values(self, root: Message) -> None:
        """Check every known field of the file, used or not: Caffe refuses the whole file for one wrong value."""
        path = str(self._path)
        rest = Message({name: values for name, values in root.fields.items() if name not in ("layer", "layers")})
        self._problems.extend(Parameters(rest, "NetParameter", path).problems())
        for entry, schema in (("layer", "LayerParameter"), ("layers", "V1LayerParameter")):
            for value in root.fields.get(entry, ()):
                if isinstance(value, Message):
                    self._problems.extend(Parameters(value, schema, path, _name_of(value)).problems())
                else:
                    what = f"'{entry}' is a value where a layer is due"
                    remedy = f"write {entry} {{ ... }}"
                    self._problems.add(Problem(what, path, line=value.line, column=value.column, remedy=remedy))

    def _no_layers(self, root: Message) -> None:
        what = "no layer takes part in this phase, level and stage" if len(root.fields) > 1 else "holds no layers"
        self._problems.add(Problem(what, str(self._path), remedy="give the prototxt of a network"))

    def _cut(self, definitions: Sequence[LayerDefinition]) -> Cut:
        path = str(self._path)
        cut = cut_to_inference(definitions, path, self._problems, self._types, keep_losses=self._options.keep_losses)
        computed = [layer for i, layer in enumerate(cut.layers) if i not in cut.input_positions]
        allow = self._options.allow_unknown_fields
        check_layer_fields(computed, path, self._problems, self._notes, self._types, allow=allow)
        return cut

    def _attach(self, layers: Sequence[ConnectedLayer]) -> AttachedWeights:
        if self._stored is None:
            self._without_weights(layers)
            return AttachedWeights()
        attached = attach_weights(layers, self._stored, str(self._path), self._problems)
        # Of foreign weights one problem tells; that each layer lacks its own would bury it.
        self._placeholders = not attached.stored and not self._options.allow_missing
        self._notes += attached.notes
        return attached

    def _without_weights(self, layers: Sequence[ConnectedLayer]) -> None:
        """Say what follows from having no weights; unless it was asked for, layers that need some are a problem."""
        if self._options.allow_missing:
            self._notes.append("no weights were given: every weight has its filler's value")
            return
        needy = [layer.definition for layer in layers if self._types.needs_weights(layer.definition.type)]
        self._placeholders = self._options.shapes_only or bool(needy)
        if self._options.shapes_only or not needy:
            self._notes.append("no weights were given")
            return
        what = f"no weights were given, and {len(needy)} layers need some (the first is '{needy[0].name}')"
        remedy = "give the weights (.caffemodel), or go on with Caffe's fill values by --allow-missing"
        self._problems.add(Problem(what, str(self._path), remedy=remedy))

    def _layer(self, position: int, layer: ConnectedLayer, attached: AttachedWeights, *, is_input: bool) -> NetLayer:
        definition = layer.definition
        message, notes = definition.message, layer.notes
        if definition.type == "Quant" and "quant_param" not in message:
            message, note = self._quantization(definition)
            notes = (*notes, note) if note else notes
        return NetLayer(
            key=layer.key,
            name=definition.name,
            type=definition.type,
            line=definition.line,
            bottoms=layer.bottoms,
            tops=layer.tops,
            bottom_blobs=definition.bottoms,
            top_blobs=layer.top_blobs,
            message=message,
            blobs=attached.blobs.get(position, ()),
            phase=definition.phase,
            path=str(self._path),
            bottom_shapes=layer.bottom_shapes,
            in_place=layer.in_place,
            is_input=is_input,
            has_stored_weights=position in attached.stored,
            notes=notes,
        )

    def _quantization(self, definition: LayerDefinition) -> tuple[Message, str]:
        """Return a Quant layer's message with the parameters that the caffemodel holds for it, if any."""
        stored = self._stored
        matching: list[StoredLayer] = []
        if stored is not None and stored.kind == "caffemodel":
            matching = [layer for layer in stored.layers if layer.name == definition.name and layer.version == 2]
        for layer in matching:
            assert stored is not None
            quant = stored_quantization(stored.buffer, layer.start, layer.end)
            if quant is not None:
                message = definition.message.copy()
                message.fields["quant_param"] = [quant]
                return message, "quant_param comes from the caffemodel"
        return definition.message, ""

    def _origin(self, name: str) -> Origin:
        structure = None if self._source == "inside the weights" else str(self._path)
        weights = self._stored.path if self._stored is not None else None
        files = [Path(file) for file in (structure, weights) if file is not None]
        return Origin(
            framework="caffe",
            name=name,
            structure_file=structure,
            weights_file=weights,
            structure_source=self._source,
            sha256={file.name: _sha256(file) for file in files},
        )


def _name_of(layer: Message) -> str:
    inner = layer.messages("layer")
    return inner[0].text("name") if inner else layer.text("name")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
