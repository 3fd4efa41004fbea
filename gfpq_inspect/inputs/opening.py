"""From `--input` to samples for every input of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.arrays import StoredArray
from gfpq_inspect.inputs.callables import PYTHON_PREFIX, load_function, open_values
from gfpq_inspect.inputs.feed import ArrayFeed, ChainedFeed, Feed, open_feed, stored_arrays
from gfpq_inspect.inputs.feed_source import FeedSource
from gfpq_inspect.inputs.files import Item, find_items
from gfpq_inspect.inputs.nnie import NNIE_SUFFIX, open_nnie_inputs, read_nnie_config
from gfpq_inspect.inputs.options import DEFAULT_SYNTHETIC_SAMPLES, InputOptions, listed, split_name
from gfpq_inspect.inputs.plans import plan_for
from gfpq_inspect.inputs.preprocess import Preprocessing
from gfpq_inspect.inputs.synthetic import SyntheticFeed
from gfpq_inspect.models.model import ModelInput


def open_inputs(
    specifications: Sequence[str],
    model_inputs: Sequence[ModelInput],
    options: InputOptions | None = None,
    *,
    batchable: bool = True,
) -> FeedSource:
    """Open what feeds a network; without specifications, seeded synthetic noise.

    Files are found and their headers read now, so that a missing or foreign file is told before the run; pixels and
    values are read when batches are asked for, a few at a time.

    Args:
        specifications: Each a file (arrays: .npy, .npz, HDF5, idx; images; raw frames; a list of paths), a folder, an
            LMDB or a pattern, or `NAME=` one of these. Those for one input follow one another. A file of named arrays
            feeds every input that it has an array for. `python:module:function` makes samples for all inputs; an
            nnie_mapper configuration (.cfg) says all about them.
        model_inputs: The network's inputs, with their final shapes.
        options: Preprocessing and sample count.
        batchable: Whether axis 0 of the inputs counts samples (`Model.batchable`); if not, a sample is what the
            network takes at a time.

    Returns:
        The samples.

    Raises:
        InputError: A file that cannot serve, an input without data, counts that differ.
        UsageError: Options that do not fit the network.
    """
    options = options or InputOptions()
    if not model_inputs:
        raise InputError("the network has no input to feed; it computes constants only")
    if any(specification.lower().endswith(NNIE_SUFFIX) for specification in specifications):
        return _open_nnie(specifications, model_inputs, options, batchable=batchable)
    if any(specification.startswith(PYTHON_PREFIX) for specification in specifications):
        if len(specifications) > 1:
            raise UsageError(f"--input {PYTHON_PREFIX}... feeds all inputs; give it alone")
        function = load_function(specifications[0])
        return open_values(function, model_inputs, options, batchable=batchable, name=specifications[0])
    alone = len(model_inputs) == 1
    plans = {each.name: plan_for(each, options, batchable=batchable, alone=alone) for each in model_inputs}
    if not specifications:
        count = options.samples or DEFAULT_SYNTHETIC_SAMPLES
        noise = {
            name: SyntheticFeed(plan, options.seed, position, count)
            for position, (name, plan) in enumerate(plans.items())
        }
        return FeedSource(noise, plans, options)
    found: dict[str, list[Feed]] = {name: [] for name in plans}
    for specification in specifications:
        for name, feed in _feeds_of(specification, plans):
            found[name].append(feed)
    missing = [name for name, feeds in found.items() if not feeds]
    if missing:
        raise InputError(
            f"there are no data for input {listed(missing)} of the network; give --input {missing[0]}=FILE"
        )
    return FeedSource({name: _chained(feeds) for name, feeds in found.items()}, plans, options)


def _open_nnie(
    specifications: Sequence[str], model_inputs: Sequence[ModelInput], options: InputOptions, *, batchable: bool
) -> FeedSource:
    path = specifications[0]
    if len(specifications) > 1:
        raise UsageError("an nnie_mapper configuration feeds all inputs; give it alone")
    for name in ("mean", "scale", "channel_order"):
        if getattr(options, name) is not None and not options.defaults_from:
            said = name.replace("_", "-")
            raise UsageError(f"--{said} and {path} both say how to preprocess; leave --{said} out")
    return open_nnie_inputs(read_nnie_config(Path(path)), model_inputs, batchable=batchable, samples=options.samples)


def _feeds_of(specification: str, plans: Mapping[str, Preprocessing]) -> Iterator[tuple[str, Feed]]:
    name, path = split_name(specification, tuple(plans))
    if name is not None:
        yield name, open_feed(path, plans[name])
    elif len(plans) == 1:
        only = next(iter(plans))
        yield only, open_feed(path, plans[only])
    else:
        for item in find_items(path)[0]:
            arrays = stored_arrays(item.path)
            if arrays is None or arrays[0].name is None:
                raise UsageError(
                    f"--input {specification} names no input, and the network has {listed(tuple(plans))}; "
                    f"write NAME={specification}"
                )
            yield from _named_arrays(item, arrays, plans)


def _named_arrays(
    item: Item, arrays: Sequence[StoredArray], plans: Mapping[str, Preprocessing]
) -> Iterator[tuple[str, Feed]]:
    """The arrays of a file that carry the names of inputs."""
    named = {array.name: array for array in arrays}
    if not set(named) & set(plans):
        raise InputError(
            f"{item.path}: holds {listed([str(name) for name in named])}, but the network's inputs are "
            f"{listed(tuple(plans))}; save the arrays under the inputs' names"
        )
    for name, plan in plans.items():
        if name in named:
            yield name, ArrayFeed(named[name], item.name, plan, item.name, arrays)


def _chained(feeds: Sequence[Feed]) -> Feed:
    if len(feeds) == 1:
        return feeds[0]
    descriptions = list(dict.fromkeys(feed.description for feed in feeds))
    said = ", ".join(descriptions[:4]) + (f" and {len(descriptions) - 4} more" if len(descriptions) > 4 else "")
    return ChainedFeed(tuple(feeds), said)
