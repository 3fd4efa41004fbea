"""JUnit, SARIF, GitHub, Markdown: their own rules kept, whatever a layer is called."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from gfpq_inspect.errors import OutputError
from gfpq_inspect.gate import github, junit, markdown, sarif
from gfpq_inspect.gate.judge import judge
from gfpq_inspect.gate.outcome import GateReport
from gfpq_inspect.gate.places import Places
from tests.gate.results import result, row, scores, settings

TODAY = datetime.date(2026, 6, 1)
HOSTILE = [
    "::error::own command",
    "::add-mask::secret",
    "##[group]x",
    "a,b:c%0A::warning::d",
    "line\nbreak\r\n::stop-commands::x",
    '"/><failure message="x',
    "]]><!-- & &amp; 'quoted'",
    "</summary><img src=x onerror=alert(1)>",
    "@everyone [link](https://example.org) ![i](j)",
    "`code` | cell | **bold** _x_",
    "[text](1) {0} {{1}} \\[",
    "\u202eevil\u2066 \x00\x1b[31m \ud800 \uffff",
    "é中文😀",
    "x" * 5000,
]
PLACES = Places("limits.toml", {"first": "nets/my net.prototxt"}, "base.json")


def hostile_report() -> GateReport:
    rows = [row(name, index=index, judged=scores(0.5, 1.0)) for index, name in enumerate(HOSTILE)]
    allow = [{"what": "sqnr_db", "reason": "ticket ::7 | <b>", "expires": "2030-01-01"}]
    return judge(result(*rows), settings(cosine=0.9, sqnr_db=10, allow=allow), today=TODAY)


def test_junit_is_xml_and_counts() -> None:
    report = hostile_report()
    text = junit.render_junit(report, PLACES)
    assert text.isascii()
    root = ElementTree.fromstring(text)
    cases = root.findall("testsuite/testcase")
    assert len(cases) == int(root.get("tests", "")) == len(report.checks)
    assert len(root.findall("testsuite/testcase/failure")) == int(root.get("failures", "")) == len(HOSTILE)
    assert len(root.findall("testsuite/testcase/skipped")) == int(root.get("skipped", "")) == len(HOSTILE)
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(names)
    assert ("gfpq-inspect.cosine", "é中文😀 [gate.cosine]") in names
    first = root.find("testsuite[@name='cosine']/testcase")
    assert first is not None
    assert (first.get("file"), first.get("line")) == ("nets/my net.prototxt", "10")
    assert text == junit.render_junit(hostile_report(), PLACES)


OBJECT = {"type": "object", "additionalProperties": False}
TEXT = {"type": "string", "minLength": 1}
MESSAGE = OBJECT | {"required": ["text"], "properties": {"text": TEXT}}
SARIF_PARTS: dict[str, Any] = OBJECT | {
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": OBJECT
            | {
                "required": ["tool"],
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": OBJECT
                    | {
                        "required": ["driver"],
                        "properties": {
                            "driver": OBJECT
                            | {
                                "required": ["name"],
                                "properties": {
                                    "name": TEXT,
                                    "version": TEXT,
                                    "semanticVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": OBJECT
                                        | {
                                            "required": ["id"],
                                            "properties": {
                                                "id": TEXT,
                                                "name": TEXT,
                                                "shortDescription": MESSAGE,
                                                "defaultConfiguration": OBJECT
                                                | {
                                                    "properties": {
                                                        "level": {"enum": ["none", "note", "warning", "error"]}
                                                    }
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": OBJECT
                        | {
                            "required": ["executionSuccessful"],
                            "properties": {"executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"}},
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": OBJECT
                        | {
                            "required": ["message"],
                            "properties": {
                                "ruleId": TEXT,
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": MESSAGE,
                                "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
                                "suppressions": {
                                    "type": "array",
                                    "items": OBJECT
                                    | {
                                        "required": ["kind"],
                                        "properties": {
                                            "kind": {"enum": ["inSource", "external"]},
                                            "status": {"enum": ["accepted", "underReview", "rejected"]},
                                            "justification": {"type": "string"},
                                        },
                                    },
                                },
                                "locations": {
                                    "type": "array",
                                    "items": OBJECT
                                    | {
                                        "properties": {
                                            "physicalLocation": OBJECT
                                            | {
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": OBJECT
                                                    | {
                                                        "properties": {
                                                            "uri": {
                                                                "type": "string",
                                                                "pattern": r"^[A-Za-z0-9/._~%-]+$",
                                                            },
                                                            "uriBaseId": {"type": "string"},
                                                        }
                                                    },
                                                    "region": OBJECT
                                                    | {"properties": {"startLine": {"type": "integer", "minimum": 1}}},
                                                },
                                            },
                                            "logicalLocations": {
                                                "type": "array",
                                                "items": OBJECT
                                                | {
                                                    "properties": {
                                                        "name": TEXT,
                                                        "fullyQualifiedName": TEXT,
                                                        "kind": TEXT,
                                                    }
                                                },
                                            },
                                        }
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What SARIF 2.1.0's schema asks of the objects that we write; no further member is allowed in any of them."""


