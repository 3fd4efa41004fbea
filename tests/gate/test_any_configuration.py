"""Whatever a configuration holds, it is read or refused with a sentence, never with a traceback."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gfpq_inspect.errors import UserError
from gfpq_inspect.gate.baseline import baseline_of
from gfpq_inspect.gate.configuration import GATE_KEYS, parse_configuration
from gfpq_inspect.gate.github import workflow_commands
from gfpq_inspect.gate.judge import judge
from gfpq_inspect.gate.junit import render_junit
from gfpq_inspect.gate.markdown import render_markdown
from gfpq_inspect.gate.places import Places
from gfpq_inspect.gate.sarif import render_sarif
from gfpq_inspect.gate.settings import ALLOWABLE, CHANGEABLE, METRICS, OVER, PERCENTILES
from tests.gate.results import result, task

NUMBERS = st.one_of(st.floats(), st.integers(-200, 200), st.sampled_from([0.5, 0.9, 0.98, 0.95, *PERCENTILES]))
DATES = st.dates()
LEAVES: Any = st.one_of(
    NUMBERS,
    st.booleans(),
    st.text(max_size=6),
    DATES,
    st.sampled_from(["conv*", "fc", "ReLU", "both", *OVER, *METRICS]),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
LIMIT_KEYS = st.sampled_from([*METRICS, "layers", "types", "outputs", "over", "percentile", "confidence", "comparison"])
GOOD_LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "cosine": st.sampled_from([0.5, 0.98, 0.995]), "sqnr_db": st.sampled_from([1.0, 22.0]),
        "norm_ratio": st.sampled_from([[0.9, 1.1], [0.99, float("inf")]]), "agreement": st.sampled_from([0.5, 0.99]),
        "layers": st.sampled_from(["conv*", ["fc", "relu2"], "*"]), "types": st.sampled_from(["ReLU", "Convolution"]),
        "outputs": st.just(True), "over": st.sampled_from(OVER), "percentile": st.sampled_from(PERCENTILES),
        "confidence": st.sampled_from([0.9, 0.95]), "comparison": st.sampled_from(["both", "data"]),
    },
)  # fmt: skip
ALLOWANCES = st.fixed_dictionaries(
    {"what": st.sampled_from(ALLOWABLE), "reason": st.just("r"), "expires": DATES},
    optional={"layers": st.sampled_from(["conv2", "*"])},
)
BASELINES = st.fixed_dictionaries({"file": st.just("b")}, optional={"may_change": st.sampled_from(CHANGEABLE)})
GATES = st.one_of(
    st.dictionaries(st.sampled_from(GATE_KEYS) | st.text(max_size=5), VALUES, max_size=4),
    st.fixed_dictionaries({"limits": st.lists(st.dictionaries(LIMIT_KEYS, VALUES, max_size=4), max_size=2)}),
    st.fixed_dictionaries(
        {"limits": st.lists(GOOD_LIMITS, max_size=3), "allow": st.lists(ALLOWANCES, max_size=2)},
        optional={"baseline": BASELINES, "cosine": st.sampled_from([0.9, 0.999]), "verdict": st.booleans()},
    ),
)


@given(GATES)
def test_read_or_refused(gate: dict[str, Any]) -> None:
    of = result(task=task())
    try:
        settings = parse_configuration({"gate": gate}, "limits.toml", folder=Path())
        baseline = baseline_of(of, "both") if settings.baseline is not None else None
        report = judge(of, settings, today=datetime.date(2026, 1, 1), baseline=baseline)
    except UserError as error:
        assert str(error).startswith("limits.toml: ")  # noqa: PT017  (being refused is no must)
        return
    assert report.passed is (not report.failures)
    assert report.checks
    for text in (render_junit(report, Places()), render_sarif(report, Places()), render_markdown(report)):
        assert text.endswith("\n")
    assert len(workflow_commands(report, Places())) >= bool(report.failures)
