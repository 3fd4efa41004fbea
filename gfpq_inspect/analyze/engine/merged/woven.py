"""What a graph of all lanes is woven from, and what comes of it before it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment, Facts, RowProblem
from gfpq_inspect.analyze.engine.merged.base import Base
from gfpq_inspect.analyze.engine.merged.refusal import LayerKey
from gfpq_inspect.analyze.engine.merged.taps import Read, Results, Tap
from gfpq_inspect.analyze.engine.plan import Value
from gfpq_inspect.analyze.lanes import Side

Array = NDArray[Any]


@dataclass(frozen=True)
class Ground:
    """What a graph is woven from.

    Attributes:
        experiment: Models, lanes, rows, points.
        bases: The graph of each model.
        facts: Shapes of one sample.
        dtypes: Element type of each value as the trial showed it; None for what is no tensor.
        constants: Values that no sample reaches.
        samples: Samples in a batch.
    """

    experiment: Experiment
    bases: Mapping[Side, Base]
    facts: Facts
    dtypes: Mapping[Value, np.dtype[Any] | None]
    constants: frozenset[Value]
    samples: int


@dataclass
class Node:
    """One node of the graph: a copy of another with other names."""

    source: onnx.NodeProto
    inputs: list[Read | str]
    outputs: list[str]


@dataclass(frozen=True)
class Brought:
    """A tensor that another part of the plan has made.

    Attributes:
        value: Which.
        lane: One of the lanes that have it.
        dtype: Element type.
        shape: Of one sample.
    """

    value: Value
    lane: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass
class Woven:
    """A graph before it is written down.

    Attributes:
        tasks: Nodes and taps, in an order in which they can run.
        inputs: (model, value) to the name of the graph's input.
        shapes: Tensor to its shape, where it is known.
        initializers: By name.
        results: What the taps give.
        problems: Rows that cannot be scored.
        unscored: (row, column, elements) of rows that hold no floating-point numbers, equal in the lanes compared.
        owners: For each task the layer that it stands for or follows.
        brought: Graph input to the lane's tensor of another part of the plan that it takes.
        gives: (value, lane, graph output) of tensors that other parts need.
    """

    tasks: list[Node | Tap] = field(default_factory=list)
    inputs: dict[Value, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    initializers: dict[str, Array] = field(default_factory=dict)
    results: Results = field(default_factory=Results)
    problems: dict[tuple[int, int], RowProblem] = field(default_factory=dict)
    unscored: list[tuple[int, int, int]] = field(default_factory=list)
    owners: list[LayerKey | None] = field(default_factory=list)
    brought: dict[str, Brought] = field(default_factory=dict)
    gives: list[tuple[Value, str, str]] = field(default_factory=list)
