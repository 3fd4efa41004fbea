"""What a run learns of the float network alone, kept for the next run: `--cache`.

In CI the float network and the samples stay while the second network changes. The first network's calibration, and
every score among its own lanes (data, weight, both, and those of single layers), then come from here, and those lanes
need not run. What is kept are the pooled sums of a whole run, not tensors: a float lane's tensors are tens of megabytes
a sample, and reading them back costs about what computing them does. The float lane itself therefore runs wherever a
second network is measured against it.

An entry is a file named by the hash of its key (network, content of the samples, format, versions); it is written whole
or not at all, so that runs may share a folder. An entry that is damaged counts as missing and is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gfpq_inspect.analyze.assemble import Collected
from gfpq_inspect.analyze.calibration import Calibration
from gfpq_inspect.analyze.checkpoint import State, pack_state, read_state
from gfpq_inspect.analyze.collected_state import SPREADS, restore, seen_by
from gfpq_inspect.analyze.engine.interface import Experiment, Measurement, PointEvidence, RowProblem, RowState
from gfpq_inspect.analyze.lanes import FLOAT, Side, reference_lane
from gfpq_inspect.analyze.request import ComparisonRequest, format_of
from gfpq_inspect.analyze.run_key import digest_of, model_digest, program_key, source_key
from gfpq_inspect.errors import InputError, OutputError
from gfpq_inspect.files import write_atomically
from gfpq_inspect.quantize.formats import FORMATS

SUFFIX = ".gfpqcache"
FIRST = 0


class CacheFolder:
    """Entries by key.

    Args:
        folder: Made where it does not exist.
        tell: Told in a sentence what could not be written; the run goes on.

    Raises:
        OutputError: The folder cannot be made.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: the cache folder cannot be made: {error.strerror}; choose another") from error
        self._folder = folder
        self._tell = tell

    def find(self, key: Mapping[str, str]) -> State | None:
        """The entry of a key; None where there is none that can be used."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            found = read_state(path)
        except InputError:
            return None
        return found["entry"] if found.get("key") == dict(key) and isinstance(found.get("entry"), dict) else None

    def keep(self, key: Mapping[str, str], entry: State) -> None:
        """Write an entry; a disk that refuses costs the entry, not the run."""
        try:
            write_atomically(self._path(key), pack_state({"key": dict(key), "entry": entry}), overwrite=True)
        except OutputError as error:
            self._tell(f"The cache was not written, the run goes on without it: {error}")

    def _path(self, key: Mapping[str, str]) -> Path:
        return self._folder / f"{digest_of(json.dumps(dict(key), sort_keys=True))[:32]}{SUFFIX}"


@dataclass
class LaneCache:
    """The cache as one run sees it.

    Attributes:
        folder: The entries.
        experiment: All lanes of the run.
        calibration_keys: Model to the key of its calibration.
        lanes_key: Key of the first model's lanes.
        digests: 'measured' and 'calibration' to the digest of all samples of the set.
        votes_known: Votes on where errors begin stand on a comparison among the first model's lanes.
    """

    folder: CacheFolder
    experiment: Experiment
    calibration_keys: Mapping[Side, Mapping[str, str]]
    lanes_key: Mapping[str, str]
    digests: Mapping[str, str]
    votes_known: bool
    _lanes: State | None = None

    def look(self) -> None:
        """Find the first model's lanes; an entry of other rows or comparisons is of no use."""
        found = self.folder.find(self.lanes_key)
        wanted = {self.experiment.comparisons[column].name for column in self._columns()}
        if found is not None and wanted <= set(found["comparisons"]) and found["values"] == self._values():
            self._lanes = found

    @property
    def hit(self) -> bool:
        """Whether the first model's lanes are known."""
        return self._lanes is not None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to measure."""
        return self.hit and len(self._columns()) == len(self.experiment.comparisons)

    @property
    def engine_facts(self) -> State:
        """What ran when the entry was made, and what was to be known of it."""
        return {name: (self._lanes or {})[name] for name in ("engine", "engine_notes")}

    # ----------------------------------------------------------------------------------------------------- calibration

    def known_calibration(self) -> dict[Side, State]:
        """Ranges of the points of each model whose calibration is known."""
        found = {side: self.folder.find(key) for side, key in self.calibration_keys.items()}
        return {
            side: entry
            for side, entry in found.items()
            if entry is not None and len(entry["widest"]) == len(self.points_of(side))
        }

    def alone(self, side: Side) -> Experiment:
        """What finds the ranges of one model only."""
        experiment = self.experiment
        points = tuple(experiment.points[index] for index in self.points_of(side))
        # Both models stay in it: the choice of kernels goes by all of them.
        lanes = tuple(reference_lane(entry) for entry in experiment.models)
        return replace(experiment, lanes=lanes, comparisons=(), rows=(), points=points, captured=())

    def keep_calibration(self, calibration: Calibration, known: Mapping[Side, State]) -> None:
        """Keep what was not known."""
        ranges = calibration.state()
        for side, key in self.calibration_keys.items():
            if side not in known:
                places = self.points_of(side)
                self.folder.keep(key, {name: array[places] for name, array in ranges.items()})

    def points_of(self, side: Side) -> list[int]:
        """Places of a model's points."""
        return [index for index, point in enumerate(self.experiment.points) if point.side is side]

    # ----------------------------------------------------------------------------------------------------------- lanes

    def reduced(self) -> Experiment:
        """What is left to run: the float lane and the second model's."""
        if not self.hit or self.complete:
            return self.experiment
        kept = [entry for index, entry in enumerate(self.experiment.comparisons) if index not in set(self._columns())]
        lanes = tuple(lane for lane in self.experiment.lanes if lane.side is Side.SECOND or lane == FLOAT)
        return replace(self.experiment, lanes=lanes, comparisons=tuple(kept))

    def widened(self, measurement: Measurement) -> Measurement:
        """A measurement of what was left to run, with room for what is known."""
        if not self.hit:
            return measurement
        cached = set(self._columns())
        places = [index for index in range(len(self.experiment.comparisons)) if index not in cached]
        samples, rows, _, fields = measurement.sums.shape
        sums = np.zeros((samples, rows, len(self.experiment.comparisons), fields))
        sums[:, :, places] = measurement.sums
        problems = {(row, places[column]): problem for (row, column), problem in measurement.problems.items()}
        return replace(measurement, sums=sums, problems=problems)

    def fill(self, collected: Collected, count: int) -> None:
        """Put what is known beside what was measured."""
        entry = self._lanes
        if entry is None:
            return
        rows, columns = self._rows(), self._columns()
        place = {name: index for index, name in enumerate(entry["comparisons"])}
        source = [place[self.experiment.comparisons[column].name] for column in columns]
        grid = np.ix_(rows, columns)
        if self.complete:
            collected.samples = count
            restore(collected.pool, {**seen_by(collected.pool), "_empty": False})
        collected.pool.sums[grid] = entry["sums"][:, source]
        collected.isolation[rows, FIRST] = entry["isolation"]
        for index, found in zip(self.points_of(Side.FIRST), entry["evidence"], strict=True):
            collected.evidence[index] = PointEvidence(**found)
        for row, name, state, reason in entry["problems"]:
            column = next((c for c in columns if self.experiment.comparisons[c].name == name), None)
            if column is not None:
                collected.problems[rows[row], column] = RowProblem(RowState(state), reason)
        for name in SPREADS:
            self._fill_spread(collected, name, entry["spreads"][name], source)
        if collected.origins is not None and self.votes_known:
            votes = np.zeros_like(collected.origins.state()["votes"])
            votes[rows] = entry["origins"]["votes"]
            collected.origins.restore({"votes": votes, "samples": entry["origins"]["samples"]})
        if collected.task is not None:
            collected.task.merge(entry["task"], [lane.name for lane in self.experiment.lanes])

    def keep_lanes(self, collected: Collected, engine_name: str, engine_notes: Sequence[str]) -> None:
        """Keep what was measured of the first model's lanes, where it was not known."""
        if self.hit:
            return
        rows, columns = self._rows(), self._columns()
        names = [self.experiment.comparisons[column].name for column in columns]
        lanes = [lane.name for lane in self.experiment.lanes if lane.side is Side.FIRST]
        place = {row: index for index, row in enumerate(rows)}
        entry: State = {
            "engine": engine_name,
            "engine_notes": list(engine_notes),
            "values": self._values(),
            "comparisons": names,
            "sums": collected.pool.sums[np.ix_(rows, columns)],
            "isolation": collected.isolation[rows, FIRST],
            "evidence": [vars(collected.evidence[index]) for index in self.points_of(Side.FIRST)],
            "problems": [
                [place[row], self.experiment.comparisons[column].name, int(found.state), found.reason]
                for (row, column), found in collected.problems.items()
                if column in columns and row in place
            ],
            "spreads": {name: self._spread_of(collected, name) for name in SPREADS},
            "origins": None,
            "task": collected.task.decisions_of(lanes) if collected.task is not None else None,
        }
        if collected.origins is not None and self.votes_known:
            origins = collected.origins.state()
            entry["origins"] = {"votes": origins["votes"][rows], "samples": origins["samples"]}
        self.folder.keep(self.lanes_key, entry)

    def _fill_spread(self, collected: Collected, name: str, entry: State, source: list[int]) -> None:
        """Cells of a collector stand row by row, the comparisons of a row beside one another."""
        collector = getattr(collected, name)
        state = seen_by(collector)
        rows, columns = self._rows(), self._columns()
        shape = (len(self.experiment.rows), len(self.experiment.comparisons))
        filled: State = {}
        for part, value in entry.items():
            if part == "_kept":
                kept = None
                if value is not None:
                    empty = np.full((len(value), shape[0] * shape[1]), np.nan)
                    own = np.concatenate(state[part]) if state[part] else empty
                    cells = own.reshape(len(value), *shape)
                    cells[np.ix_(range(len(value)), rows, columns)] = value[:, :, source]
                    kept = [cells.reshape(len(value), -1)]
                filled[part] = kept
            elif isinstance(value, np.ndarray):
                own = state[part]
                own = np.zeros((shape[0] * shape[1], *value.shape[2:]), value.dtype) if own is None else own.copy()
                cells = own.reshape(*shape, *value.shape[2:])
                cells[np.ix_(rows, columns)] = value[:, source]
                filled[part] = cells.reshape(-1, *value.shape[2:])
            else:
                filled[part] = value
        restore(collector, filled)

    def _spread_of(self, collected: Collected, name: str) -> State:
        rows, columns = self._rows(), self._columns()
        shape = (len(self.experiment.rows), len(self.experiment.comparisons))
        state: State = {}
        for part, value in seen_by(getattr(collected, name)).items():
            if part == "_kept":
                grid = np.ix_(range(collected.samples), rows, columns)
                state[part] = None if value is None else np.concatenate(value).reshape(-1, *shape)[grid]
            elif isinstance(value, np.ndarray):
                state[part] = value.reshape(*shape, *value.shape[1:])[np.ix_(rows, columns)]
            else:
                state[part] = value
        return state

    def _rows(self) -> list[int]:
        """Rows that the first model has."""
        return [index for index, row in enumerate(self.experiment.rows) if Side.FIRST in row.values]

    def _values(self) -> list[str]:
        return [self.experiment.rows[index].values[Side.FIRST] for index in self._rows()]

    def _columns(self) -> list[int]:
        """Comparisons among lanes of the first model."""
        side = {lane.name: lane.side for lane in self.experiment.lanes}
        return [
            index
            for index, entry in enumerate(self.experiment.comparisons)
            if side[entry.lane] is Side.FIRST and side[entry.reference] is Side.FIRST
        ]


