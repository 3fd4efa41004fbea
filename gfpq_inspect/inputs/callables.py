"""Values of the caller's own: arrays, and functions that make samples."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import MemoryArray, check_dtype
from gfpq_inspect.inputs.feed import ArrayFeed, Feed, finite
from gfpq_inspect.inputs.feed_source import FeedSource
from gfpq_inspect.inputs.options import InputOptions, listed
from gfpq_inspect.inputs.plans import plan_for
from gfpq_inspect.inputs.preprocess import Preprocessing
from gfpq_inspect.models.model import ModelInput

Array: TypeAlias = NDArray[Any]
Sample: TypeAlias = "Array | Mapping[str, Array]"
Values: TypeAlias = "Array | Mapping[str, Array] | Callable[[], Iterable[Sample]]"
PYTHON_PREFIX = "python:"


@dataclass(frozen=True)
class CallableFeed:
    """One input's part of the samples that a function makes; the function is called again for every pass.

    Attributes:
        function: Gives an iterable of samples: arrays, or mappings from input name to array.
        name: For people.
        preprocessing: Of the input.
        count: Samples that it made when it was opened.
    """

    function: Callable[[], Iterable[Sample]]
    name: str
    preprocessing: Preprocessing
    count: int

    @property
    def identities(self) -> tuple[str, ...]:
        """See `Feed`."""
        return tuple(f"{self.name}[{index}]" for index in range(self.count))

    @property
    def description(self) -> str:
        """See `Feed`."""
        return self.name

    def samples(self) -> Iterator[Array]:
        """See `Feed`.

        Raises:
            InputError: The function failed, or made fewer samples than the first time.
        """
        made = 0
        for array in _made(self.function, self.name, self.preprocessing.input_name):
            for sample in self.preprocessing.array_samples(array):
                yield finite(sample, self.name, f"{self.name}[{made}]")
                made += 1
        if made < self.count:
            raise InputError(f"{self.name}: made {made} samples, {self.count} before; it must give the same each time")

    def labels(self) -> None:
        """Samples of a function come without labels."""
        return


def open_values(
    values: Values,
    model_inputs: Sequence[ModelInput],
    options: InputOptions | None = None,
    *,
    batchable: bool = True,
    name: str = "samples",
) -> FeedSource:
    """Take samples from Python: an array or a memory map, arrays by input name, or a function that makes samples.

    Args:
        values: An array for a network of one input; a mapping from input name to array; or a function without
            arguments that gives an iterable of samples (arrays, or mappings), the same ones at every call.
        model_inputs: The network's inputs, with their final shapes.
        options: Preprocessing and sample count.
        batchable: See `opening.open_inputs`.
        name: For people; identities are `name[0]`, `name[1]`, ...

    Raises:
        InputError: Values that do not fit, inputs without values, a function that fails.
    """
    options = options or InputOptions()
    names = [model_input.name for model_input in model_inputs]
    alone = len(names) == 1
    plans = {each.name: plan_for(each, options, batchable=batchable, alone=alone) for each in model_inputs}
    if callable(values):
        feeds: dict[str, Feed] = {}
        for each, plan in plans.items():
            count = sum(plan.sample_count(array) for array in _made(values, name, each))
            if not count:
                raise InputError(f"{name}: made no sample; give at least one")
            feeds[each] = CallableFeed(values, name, plan, count)
        return FeedSource(feeds, plans, options)
    if not isinstance(values, Mapping):
        if not alone:
            raise InputError(
                f"{name}: one array for the inputs {listed(names)}; give a mapping from input name to array"
            )
        values = {names[0]: values}
    unknown = [each for each in values if each not in plans]
    missing = [each for each in names if each not in values]
    if unknown or missing:
        raise InputError(f"{name}: has arrays for {listed(list(values))}, the network's inputs are {listed(names)}")
    return FeedSource({each: _array_feed(values[each], plans[each], name) for each in names}, plans, options)


def _array_feed(values: Array, plan: Preprocessing, name: str) -> Feed:
    return ArrayFeed(_memory(values, name), name, plan, name)


def _memory(values: Any, name: str) -> MemoryArray:
    array = np.asanyarray(values)
    check_dtype(array.dtype, name)
    return MemoryArray(array, name)


def _made(function: Callable[[], Iterable[Sample]], name: str, input_name: str) -> Iterator[MemoryArray]:
    """The arrays for one input that a function makes; its own exceptions become ours."""
    try:
        for sample in function():
            if isinstance(sample, Mapping):
                if input_name not in sample:
                    raise InputError(
                        f"{name}: a sample has no array for input '{input_name}'; it has {listed(list(sample))}"
                    )
                yield _memory(sample[input_name], name)
            else:
                yield _memory(sample, name)
    except InputError:
        raise
    except Exception as error:  # the user's function may raise anything
        raise InputError(f"{name}: raised {type(error).__name__}: {error}; correct the function") from error


def load_function(specification: str) -> Callable[[], Iterable[Sample]]:
    """Import the function of `python:package.module:function`; modules of the current folder are found too.

    Raises:
        InputError: Another form, a module that cannot be imported, or no such function.
    """
    module_name, separator, function_name = specification.removeprefix(PYTHON_PREFIX).partition(":")
    if not (separator and module_name and function_name):
        raise InputError(f"{specification}: is not of the form python:package.module:function")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module_name), function_name, None)
    except Exception as error:  # an import runs the user's code
        raise InputError(
            f"{specification}: cannot be imported ({type(error).__name__}: {error}); correct it"
        ) from error
    finally:
        sys.path.remove(here)
    if not callable(function):
        raise InputError(f"{specification}: module {module_name} has no function {function_name}; check the name")
    return function  # type: ignore[no-any-return]  # what it gives is checked sample by sample
