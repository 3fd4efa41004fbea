"""LSTM and RNN, unrolled over time: ONNX's own have no continuation input.

Caffe carries the state over from one forward pass to the next unless expose_hidden; here every pass starts from zeros,
which is the same whenever the continuation of the first step is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer

_MAX_STEPS = 4096


@dataclass(frozen=True)
class Sequence:
    """What both layers read.

    Attributes:
        steps: Time steps T.
        samples: Samples a step, N.
        hidden: Size of the state, D.
        static: Whether an input that does not change over time is given.
        exposed: Whether the state comes in and goes out by bottoms and tops.
        state: First states, shape (N, D).
    """

    steps: int
    samples: int
    hidden: int
    static: bool
    exposed: bool
    state: tuple[str, ...]


@layer("LSTM", needs_weights=True)
def lstm(context: LayerContext) -> None:
    """Gates i, f, o, g from W_x x + b + W_static s + W_h (cont h); c = cont f c + i g; h = o tanh(c)."""
    parameters = context.parameters("recurrent_param")
    sequence = _sequence(context, parameters, states=2)
    inputs, w_hidden, _ = _input_terms(context, parameters, sequence, rows=4 * sequence.hidden, blobs_after=1)
    hidden, cell = sequence.state
    outputs = []
    for step in range(sequence.steps):
        going_on = _continuation(context, sequence, step)
        gates = _recurrent_term(context, hidden, going_on, w_hidden, inputs[step])
        cell, hidden = _cell(context, gates, going_on, cell)
        outputs.append(hidden)
    _finish(context, sequence, outputs, (hidden, cell))


@layer("LSTMUnit")
def lstm_unit(context: LayerContext) -> None:
    """One step of an LSTM: bottoms c (1, N, D), gates (1, N, 4 D), cont (1, N); tops c and h."""
    context.expect(bottoms=3, tops=range(1, 3))
    shape, gates, going_on = (context.shape(bottom) for bottom in context.bottoms)
    if len(shape) != 3 or shape[0] != 1 or gates != (1, shape[1], 4 * shape[2]) or prod(going_on) != shape[1]:
        shapes = ", ".join(text_of(context.shape(bottom)) for bottom in context.bottoms)
        context.fail(f"its bottoms {shapes} do not fit", "they are c (1, N, D), gates (1, N, 4 D) and cont (1, N)")
    context.mixes_samples("axis 0 counts time steps, not samples")
    size = shape[1:]
    made = _cell(
        context,
        context.reshape(context.bottom(1), gates[1:]),
        context.reshape(context.bottom(2), (shape[1], 1)),
        context.reshape(context.bottom(), size),
    )
    for index, value in enumerate(made):
        context.output(context.reshape(value, shape), index)


def _cell(context: LayerContext, gates: str, going_on: str, cell: str) -> tuple[str, str]:
    """Emit the new cell and hidden state (N, D) from the gates' inputs (N, 4 D), in the order i, f, o, g."""
    size = context.shape(cell)
    parts = context.emit_many("Split", [gates, np.full(4, size[1], np.int64)], [(size, np.float32)] * 4, axis=1)
    let_in, keep, let_out = (context.emit("Sigmoid", part) for part in parts[:3])
    kept = context.emit("Mul", context.emit("Mul", keep, going_on), cell)
    new_cell = context.emit("Add", kept, context.emit("Mul", let_in, context.emit("Tanh", parts[3])))
    return new_cell, context.emit("Mul", let_out, context.emit("Tanh", new_cell))


@layer("RNN", needs_weights=True)
def rnn(context: LayerContext) -> None:
    """State h = tanh(W_x x + b + W_static s + W_h (cont h)); the output is tanh(W_o h + b_o)."""
    parameters = context.parameters("recurrent_param")
    sequence = _sequence(context, parameters, states=1)
    inputs, w_hidden, next_blob = _input_terms(context, parameters, sequence, rows=sequence.hidden, blobs_after=3)
    filler = parameters.sub("weight_filler")
    w_out = context.weight(next_blob, "output_weight", (sequence.hidden, sequence.hidden), filler=filler)
    b_out = context.weight(next_blob + 1, "output_bias", (sequence.hidden,), filler=parameters.sub("bias_filler"))
    hidden = sequence.state[0]
    size = (sequence.samples, sequence.hidden)
    outputs = []
    for step in range(sequence.steps):
        going_on = _continuation(context, sequence, step)
        hidden = context.emit("Tanh", _recurrent_term(context, hidden, going_on, w_hidden, inputs[step]))
        outputs.append(context.emit("Tanh", context.emit("Gemm", hidden, w_out, b_out, shape=size, transB=1)))
    _finish(context, sequence, outputs, (hidden,))


