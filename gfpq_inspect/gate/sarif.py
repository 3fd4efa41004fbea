"""A gate as SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

from gfpq_inspect import __version__
from gfpq_inspect.gate.outcome import Check, GateReport, Outcome
from gfpq_inspect.gate.places import Places
from gfpq_inspect.gate.settings import RULES
from gfpq_inspect.text import visible

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
SPECIAL = re.compile(r"([\\\[\]])")


def render_sarif(report: GateReport, places: Places) -> str:
    """Write a gate as SARIF.

    Args:
        report: The gate.
        places: Files that checks point to.

    Returns:
        JSON in ASCII; the same bytes for the same gate. Failures are results, allowed ones suppressed results.
    """
    rules = list(RULES)
    results = [_result(check, rules, places) for check in report.checks if check.outcome is not Outcome.PASSED]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "gfpq-inspect",
                "semanticVersion": __version__,
                "version": __version__,
                "rules": [_rule(rule) for rule in rules],
            }
        },
        "invocations": [{"executionSuccessful": True, "exitCode": 0 if report.passed else 1}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=True) + "\n"


def _rule(rule: str) -> dict[str, Any]:
    return {
        "id": rule,
        "name": "".join(part.capitalize() for part in re.split("[-_]", rule)),
        "shortDescription": {"text": f"{RULES[rule][:1].upper()}{RULES[rule][1:]}."},
        "defaultConfiguration": {"level": "error"},
    }


def _result(check: Check, rules: list[str], places: Places) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": check.rule,
        "ruleIndex": rules.index(check.rule),
        "level": "error",
        "message": {"text": message_text(f"{check.subject}: {check.sentence}.")},
        "locations": [_location(check, places)],
        "partialFingerprints": {"gfpqInspectCheck/v1": _fingerprint(check)},
    }
    if check.allowance is not None:
        reason = f"{check.allowance.reason} (until {check.allowance.expires})"
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": visible(reason)}]
    return found


def _location(check: Check, places: Places) -> dict[str, Any]:
    location: dict[str, Any] = {}
    file, line = places.of(check)
    if file:
        physical: dict[str, Any] = {"artifactLocation": {"uri": quote(file), "uriBaseId": "%SRCROOT%"}}
        physical["region"] = {"startLine": line if line is not None else 1}
        location["physicalLocation"] = physical
    name = visible(check.subject)
    location["logicalLocations"] = [{"name": name, "fullyQualifiedName": name, "kind": "resource"}]
    return location


def _fingerprint(check: Check) -> str:
    """Stays the same as long as the same check is about the same thing, whatever the numbers."""
    return hashlib.sha256("\0".join((check.rule, check.place, check.subject)).encode("utf-8", "replace")).hexdigest()


def message_text(text: str) -> str:
    """Plain text of a message; brackets would begin a link, braces a placeholder (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    return SPECIAL.sub(r"\\\1", visible(text)).replace("{", "{{").replace("}", "}}")