def lane_cache(
    request: ComparisonRequest, experiment: Experiment, folder: CacheFolder, digests: Mapping[str, str], votes: str
) -> LaneCache:
    """The cache for one run.

    Args:
        request: What is compared.
        experiment: All lanes of the run.
        folder: The entries.
        digests: 'measured' and 'calibration' to the digest of all samples of the set.
        votes: Name of the comparison that votes on where errors begin stand on.
    """
    chosen = format_of(request)
    common = {
        "program": program_key(),
        "engine": f"{request.engine} on {request.device}",
        "format": "float" if chosen is None else chosen.name,
    }
    calibrated = {
        **common,
        "what": "calibration",
        "samples": digests["calibration"],
        "names": source_key(request.calibration or request.source),
    }
    networks = {side: model_digest(model) for side, model in experiment.models.items()}
    entry = next(entry for entry in experiment.comparisons if entry.name == votes)
    votes_known = all(experiment.lane(lane).side is Side.FIRST for lane in (entry.lane, entry.reference))
    lanes = {
        **common,
        "what": "lanes of the first network",
        "network": networks[Side.FIRST],
        "samples": digests["measured"],
        "names": source_key(request.source),
        "coefficients": request.coefficients,
        "calibration": digests["calibration"] + calibrated["names"],
        "stored": digest_of(repr(request.stored_coefficients.file)) if request.stored_coefficients else "",
        "labels": digest_of(repr(request.labels.classes)) if request.labels else "",
        "outputs": " ".join(request.task_outputs),
        "lanes": " ".join(lane.name for lane in experiment.lanes if lane.side is Side.FIRST),
        "votes": f"{votes} {request.threshold!r}" if votes_known else "",
    }
    found = LaneCache(
        folder,
        experiment,
        {side: {**calibrated, "network": network} for side, network in networks.items()},
        lanes,
        digests,
        votes_known,
    )
    found.look()
    return found


def why_not(request: ComparisonRequest) -> str:
    """Why a run cannot use the cache, one clause; '' where it can."""
    if request.metrics or request.task_metrics:
        return "metrics of the caller's own must see every sample"
    if request.dump is not None:
        return "a dump is read, not run"
    chosen = format_of(request)
    if chosen is not None and FORMATS.get(chosen.name) is not chosen:
        return "the format is not one of this program's own"
    return ""