def test_sarif_keeps_its_schema() -> None:
    report = hostile_report()
    text = sarif.render_sarif(report, PLACES)
    assert text.isascii()
    document = json.loads(text)
    jsonschema.validate(document, SARIF_PARTS)
    run = document["runs"][0]
    results = run["results"]
    assert len(results) == len(report.failures) + len(report.allowed)
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[found["ruleIndex"]] == found["ruleId"] for found in results)
    assert sum("suppressions" in found for found in results) == len(HOSTILE)
    prints = [found["partialFingerprints"]["gfpqInspectCheck/v1"] for found in results]
    assert len(set(prints)) == len(prints)
    physical = results[0]["locations"][0]["physicalLocation"]
    assert physical == {
        "artifactLocation": {"uri": "nets/my%20net.prototxt", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 10},
    }
    assert text == sarif.render_sarif(hostile_report(), PLACES)


def test_sarif_messages_hold_no_links_and_no_placeholders() -> None:
    document = json.loads(sarif.render_sarif(hostile_report(), PLACES))
    for found in document["runs"][0]["results"]:
        text = found["message"]["text"]
        assert not re.search(r"(?<!\\)\[", text.replace("\\\\", ""))
        assert not re.search(r"\{\d+\}", text.replace("{{", "").replace("}}", ""))


def test_workflow_commands_are_a_line_each_and_ours_alone() -> None:
    report = hostile_report()
    lines = github.workflow_commands(report, PLACES)
    assert len(lines) == github.MOST_ANNOTATIONS
    for line in lines:
        assert line.startswith("::error ")
        assert line.isprintable()
        properties, _, message = line.removeprefix("::error ").partition("::")
        assert re.fullmatch(r"(file=[^,:]*,)?(line=\d+,)?title=[^,:]*", properties), properties
        assert "\n" not in message
    assert "file=nets/my net.prototxt,line=10,title=gfpq-inspect gate%3A cosine" in lines[0]
    assert "a,b:c%250A" in lines[3]
    assert lines[-1].endswith("5 more failures; see the summary")


def test_text_in_a_workflow_is_fenced_with_a_word_that_no_name_can_know() -> None:
    fenced = github.fenced("::error::x").splitlines()
    assert fenced[0].startswith("::stop-commands::")
    token = fenced[0].removeprefix("::stop-commands::")
    assert fenced[1:] == ["::error::x", f"::{token}::"]
    assert github.fenced("x").splitlines()[0] != fenced[0]


def test_markdown_makes_nothing_of_names() -> None:
    text = markdown.render_markdown(hostile_report())
    table = [line for line in text.splitlines() if line.startswith("| cosine")]
    assert len(table) == len(HOSTILE)
    for line in table:
        cells = re.split(r"(?<!\\)\|", line)
        assert len(cells) == 5, line
        outside = re.sub(r"`[^`]*`", "", line)
        assert not re.search(r"(?<!\\)[<>@\[\]*]", outside), line
    assert "</summary><img" not in re.sub(r"`[^`]*`", "", text)
    assert len(text) < 20_000


def test_the_summary_is_appended_and_bounded(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    github.append_summary(summary, "one\n")
    github.append_summary(summary, "two\n")
    assert summary.read_text() == "before\none\ntwo\n"
    github.append_summary(summary, "line é\n" * 200_000)
    assert summary.stat().st_size <= github.SUMMARY_LIMIT_BYTES
    assert "no more room" in summary.read_text()
    with pytest.raises(OutputError, match="summary cannot be written"):
        github.append_summary(tmp_path / "none" / "s.md", "x")


def test_a_gate_that_passes_in_every_form() -> None:
    report = judge(result(), settings(cosine=0.9), today=TODAY)
    assert json.loads(sarif.render_sarif(report, Places()))["runs"][0]["results"] == []
    assert 'failures="0"' in junit.render_junit(report, Places())
    assert github.workflow_commands(report, Places()) == []
    assert markdown.render_markdown(report).startswith("### ✅ The gate passes: 5 checks.")
