"""Runs that are stopped and go on, runs that know each other, runs in little memory: all with the same result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze import checkpoint as checkpoints
from gfpq_inspect.analyze.memory import parse_size
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.errors import InputError, OutputError, UsageError
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.models.model import Model
from gfpq_inspect.report.jsonfile import render_json

from .networks import ArraySource, samples, small_network

COUNT = 40
DATA = samples(COUNT, 3, 8, 8)
LABELS = Labels(tuple(index % 10 for index in range(COUNT)), "a test")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_network().build(tmp_path_factory.mktemp("net"), "prob")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_network(seed=5).build(tmp_path_factory.mktemp("tuned"), "prob")


def request_of(model: Model, data: NDArray[Any] = DATA, **options: Any) -> ComparisonRequest:
    source = ArraySource({"x": data})
    given = {"labels": LABELS, "timing": False, "batch": 4, **options}
    return ComparisonRequest(first=model, source=source, **given)


class Stopping:
    """Progress that interrupts the run in a phase, after so many steps of it."""

    def __init__(self, phase: str, after: int) -> None:
        self.wanted, self.after, self.now = phase, after, ""

    def note(self, text: str) -> None:
        pass

    def phase(self, name: str, _total: int) -> None:
        self.now = name
        if name == self.wanted and not self.after:
            raise KeyboardInterrupt

    def advance(self, count: int, _current: str) -> None:
        if self.now == self.wanted:
            self.after -= count
            if self.after <= 0:
                self.wanted = ""
                raise KeyboardInterrupt


PHASES = [("calibrating", 9), ("measuring", 0), ("measuring", 300), ("looking for causes", 0)]


@pytest.mark.parametrize("stop", PHASES, ids=lambda stop: f"{stop[0]} {stop[1]}")
@pytest.mark.parametrize("options", [{}, {"coefficients": "sample"}, {"workers": 1}], ids=["set", "sample", "alone"])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    network: Model, tuned: Model, tmp_path: Path, stop: tuple[str, int], options: dict[str, Any]
) -> None:
    phase, after = stop
    if options.get("coefficients") == "sample" and phase == "calibrating":
        return
    request = request_of(network, second=tuned, **options)
    kept = replace(request, checkpoint=tmp_path / "c")
    stopped: Result | None = None
    try:
        stopped = compare_networks(kept, Stopping(phase, after))
    except KeyboardInterrupt:
        assert after == 0 or phase == "calibrating"
    assert stopped is None or stopped.judgement.partial
    assert (tmp_path / "c").exists()
    resumed = compare_networks(replace(kept, resume=True))
    assert not resumed.judgement.partial
    assert render_json(resumed) == render_json(compare_networks(request))


def test_stopped_while_causes_are_looked_for(network: Model) -> None:
    result = compare_networks(request_of(network), Stopping("looking for causes", 0))
    assert result.judgement.partial
    assert result.run.inputs.sample_count == COUNT
    assert result.findings == ()
    assert "before causes were looked for" in result.judgement.sentence


def test_more_than_the_spreads_keep(network: Model, tmp_path: Path) -> None:
    """Beyond 512 samples scores go into bins."""
    data = samples(600, 3, 8, 8)
    request = request_of(network, data, labels=None, batch=50)
    kept = replace(request, checkpoint=tmp_path / "c")
    assert compare_networks(kept, Stopping("measuring", 6000)).judgement.partial
    resumed = compare_networks(replace(kept, resume=True, batch=7))
    assert render_json(resumed) == render_json(compare_networks(request))


Change = Callable[[ComparisonRequest, Model], ComparisonRequest]
DIFFERENT: list[tuple[str, str, Change]] = [
    ("bits", "the format was gfpq8 and is gfpq16", lambda request, _: replace(request, bits=16)),
    ("network", "the first network has changed", lambda request, other: replace(request, first=other)),
    ("second", "the second network is new", lambda request, other: replace(request, second=other)),
    ("threshold", "--threshold was 0.98 and is 0.9", lambda request, _: replace(request, threshold=0.9)),
    ("labels", "the labels is gone", lambda request, _: replace(request, labels=None)),
    (
        "names",
        "the samples' names has changed",
        lambda request, _: replace(request, source=ArraySource({"x": DATA[:9]})),
    ),
]


@pytest.mark.parametrize(("text", "change"), [entry[1:] for entry in DIFFERENT], ids=[entry[0] for entry in DIFFERENT])
def test_another_run_is_refused(network: Model, tuned: Model, tmp_path: Path, text: str, change: Change) -> None:
    request = request_of(network, checkpoint=tmp_path / "c")
    compare_networks(request, Stopping("measuring", 300))
    with pytest.raises(UsageError, match=text):
        compare_networks(replace(change(request, tuned), resume=True))


def test_other_samples_under_the_same_names_are_refused(network: Model, tmp_path: Path) -> None:
    request = request_of(network, checkpoint=tmp_path / "c")
    compare_networks(request, Stopping("measuring", 300))
    other = DATA.copy()
    other[0, 0, 0, 0] += 1
    with pytest.raises(InputError, match="are not those that the run to be resumed has seen"):
        compare_networks(replace(request, source=ArraySource({"x": other}), resume=True))
    late = DATA.copy()
    late[-1] += 1
    with pytest.raises(InputError, match="have changed since the calibration"):
        compare_networks(replace(request, source=ArraySource({"x": late}), resume=True))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"{}"])
def test_a_damaged_checkpoint_is_refused(network: Model, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no checkpoint that can be used"):
        compare_networks(request_of(network, checkpoint=path, resume=True))


def test_every_cut_of_a_checkpoint_is_noticed(network: Model, tmp_path: Path) -> None:
    path = tmp_path / "c"
    compare_networks(request_of(network, checkpoint=path), Stopping("measuring", 300))
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:place])
        with pytest.raises(InputError):
            checkpoints.read_state(path)
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        path.write_bytes(bytes(flipped))
        try:
            checkpoints.read_state(path)
        except InputError:
            continue


def test_a_disk_that_refuses_costs_the_checkpoint_only(
    network: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr(checkpoints, "write_atomically", refuse)
    told: list[str] = []
    request = request_of(network)
    result = compare_networks(replace(request, checkpoint=tmp_path / "c", warn=told.append))
    assert render_json(result) == render_json(compare_networks(request))
    assert len(told) == 1
    assert "goes on without it: no space left" in told[0]


# What earlier runs learnt


@pytest.mark.parametrize("count", [COUNT, 600])
def test_a_second_run_is_the_same_and_spares_lanes(network: Model, tuned: Model, tmp_path: Path, count: int) -> None:
    data = samples(count, 3, 8, 8)
    labels = Labels(tuple(index % 10 for index in range(count)), "a test")
    for second in (None, tuned):
        request = request_of(network, data, second=second, labels=labels)
        plain = render_json(compare_networks(request))
        cached = replace(request, cache=tmp_path / "cache")
        assert render_json(compare_networks(cached)) == plain
        steps = Counting()
        assert render_json(compare_networks(cached, steps)) == plain
        assert "calibrating" not in steps.done
        if second is None:
            assert "measuring" not in steps.done


class Counting:
    """Progress that counts."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.now = ""

    def note(self, text: str) -> None:
        pass

    def phase(self, name: str, _total: int) -> None:
        self.now = name

    def advance(self, count: int, _current: str) -> None:
        self.done[self.now] = self.done.get(self.now, 0) + count


