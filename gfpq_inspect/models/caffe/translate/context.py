"""What a translator sees of its layer: parameters, bottoms with shapes, weights, and ways to emit nodes or complain."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gfpq_inspect.errors import InternalError, Problem
from gfpq_inspect.models.caffe.net import NetLayer
from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import MAX_CONSTANT_ELEMENTS, MAX_ELEMENTS, text_of
from gfpq_inspect.models.caffe.translate.builder import GraphBuilder
from gfpq_inspect.models.caffe.translate.fillers import fill
from gfpq_inspect.models.caffe.weights import fit_blob
from gfpq_inspect.models.model import LayerKind, Quantization

_HARMLESS_FIELDS = frozenset({"engine", "stable_prod_grad", "debug_info"})


class LayerError(Exception):
    """A layer that cannot be translated; its problems are in the context."""


class LayerContext:
    """One layer being translated.

    Args:
        layer: The layer.
        builder: The graph so far.
        bottoms: Values it reads, one a bottom, each of the shape that Caffe shows it.
        allow_missing: Replace missing weights by what Caffe's fillers would give.
        allow_unknown_fields: Ignore fields that the schema lacks, with a note.
        shapes_only: Nobody will run this graph: leave missing weights at zero rather than draw them.

    Attributes:
        problems: What is wrong with the layer.
        notes: What a reader should know.
        kind: What the layer is for; see `LayerKind`.
        weights: Initializers it holds, in Caffe's order.
        quantized_weights: Those among them that NNIE quantizes.
        quantization: Set by Quant layers only; other layers follow `models.place`.
        quantization_reason: Goes with it.
        group: Convolution groups.
        multiply_adds: Of the whole batch, or None.
        mixing: Why samples mix in this layer, or None.
    """

    def __init__(
        self,
        layer: NetLayer,
        builder: GraphBuilder,
        bottoms: Sequence[str],
        *,
        allow_missing: bool = False,
        allow_unknown_fields: bool = False,
        shapes_only: bool = False,
    ) -> None:
        self.layer = layer
        self.builder = builder
        self.bottoms = tuple(bottoms)
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.kind = LayerKind.COMPUTE
        self.weights: list[str] = []
        self.quantized_weights: list[str] = []
        self.quantization: Quantization | None = None
        self.quantization_reason = ""
        self.group = 1
        self.multiply_adds: int | None = None
        self.mixing: str | None = None
        self._allow_missing = allow_missing
        self._allow_unknown_fields = allow_unknown_fields
        self._shapes_only = shapes_only
        self._first_node = len(builder.nodes)
        self._outputs: set[int] = set()
        self._checked: set[str] = set()

    # Parameters

    def parameters(self, field: str, schema: str | None = None) -> Parameters:
        """Return a parameter message, after refusing fields in it that nobody knows.

        Args:
            field: Field of LayerParameter, for example 'convolution_param'.
            schema: Its message, by default the one that the schema declares.
        """
        parameters = self.layer.parameters(field, schema)
        if field not in self._checked:
            self._checked.add(field)
            self.problems += parameters.problems()
            self._check_unknown(parameters, field)
            self.stop_if_faulty()
        return parameters

    def _check_unknown(self, parameters: Parameters, field: str) -> None:
        for name in parameters.unknown():
            if name in _HARMLESS_FIELDS or name.endswith("_filler"):
                continue
            if self._allow_unknown_fields:
                self.notes.append(f"unknown field {field}.{name} ignored")
                continue
            self.problems.append(
                parameters.problem(
                    f"{field} has a field '{name}' that may change the result and that is not known here",
                    "remove it, or ignore it with --allow-unknown-fields",
                    field=name,
                )
            )

    # Bottoms and shapes

    @property
    def top_count(self) -> int:
        """Number of tops."""
        return len(self.layer.tops)

    def bottom(self, index: int = 0) -> str:
        """Return the value of a bottom."""
        if index >= len(self.bottoms):
            self.fail(f"{self.layer.type} needs at least {index + 1} bottom(s), it has {len(self.bottoms)}")
        return self.bottoms[index]

    def shape(self, value: str | None = None) -> tuple[int, ...]:
        """Return the shape of a value, by default of the first bottom."""
        return self.builder.shape(self.bottom() if value is None else value)

    def expect(self, *, bottoms: range | int | None = None, tops: range | int | None = None) -> None:
        """Refuse the layer unless it has this many bottoms and tops."""
        for wanted, actual, noun in ((bottoms, len(self.bottoms), "bottom"), (tops, self.top_count, "top")):
            if wanted is None or actual == wanted or (isinstance(wanted, range) and actual in wanted):
                continue
            text = str(wanted) if isinstance(wanted, int) else f"{wanted.start} to {wanted.stop - 1}"
            if isinstance(wanted, range) and wanted.stop > 1000:
                text = f"at least {wanted.start}"
            self.fail(f"{self.layer.type} takes {text} {noun}(s), this one has {actual}")

    def expect_rank(self, rank: int, value: str | None = None) -> tuple[int, ...]:
        """Return the shape of a value, refusing the layer unless it has `rank` axes."""
        shape = self.shape(value)
        if len(shape) != rank:
            self.fail(f"{self.layer.type} needs a bottom of {rank} axes, it gets {text_of(shape)}")
        return shape

    def axis(self, axis: int, rank: int | None = None, what: str = "axis") -> int:
        """Return an axis counted from the front; Caffe counts negative ones from the end.

        Args:
            axis: As the file has it.
            rank: Number of axes, by default of the first bottom.
            what: Name of the field, for the message.
        """
        rank = len(self.shape()) if rank is None else rank
        if not -rank <= axis < rank:
            self.fail(f"{what} {axis} is out of range for {rank} axes", f"use {-rank} to {rank - 1}")
        return axis + rank if axis < 0 else axis

    def restore_shapes(self) -> None:
        """Give bottoms the shape that Caffe shows, where shared storage was rewritten under another one."""
        wanted = self.layer.bottom_shapes or (None,) * len(self.bottoms)
        self.bottoms = tuple(
            bottom if like is None else self.reshape(bottom, self.builder.shape(like))
            for bottom, like in zip(self.bottoms, wanted, strict=True)
        )

    # Emitting

    def constant(self, array: NDArray[Any] | np.generic, hint: str = "constant") -> str:
        """Store a constant that belongs to this layer."""
        return self.builder.add_initializer(f"{self.layer.key}/{hint}", np.asarray(array))

    def emit(
        self,
        operator: str,
        *inputs: str | NDArray[Any] | np.generic,
        shape: Sequence[int] | None = None,
        dtype: DTypeLike | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Append a node with one output.

        Args:
            operator: ONNX operator.
            inputs: Values, or arrays that become constants of the layer.
            shape: Output shape, by default that of the first input.
            dtype: Output type, by default that of the first input.
            domain: '' for ONNX.
            attributes: Node attributes.

        Returns:
            The output value.
        """
        names = self._names(operator, inputs)
        first = self.builder.value(names[0]) if names else None
        if first is None and (shape is None or dtype is None):
            raise InternalError(f"{operator} without inputs needs a shape and a type")
        out_shape = tuple(shape) if shape is not None else first.shape if first else ()
        out_type = np.dtype(dtype) if dtype is not None else first.dtype if first else np.dtype(np.float32)
        return self.emit_many(operator, names, [(out_shape, out_type)], domain=domain, **attributes)[0]

    def emit_many(
        self,
        operator: str,
        inputs: Sequence[str | NDArray[Any] | np.generic],
        outputs: Sequence[tuple[Sequence[int], DTypeLike]],
        *,
        domain: str = "",
        dynamic_axis: int | None = None,
        **attributes: Any,
    ) -> list[str]:
        """Append a node with several outputs, each given by its shape and element type."""
        names = self._names(operator, inputs)
        for shape, _ in outputs:
            self.check_size(shape)
        hint = f"{self.layer.key}/{operator}"
        return self.builder.add_node(
            operator,
            names,
            [(hint, tuple(shape), dtype) for shape, dtype in outputs],
            name=hint,
            domain=domain,
            dynamic_axis=dynamic_axis,
            **attributes,
        )

    def _names(self, operator: str, inputs: Sequence[str | NDArray[Any] | np.generic]) -> list[str]:
        return [
            value if isinstance(value, str) else self.constant(value, f"{operator}.{index}")
            for index, value in enumerate(inputs)
        ]

    def check_size(self, shape: Sequence[int]) -> None:
        """Refuse the layer when it would make an empty blob, or one larger than Caffe can hold."""
        if any(size <= 0 for size in shape):
            self.fail(
                f"{self.layer.type} would give the impossible shape {text_of(shape)}",
                "enlarge the input (--input-shape) or correct the layer's parameters",
            )
        if prod(shape) > MAX_ELEMENTS:
            self.fail(
                f"{self.layer.type} would give {text_of(shape)}, more than {MAX_ELEMENTS} elements",
                "correct the layer's parameters",
            )

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Reshape a value; nothing is emitted when it has this shape already.

        Axis 0 is copied rather than written out where it stays the same, so that the node holds for other batch sizes.
        """
        known = self.builder.value(value)
        target = tuple(shape)
        if known.shape == target:
            return value
        if prod(known.shape) != prod(target):
            self.fail(f"{text_of(known.shape)} cannot be reshaped to {text_of(target)}: the counts differ")
        if target and known.shape and target[0] == known.shape[0]:
            written = (0, *target[1:])
        elif target and known.dynamic_axis == 0:
            written = (-1, *target[1:])
        else:
            written = target
        return self.emit("Reshape", value, np.asarray(written, np.int64), shape=target)

    def output(self, value: str, index: int = 0) -> None:
        """Make a value the layer's top number `index`."""
        if index >= self.top_count:
            return
        own = value in self.builder.made_since(self._first_node) and value not in self.layer.tops
        if not own:
            value = self.emit("Identity", value)
        self.builder.rename(value, self.layer.tops[index], self._first_node)
        self._outputs.add(index)

    def outputs_complete(self) -> bool:
        """Return whether every top has been made."""
        return len(self._outputs) == self.top_count

    def rollback(self) -> None:
        """Take back all nodes of this layer."""
        self.builder.rollback(self._first_node)

    def node_names(self) -> tuple[str, ...]:
        """Return the names of this layer's nodes, in graph order."""
        return tuple(node.name for node in self.builder.nodes[self._first_node :])

    # Weights

    def has_blob(self, index: int) -> bool:
        """Return whether the file stores blob number `index` of this layer."""
        return index < len(self.layer.blobs)

    def expect_blobs(self, count: int) -> None:
        """Complain when the file stores more blobs than the layer takes, or some but not all."""
        stored = len(self.layer.blobs)
        if stored == count or (stored == 0 and count > 0):
            return
        self.report(
            f"{self.layer.type} takes {count} weight blob(s) here, the weight file stores {stored}",
            "use the prototxt that belongs to the weights (bias_term, for example, must agree)",
        )
        raise LayerError

    def blob(
        self, index: int, role: str, shape: Sequence[int], filler: Parameters | None = None, unset: float = 0.0
    ) -> NDArray[np.float32]:
        """Return a stored weight blob in the shape that Caffe gives it.

        Args:
            index: Number of the blob in Caffe's order.
            role: What it is, for messages and names: 'weight', 'bias', ...
            shape: Shape that the layer's parameters and bottoms ask for.
            filler: The layer's filler, used when the blob is missing and that is allowed.
            unset: Value when it is missing and the layer has no filler.
        """
        shape = tuple(shape)
        self.check_size(shape)
        if not self.has_blob(index):
            return self._missing_blob(index, role, shape, filler, unset)
        array, note = fit_blob(self.layer.blobs[index], shape)
        if array is None:
            self.report(
                f"its {role} is stored as {text_of(self.layer.blobs[index].shape)}, {text_of(shape)} is needed",
                "use the prototxt that belongs to the weights, or the input shape that they were made for",
            )
            return np.broadcast_to(np.float32(0), shape)
        if note:
            self.notes.append(f"{role}: {note}")
        return array

    def _missing_blob(
        self, index: int, role: str, shape: tuple[int, ...], filler: Parameters | None, unset: float
    ) -> NDArray[np.float32]:
        if not self._allow_missing:
            self.report(
                f"the weight file holds no {role} for it (blob {index}, {text_of(shape)})",
                "use the weights of this network, or go on with Caffe's fill values by --allow-missing",
            )
            return np.broadcast_to(np.float32(0), shape)
        if prod(shape) > MAX_CONSTANT_ELEMENTS:
            self.fail(f"its missing {role} {text_of(shape)} is too large to fill in")
        if self._shapes_only:
            return np.broadcast_to(np.float32(0), shape)
        array, how = fill(filler, shape, unset, seed_text=f"{self.layer.key}/{index}")
        self.notes.append(f"{role} is missing and was filled: {how}")
        return array

    def weight(
        self,
        index: int,
        role: str,
        shape: Sequence[int],
        *,
        stored_as: Sequence[int] | None = None,
        filler: Parameters | None = None,
        unset: float = 0.0,
        quantized: bool = False,
    ) -> str:
        """Return the initializer that holds a weight blob with its values as they are.

        Args:
            index: See `blob`.
            role: See `blob`; the initializer is called `<layer>/<role>`.
            shape: Shape of the initializer.
            stored_as: Shape that Caffe gives the blob, where it differs.
            filler: See `blob`.
            unset: See `blob`.
            quantized: NNIE quantizes it, per tensor.
        """
        array = self.blob(index, role, shape if stored_as is None else stored_as, filler, unset)
        return self.derived_weight(role, array.reshape(tuple(shape)), quantized=quantized)

    def derived_weight(self, role: str, array: NDArray[np.float32], *, quantized: bool = False) -> str:
        """Store an initializer that stands for the layer's weights (BatchNorm's mean and deviation, for example)."""
        name = self.constant(array, role)
        self.weights.append(name)
        if quantized:
            self.quantized_weights.append(name)
        return name

    # Complaints

    def report(self, what: str, remedy: str | None = None) -> None:
        """Note a problem and go on."""
        self.problems.append(
            Problem(what, self.layer.path or None, self.layer.name, line=self.layer.line, remedy=remedy)
        )

    def stop_if_faulty(self) -> None:
        """Give the layer up when problems were noted, before anything is computed from weights that are not there.

        Raises:
            LayerError: There are problems.
        """
        if self.problems:
            raise LayerError

    def fail(self, what: str, remedy: str | None = None) -> NoReturn:
        """Note a problem and give the layer up.

        Raises:
            LayerError: Always.
        """
        self.report(what, remedy)
        raise LayerError

    def mixes_samples(self, why: str) -> None:
        """Say that a sample's result depends on other samples of the batch."""
        self.mixing = why
