"""Our operators in ONNX Runtime: whether it takes them, and which of its own kernels they may stand for."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from gfpq_inspect import _native
from gfpq_inspect.analyze.engine.handed_over import BLOCKED_DOMAIN
from gfpq_inspect.quantize.kernels import SUM_FIELDS

TAP_DOMAIN = "gfpq_inspect.engine"
RUN_INPUT = "run"
"""Graph input that brings the number of the batch."""

_CHANNELS = 24
_PLANE = (3, 43)
_LIMITS = (np.float32(-0.75), np.float32(1.5))
_SLOPE = np.float32(0.1)


@cache
def operators_refused() -> str | None:
    """Why this ONNX Runtime does not take the operators, or None."""
    try:
        operator_options()
    except Exception as error:  # whatever an older or a foreign build says
        return " ".join(str(error).split())[:200]
    return None


def operator_options() -> onnxruntime.SessionOptions:
    """For a graph with our operators: it is optimised already; one thread, since workers take whole batches."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.register_custom_ops_library(_native.__file__)
    return options


@cache
def exact_transforms(block: int) -> frozenset[str]:
    """First words of the transforms of a tap that give the bits of this ONNX Runtime's kernels.

    Both are run on the same numbers, with every kind of special one among them: versions and processors differ in what
    becomes of a NaN or of a -0, and in where they round.

    Args:
        block: Channels in a block, 0 where nothing is blocked.
    """
    return frozenset(
        words.split()[0]
        for words, node, constants in _kernels(block)
        if _is_exact(words, node, constants, block if node.domain == BLOCKED_DOMAIN else 0)
    )


def _kernels(block: int) -> list[tuple[str, onnx.NodeProto, dict[str, np.ndarray]]]:
    """Transforms with the nodes that they stand for, and what these read besides `x` and `other`."""
    low, high = _LIMITS
    limits = {"low": np.array(low), "high": np.array(high)}
    kernels: list[tuple[str, onnx.NodeProto, dict[str, np.ndarray]]] = [
        ("r", helper.make_node("Relu", ["x"], ["y"]), {}),
        (f"l {_bits(low)} {_bits(high)}", helper.make_node("Clip", ["x", "low", "high"], ["y"]), limits),
        (f"k {_bits(_SLOPE)}", helper.make_node("LeakyRelu", ["x"], ["y"], alpha=float(_SLOPE)), {}),
        ("p 0", helper.make_node("Add", ["x", "other"], ["y"]), {}),
        ("o 0", helper.make_node("Add", ["other", "x"], ["y"]), {}),
    ]
    if block:
        width = _width(block)
        random = np.random.default_rng(2)
        constants = {
            "scale": random.standard_normal((width, 1, 1, 1)).astype(np.float32),
            "bias": random.standard_normal(width).astype(np.float32),
        }
        node = helper.make_node("Conv", ["x", "scale", "bias"], ["y"], domain=BLOCKED_DOMAIN, group=width)
        kernels.append(("b 0 1", node, constants))
    return kernels


def _width(block: int) -> int:
    """Channels with padding."""
    return -(-_CHANNELS // block) * block if block else _CHANNELS


def _is_exact(words: str, node: onnx.NodeProto, constants: dict[str, np.ndarray], block: int) -> bool:
    shape = (1, _width(block), *_PLANE)
    x, other = _numbers(shape, 0), _numbers(shape, 1)
    operands = [name for name in node.input if name != "x"] if words[0] in "bpo" else []
    program = f"1 1 {_CHANNELS if block else 0} {block} 0 t {words}"
    tap = helper.make_node("Tap", [RUN_INPUT, "x", *operands], ["z"], domain=TAP_DOMAIN, program=program)
    elements = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node, tap],
        "probe",
        [
            helper.make_tensor_value_info(RUN_INPUT, onnx.TensorProto.INT64, [1]),
            helper.make_tensor_value_info("x", elements, shape),
            helper.make_tensor_value_info("other", elements, shape),
        ],
        [helper.make_tensor_value_info(name, elements, shape) for name in ("y", "z")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 17), (TAP_DOMAIN, 1))]
    if block:
        opsets.append(helper.make_opsetid(BLOCKED_DOMAIN, 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), operator_options(), providers=["CPUExecutionProvider"]
        )
        none, evidence = np.zeros((1, 0)), np.zeros((0, _native.EVIDENCE_FIELDS))
        sums = np.zeros((1, 0, len(SUM_FIELDS)))
        number = _native.begin_run(1, np.zeros(0, np.int32), sums, none, evidence, none, [])
        try:
            feeds = {RUN_INPUT: np.array([number], np.int64), "x": x, "other": other}
            one, two = session.run(["y", "z"], feeds)
        finally:
            _native.end_run(number)
    except Exception:  # a kernel that is not there needs no stand-in
        return False
    return bool(np.array_equal(one.view(np.uint32), two.view(np.uint32)))


def _numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Common numbers with special ones strewn in: zeros, denormals, infinities and NaNs of both signs, any bits."""
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape).astype(np.float32)
    words = values.reshape(-1).view(np.uint32)
    special = np.array(
        [0, 0x80000000, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345, _bits(_LIMITS[0])], np.uint32
    )
    places = random.permutation(words.size)
    words[places[: words.size // 4]] = random.choice(special, words.size // 4)
    strange = places[words.size // 4 : words.size // 2]
    words[strange] = random.integers(0, 1 << 32, strange.size, dtype=np.uint32)
    return values


def _bits(value: np.float32) -> int:
    return int(value.view(np.uint32))
