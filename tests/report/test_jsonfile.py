"""The result file: what is written comes back, damage is refused with its place, bytes are stable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfpq_inspect.analyze.result import Result, Scores, Spread, Status
from gfpq_inspect.errors import InputError, InternalError, OutputError
from gfpq_inspect.report import jsonfile
from gfpq_inspect.report.columns import round_scores
from gfpq_inspect.report.schema import result_schema
from tests.report import samples

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "reports" / "schema" / "result-1.schema.json"


@pytest.fixture(scope="module", params=sorted(samples.SAMPLES))
def result(request: pytest.FixtureRequest) -> Result:
    return samples.SAMPLES[request.param]()


def rounded(result: Result) -> Result:
    rows = (replace(row, scores={k: round_scores(v) for k, v in row.scores.items()}) for row in result.layers)
    return replace(result, layers=tuple(rows))


def test_everything_comes_back(result: Result) -> None:
    assert jsonfile.parse_result(jsonfile.render_json(result), "x") == rounded(result)


def test_the_same_bytes_again(result: Result) -> None:
    text = jsonfile.render_json(result)
    assert jsonfile.render_json(jsonfile.parse_result(text, "x")) == text
    assert text.isascii()


def test_it_fits_the_published_schema(result: Result) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(jsonfile.render_json(result)), schema)


def test_the_published_schema_is_that_of_the_contract() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == result_schema(), "run: python -m tests.report.rebaseline"


def test_timing_can_be_left_out(result: Result) -> None:
    later = replace(result, timing=replace(result.timing, elapsed_s=99.0)) if result.timing else result
    assert jsonfile.render_json(later) != jsonfile.render_json(result)
    assert jsonfile.render_json(later, timing=False) == jsonfile.render_json(result, timing=False)


def test_details_can_stay_packed() -> None:
    text = jsonfile.render_json(samples.tiny())
    assert jsonfile.parse_result(text, "x", details=False) == replace(rounded(samples.tiny()), details={})


def test_unknown_members_are_passed_over() -> None:
    document = json.loads(jsonfile.render_json(samples.tiny()))
    document["later"] = {"addition": 1}
    document["run"]["later"] = 1
    document["layers"]["columns"]["later"] = [1]
    assert jsonfile.parse_result(json.dumps(document), "x") == rounded(samples.tiny())


def test_arrays_of_any_library_are_plain_in_the_file() -> None:
    row = samples.tiny().layers[1]
    scores = replace(row.scores["both"], cosine=np.float32(0.5), count=np.int64(7))
    odd = replace(
        samples.tiny(),
        layers=(replace(row, scores={"both": scores}, inputs=()),),
        details={"layers": {"conv1": {"counts": np.arange(3), "edge": np.float64(0.5), "pair": (1, 2)}}},
    )
    back = jsonfile.parse_result(jsonfile.render_json(odd), "x")
    assert back.layers[0].scores["both"].cosine == 0.5
    assert back.details == {"layers": {"conv1": {"counts": [0, 1, 2], "edge": 0.5, "pair": [1, 2]}}}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know_are_our_bug(value: float) -> None:
    row = samples.tiny().layers[1]
    with pytest.raises(InternalError, match="cosine"):
        jsonfile.render_json(
            replace(samples.tiny(), layers=(replace(row, scores={"both": Scores(Status.OK, cosine=value)}),))
        )
    with pytest.raises(InternalError, match=r"details\.a\[0\]"):
        jsonfile.render_json(replace(samples.tiny(), details={"a": [value]}))


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
maybe = st.none() | finite
spreads = st.none() | st.builds(Spread, maybe, maybe, st.none() | st.text(max_size=5), maybe)
scores_strategy = st.builds(
    Scores,
    status=st.sampled_from(Status),
    reason=st.text(max_size=8),
    flags=st.lists(st.sampled_from(Status), max_size=2).map(tuple),
    count=st.integers(0, 2**53),
    cosine=st.none() | st.floats(-1, 1),
    sqnr_db=maybe,
    max_abs_error=maybe,
    first_nonfinite=st.none() | st.integers(0, 2**40),
    cosine_spread=spreads,
    sqnr_db_spread=spreads,
)
names = st.text(st.characters(), max_size=12)


@st.composite
def results(draw: st.DrawFn) -> Result:
    base = samples.tiny()
    rows = []
    for key in draw(st.lists(names, max_size=6, unique=True)):
        row = draw(st.sampled_from(base.layers))
        scores = draw(st.dictionaries(st.sampled_from(["data", "weight", "both", names]), scores_strategy, max_size=3))
        rows.append(
            replace(
                row,
                key=key,
                name=draw(names),
                partner=draw(st.none() | names),
                shape=tuple(draw(st.lists(st.integers(0, 9), max_size=4))),
                inputs=tuple(draw(st.lists(names, max_size=3))),
                notes=tuple(draw(st.lists(names, max_size=2))),
                scores={k: v for k, v in scores.items() if isinstance(k, str)},
                isolation=draw(st.none() | st.just(row.isolation)),
            )
        )
    return replace(base, layers=tuple(rows), details={})


@given(results())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_result_comes_back(result: Result) -> None:
    text = jsonfile.render_json(result)
    back = jsonfile.parse_result(text, "x")
    assert back == rounded(result)
    assert jsonfile.render_json(back) == text
    jsonschema.validate(json.loads(text), SCHEMA)


SCHEMA = result_schema()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            found += places(item, (*path, index))
    return found


SMALL = json.loads(jsonfile.render_json(replace(samples.tuned(), layers=samples.tuned().layers[:3])))
PLACES = [path for path in places(SMALL) if path]


@given(st.sampled_from(PLACES), st.sampled_from([None, True, -3, 2.5, "x", [], {}, [[1]], {"a": 1}, 10**30]))
@settings(max_examples=400, deadline=None)
def test_damage_is_refused_or_harmless_but_never_a_crash(path: tuple[Any, ...], damage: Any) -> None:
    document = json.loads(json.dumps(SMALL))
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = damage
    refusal = ""
    try:
        back = jsonfile.parse_result(json.dumps(document), "damaged.json")
    except InputError as error:
        refusal = str(error)
    else:
        jsonfile.render_json(back)
        jsonschema.validate(document, SCHEMA)
    assert not refusal or refusal.startswith("damaged.json")
    assert len(refusal) < 400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("strings"), "has no 'strings'"),
        (lambda d: d.update(format="something"), "is JSON, but no gfpq-inspect result"),
        (lambda d: d.update(schema_version=2), "install a newer gfpq-inspect"),
        (lambda d: d.update(schema_version=0), "schema_version"),
        (lambda d: d["layers"]["columns"]["key"].pop(), r"layers\.columns\.key: expected 10 values, found 9"),
        (lambda d: d["layers"]["columns"].pop("status"), "column 'status' is missing"),
        (lambda d: d["layers"]["columns"]["key"].__setitem__(0, 10**6), "is no index into"),
        (lambda d: d["layers"]["columns"]["key"].__setitem__(0, d["layers"]["columns"]["key"][1]), "same key"),
        (
            lambda d: d["layers"]["scores"]["both"]["cosine"].__setitem__(3, "x"),
            r"scores\.both\.cosine: expected float",
        ),
        (lambda d: d["details"].update(data="AAAA"), r"details\.data: is damaged"),
        (lambda d: d["details"].update(bytes=5), r"details\.data: inflates to another length"),
        (lambda d: d["judgement"].update(good=1), r"judgement\.good: expected bool, found 1"),
    ],
)
def test_damage_is_named_with_its_place(change: Callable[[dict[str, Any]], Any], words: str) -> None:
    document = json.loads(jsonfile.render_json(samples.tiny()))
    change(document)
    with pytest.raises(InputError, match=words):
        jsonfile.parse_result(json.dumps(document), "damaged.json")


@pytest.mark.parametrize(
    "content", [b"", b"  \n", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"a": NaN}', b"\x1f\x8b\x08"]
)
def test_files_that_are_no_results(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json"):
        jsonfile.read_result(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        jsonfile.read_result(tmp_path / "none.json")


def test_a_block_that_would_fill_the_memory_is_stopped() -> None:
    document = jsonfile.to_document(samples.tiny())
    bomb = jsonfile.pack_details({"x": "0" * 10_000_000})
    assert bomb is not None
    document["details"] = bomb | {"bytes": 100}
    with pytest.raises(InputError, match="inflates to another length"):
        jsonfile.parse_result(json.dumps(document), "x")


def test_older_versions_are_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonfile, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(jsonfile.UPGRADES, 1, lambda document: document | {"steps": [1]})
    monkeypatch.setitem(jsonfile.UPGRADES, 2, lambda document: document | {"steps": [*document["steps"], 2]})
    old = {"format": jsonfile.FORMAT, "schema_version": 1}
    assert jsonfile.upgraded(old)["steps"] == [1, 2]


def test_every_older_version_has_its_step() -> None:
    assert sorted(jsonfile.UPGRADES) == list(range(1, jsonfile.SCHEMA_VERSION))


def test_files_are_written_whole_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    jsonfile.write_result(samples.tiny(), path)
    with pytest.raises(OutputError, match="exists already"):
        jsonfile.write_result(samples.tuned(), path)
    assert jsonfile.read_result(path) == rounded(samples.tiny())
    assert list(tmp_path.iterdir()) == [path]


def test_the_layer_table_of_1500_layers_stays_small() -> None:
    text = jsonfile.render_json(samples.large(details=False, two_models=True))
    assert len(text) < 5_000_000
