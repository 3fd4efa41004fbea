"""From a connected `Net` to a `Model`: layer after layer, all problems collected, shapes by Caffe's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.caffe.net import Net, NetInput, NetLayer
from gfpq_inspect.models.caffe.problems import Problems, nearest
from gfpq_inspect.models.caffe.translate.blob_shapes import MAX_ELEMENTS, text_of
from gfpq_inspect.models.caffe.translate.builder import GraphBuilder
from gfpq_inspect.models.caffe.translate.context import LayerContext, LayerError
from gfpq_inspect.models.caffe.translate.refused import reason_to_refuse
from gfpq_inspect.models.caffe.translate.registry import known_types, translator
from gfpq_inspect.models.model import Layer, LayerKind, Model, ModelInput
from gfpq_inspect.models.place import caffe_quantization


@dataclass
class _Translation:
    """What one walk over the network gives."""

    builder: GraphBuilder
    layers: list[Layer] = field(default_factory=list)
    inputs: list[ModelInput] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    mixing: bool = False


def translate(net: Net, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Model:
    """Translate a network for given input shapes.

    Args:
        net: The network, connected and with its weights.
        input_shapes: Shapes by input name; inputs that are not named keep the shape that the network declares.

    Returns:
        The graph and its table of layers.

    Raises:
        ModelError: With every problem found: layers nobody knows, shapes that do not fit, weights that are missing or
            have another shape, inputs without a shape.
    """
    shapes, problems = _input_shapes(net, input_shapes or {})
    found = _walk(net, shapes, shapes_only=net.shapes_only)
    problems.extend(found.problems.found())
    problems.raise_if_any()
    # An output that no layer made belongs to a fault that reading the network has found already.
    outputs = tuple(value for value in net.outputs if value in found.builder)
    graph = found.builder.finish(net.name, outputs, shapes_only=net.shapes_only)
    origin = replace(net.origin, notes=tuple(dict.fromkeys((*net.origin.notes, *net.notes))))
    batchable = not found.mixing and _keeps_samples_apart(net, shapes, found)
    return Model(graph, tuple(found.layers), tuple(found.inputs), outputs, origin, batchable)


def _input_shapes(net: Net, given: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, tuple[int, ...]], Problems]:
    """Return the shape of every input that has one, and what is wrong with the others."""
    problems = Problems()
    names = [one.name for one in net.inputs]
    for name in given:
        if name not in names:
            known = ", ".join(names) or "none"
            problems.add(
                Problem(f"no input is called '{name}'{nearest(name, names)}", net.path, remedy=f"inputs: {known}")
            )
    shapes = {}
    for one in net.inputs:
        shape = given.get(one.name, one.shape)
        fault = _shape_fault(one, shape)
        if fault is None and shape is not None:
            shapes[one.value] = tuple(shape)
        elif fault:
            problems.add(Problem(fault, net.path, one.layer, remedy=f"give it by --input-shape {_example(one)}"))
    return shapes, problems


def _example(one: NetInput) -> str:
    """Return an input shape as --input-shape takes it; what the file leaves open has usual values."""
    usual: tuple[int, ...] = (1, 3, 224, 224)
    shape = one.shape or usual
    usual = usual if len(shape) == len(usual) else (1,) * len(shape)
    sizes = (size if size > 0 else common for size, common in zip(shape, usual, strict=True))
    return f"{one.name}:{','.join(map(str, sizes))}"


def _shape_fault(one: NetInput, shape: tuple[int, ...] | None) -> str | None:
    if shape is None or any(size == -1 for size in shape):
        return f"the shape of input '{one.name}' is not known" + (f" ({one.note})" if one.note else "")
    count = 1
    for size in shape:
        if size < 1:
            return f"the shape {text_of(shape)} of input '{one.name}' is not possible"
        count *= size
    if count > MAX_ELEMENTS:
        return f"the shape {text_of(shape)} of input '{one.name}' has more than {MAX_ELEMENTS} elements"
    return None


def _walk(net: Net, shapes: Mapping[str, tuple[int, ...]], *, shapes_only: bool = False) -> _Translation:
    reserved = [value for layer in net.layers for value in layer.tops]
    done = _Translation(GraphBuilder(reserved))
    by_value = {one.value: one for one in net.inputs}
    for layer in net.layers:
        if layer.is_input:
            _add_input_layer(done, layer, by_value, shapes)
        else:
            _add_layer(done, net, layer, shapes_only=shapes_only)
    return done


def _add_input_layer(
    done: _Translation, layer: NetLayer, inputs: Mapping[str, NetInput], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    for value in layer.tops:
        if value in shapes:
            done.builder.add_input(value, shapes[value])
            done.inputs.append(ModelInput(inputs[value].name, value, shapes[value]))
    done.layers.append(
        Layer(
            key=layer.key,
            name=layer.name,
            type=layer.type,
            kind=LayerKind.INPUT,
            inputs=(),
            outputs=layer.tops,
            output_names=layer.tops,
            blob_names=layer.top_blobs,
            nodes=(),
            quantization_reason="an input",
            source_line=layer.line,
            notes=layer.notes,
        )
    )


def _add_layer(done: _Translation, net: Net, layer: NetLayer, *, shapes_only: bool) -> None:
    known = translator(layer.type)
    if known is None:
        done.problems.add(_unknown_type(layer))
        return
    if not layer.tops:
        return  # Silence, and losses whose top Caffe would invent: nothing can be asked of them
    if not all(value in done.builder for value in layer.bottoms):
        # A layer above failed; of this one only what shapes do not decide can be said.
        if known.needs_weights and not layer.blobs and not net.allow_missing:
            done.problems.add(_missing_weights(layer))
        return
    context = LayerContext(
        layer,
        done.builder,
        layer.bottoms,
        allow_missing=net.allow_missing,
        allow_unknown_fields=net.allow_unknown_fields,
        shapes_only=shapes_only,
    )
    try:
        context.restore_shapes()
        known.function(context)
        if not context.outputs_complete() and not context.problems:
            context.fail(
                f"{layer.type} has {len(layer.tops)} tops, more than it can fill", "remove the tops that are too many"
            )
    except LayerError:
        context.rollback()
    except ModelError as error:
        context.problems += error.problems
        context.rollback()
    done.problems.extend(context.problems)
    if not context.problems:
        done.mixing |= context.mixing is not None
        done.layers.append(_row(layer, context))


def _unknown_type(layer: NetLayer) -> Problem:
    reason = reason_to_refuse(layer.type)
    what = reason or f"layer type '{layer.type}' is not known{nearest(layer.type, known_types())}"
    remedy = "remove it, cut the network above it, or add it by an entry point of group gfpq_inspect.caffe_layers"
    return Problem(what, layer.path or None, layer.name, line=layer.line, remedy=remedy)


def _missing_weights(layer: NetLayer) -> Problem:
    what = f"the weight file holds no weights for it ({layer.type})"
    remedy = "use the weights of this network, or go on with Caffe's fill values by --allow-missing"
    return Problem(what, layer.path or None, layer.name, line=layer.line, remedy=remedy)


def _row(layer: NetLayer, context: LayerContext) -> Layer:
    quantization, reason = context.quantization, context.quantization_reason
    if context.kind is not LayerKind.QUANT:
        quantization, reason = caffe_quantization(
            layer.name, layer.type, context.kind, layer.bottoms, tuple(context.quantized_weights)
        )
    builder = context.builder
    constant = all(builder.value(value).constant for value in layer.tops)
    first = builder.shape(layer.bottoms[0]) if layer.bottoms else ()
    samples = first[0] if first else 1
    work = context.multiply_adds
    return Layer(
        key=layer.key,
        name=layer.name,
        type=layer.type,
        kind=LayerKind.CONSTANT if constant else context.kind,
        inputs=layer.bottoms,
        outputs=layer.tops,
        output_names=layer.tops,
        blob_names=layer.top_blobs,
        nodes=context.node_names(),
        weights=tuple(context.weights),
        quantization=quantization,
        quantization_reason=reason,
        group=context.group,
        multiply_adds=None if work is None else work // samples,
        source_line=layer.line,
        notes=(*layer.notes, *context.notes),
    )


def _keeps_samples_apart(net: Net, shapes: Mapping[str, tuple[int, ...]], found: _Translation) -> bool:
    """Return whether axis 0 of every value counts samples: seen by translating once more for one sample more.

    Layers that mix samples while keeping axis 0 have said so themselves; whatever else moves samples about (a Reshape
    with a written batch size, Concat along axis 0, a constant of one sample's shape) shows in the shapes, or fails.
    """
    batches = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(batches) != 1 or 0 in batches:
        return False
    batch = batches.pop()
    larger = _walk(net, {value: (batch + 1, *shape[1:]) for value, shape in shapes.items()}, shapes_only=True)
    if larger.problems:
        return False
    for layer in found.layers:
        if layer.kind is LayerKind.CONSTANT:
            continue
        for value in layer.outputs:
            if value not in found.builder or value not in larger.builder:
                return False
            shape, grown = found.builder.shape(value), larger.builder.shape(value)
            if shape[:1] != (batch,) or grown[:1] != (batch + 1,) or shape[1:] != grown[1:]:
                return False
    return True