def _sequence(context: LayerContext, parameters: Parameters, states: int) -> Sequence:
    exposed = parameters.flag("expose_hidden")
    extra = states if exposed else 0
    context.expect(bottoms=range(2 + extra, 4 + extra), tops=1 + extra)
    static = len(context.bottoms) == 3 + extra
    shape, going_on = context.shape(), context.shape(context.bottom(1))
    hidden = parameters.integer("num_output")
    if len(shape) < 3 or going_on != shape[:2] or hidden < 1:
        context.fail(
            f"its bottoms {text_of(shape)} and {text_of(going_on)} with num_output {hidden} make no sequence",
            "the first is (steps, samples, ...), the second (steps, samples)",
        )
    context.check_size((shape[0], shape[1], 4 * hidden))
    if shape[0] > _MAX_STEPS:
        context.fail(f"{shape[0]} time steps are more than {_MAX_STEPS}", "shorten the sequence (--input-shape)")
    if static and context.shape(context.bottom(2))[:1] != shape[1:2]:
        context.fail(f"its static input {text_of(context.shape(context.bottom(2)))} does not have {shape[1]} samples")
    size = (shape[1], hidden)
    first = 2 + static
    state = tuple(context.reshape(bottom, size) for bottom in context.bottoms[first:])
    if not exposed:
        zeros = context.constant(np.zeros(size, np.float32), "initial_state")
        state = (zeros,) * states
        context.notes.append("the state starts at zero in every run; Caffe carries it over unless cont is 0")
    context.mixes_samples("axis 0 counts time steps, not samples")
    return Sequence(shape[0], shape[1], hidden, static, exposed, state)


def _input_terms(
    context: LayerContext, parameters: Parameters, sequence: Sequence, rows: int, blobs_after: int
) -> tuple[list[str], str, int]:
    """Emit W_x x + b (+ W_static s) for all steps at once.

    Returns:
        The term of each step, shape (N, rows); the recurrent weight; the number of the blob after it.
    """
    filler, bias_filler = parameters.sub("weight_filler"), parameters.sub("bias_filler")
    steps, samples = sequence.steps, sequence.samples
    length = prod(context.shape()[2:])
    context.expect_blobs(2 + sequence.static + blobs_after)
    w_input = context.weight(0, "input_weight", (rows, length), filler=filler)
    b_input = context.weight(1, "input_bias", (rows,), filler=bias_filler)
    flat = context.reshape(context.bottom(), (steps * samples, length))
    product = context.emit("Gemm", flat, w_input, b_input, shape=(steps * samples, rows), transB=1)
    terms = context.emit("Reshape", product, np.array([steps, samples, rows], np.int64), shape=(steps, samples, rows))
    blob = 2
    if sequence.static:
        size = prod(context.shape(context.bottom(2))[1:])
        w_static = context.weight(2, "static_weight", (rows, size), filler=filler)
        still = context.reshape(context.bottom(2), (samples, size))
        constant_term = context.emit("Gemm", still, w_static, shape=(samples, rows), transB=1)
        terms = context.emit("Add", terms, constant_term)
        blob = 3
    w_hidden = context.weight(blob, "hidden_weight", (rows, sequence.hidden), filler=filler)
    context.multiply_adds = steps * samples * rows * (length + sequence.hidden)
    each = [
        context.emit("Gather", terms, np.array(step, np.int64), shape=(samples, rows), axis=0) for step in range(steps)
    ]
    return each, w_hidden, blob + 1


def _continuation(context: LayerContext, sequence: Sequence, step: int) -> str:
    row = context.emit("Gather", context.bottom(1), np.array(step, np.int64), shape=(sequence.samples,), axis=0)
    return context.reshape(row, (sequence.samples, 1))


def _recurrent_term(context: LayerContext, hidden: str, going_on: str, weight: str, term: str) -> str:
    rows = context.shape(term)
    continued = context.emit("Mul", hidden, going_on)
    return context.emit("Add", context.emit("Gemm", continued, weight, shape=rows, transB=1), term)


def _finish(context: LayerContext, sequence: Sequence, outputs: list[str], states: tuple[str, ...]) -> None:
    ahead = np.array([0], np.int64)
    size = (1, sequence.samples, sequence.hidden)
    rows = [context.emit("Unsqueeze", value, ahead, shape=size) for value in outputs]
    joined = rows[0] if len(rows) == 1 else context.emit("Concat", *rows, shape=(sequence.steps, *size[1:]), axis=0)
    context.output(joined)
    if sequence.exposed:
        for index, state in enumerate(states):
            context.output(context.emit("Unsqueeze", state, ahead, shape=size), 1 + index)