def test_another_second_network_finds_the_first_ones_lanes(network: Model, tuned: Model, tmp_path: Path) -> None:
    request = request_of(network, second=network, cache=tmp_path)
    compare_networks(request)
    changed = replace(request, second=tuned)
    steps = Counting()
    found = compare_networks(changed, steps)
    assert steps.done["calibrating"] == COUNT
    assert render_json(found) == render_json(compare_networks(replace(changed, cache=None)))


@pytest.mark.parametrize(
    "change",
    [
        lambda request: replace(request, source=ArraySource({"x": DATA * np.float32(1.5)})),
        lambda request: replace(request, bits=16),
        lambda request: replace(request, coefficients="sample"),
        lambda request: replace(request, labels=None),
        lambda request: replace(request, threshold=0.9999),
        lambda request: replace(request, calibration=ArraySource({"x": DATA[:7]})),
    ],
    ids=["data", "bits", "sample", "labels", "threshold", "calibration"],
)
def test_what_differs_is_not_found(network: Model, tmp_path: Path, change: Any) -> None:
    request = request_of(network, cache=tmp_path)
    compare_networks(request)
    other = change(request)
    assert render_json(compare_networks(other)) == render_json(compare_networks(replace(other, cache=None)))


def test_damaged_entries_are_made_anew(network: Model, tmp_path: Path) -> None:
    request = request_of(network, cache=tmp_path)
    plain = render_json(compare_networks(replace(request, cache=None)))
    compare_networks(request)
    entries = sorted(tmp_path.iterdir())
    assert len(entries) == 2
    whole = {path: path.read_bytes() for path in entries}
    for path in entries:
        path.write_bytes(whole[path][: len(whole[path]) // 2])
    assert render_json(compare_networks(request)) == plain
    assert {path: path.read_bytes() for path in entries} == whole


def test_a_cache_that_cannot_be_written(network: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cache folder cannot be made"):
        compare_networks(request_of(network, cache=tmp_path / "file" / "cache"))


def test_metrics_of_the_callers_own_keep_the_cache_out(network: Model, tmp_path: Path) -> None:
    told: list[str] = []
    metrics = {"largest": lambda outputs, _: float(outputs["prob"].max())}
    request = request_of(network, task_metrics=metrics, cache=tmp_path / "cache", warn=told.append)
    assert compare_networks(request).task is not None
    assert told == ["The cache is not used: metrics of the caller's own must see every sample."]


# Memory


def test_memory_picks_the_batch_and_changes_nothing(network: Model) -> None:
    request = request_of(network, batch=None)
    assert render_json(compare_networks(replace(request, max_memory=4 << 30))) == render_json(compare_networks(request))
    with pytest.raises(UsageError, match=r"not even one sample fits: \d+ MB are in use .* give at least \d+ MB"):
        compare_networks(replace(request, max_memory=1 << 20))


def test_sizes() -> None:
    assert parse_size("500M") == 500 << 20
    assert parse_size(" 1.5 GiB") == 3 << 29
    assert parse_size("123456") == 123456
    for text in ("", "G", "-1M", "much", "nan", "1e999"):
        with pytest.raises(UsageError, match="is no size"):
            parse_size(text)


def test_a_run_with_a_cache_can_be_stopped_and_resumed(network: Model, tuned: Model, tmp_path: Path) -> None:
    request = request_of(network, second=tuned, cache=tmp_path / "cache")
    plain = render_json(compare_networks(request))
    kept = replace(request, checkpoint=tmp_path / "c")
    part = compare_networks(kept, Stopping("measuring", 300))
    assert part.judgement.partial
    assert 0 < part.run.inputs.sample_count < COUNT
    assert render_json(part)
    assert render_json(compare_networks(replace(kept, resume=True))) == plain
    with pytest.raises(UsageError, match="the cache is gone"):
        compare_networks(replace(kept, resume=True, cache=None))
