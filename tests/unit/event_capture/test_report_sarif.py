"""SARIF: logs that satisfy the schema of version 2.1.0, with records as lines of the recording."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from event_capture.report.sarif import render_sarif
from unit.event_capture.reported import Case, broken, case_of, cut, good, hostile
from unit.event_capture.streams import TURN, turn

SCHEMA = Path(__file__).parent / "data" / "sarif-2.1.0.json"


@pytest.fixture(scope="module")
def validator() -> Draft4Validator:
    return Draft4Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def log_of(case: Case, recording: str = "captures/chat.jsonl") -> dict[str, Any]:
    log: dict[str, Any] = json.loads(render_sarif(case.report, case.timelines, recording=recording))
    return log


def results_of(case: Case) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = log_of(case)["runs"][0]["results"]
    return results


@pytest.mark.parametrize("make", [good, broken, cut, hostile])
def test_the_log_satisfies_the_schema(validator: Draft4Validator, make: Any) -> None:
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(log_of(make()))]

    assert errors == []


def test_the_schema_would_notice(validator: Draft4Validator) -> None:
    log = log_of(broken())
    log["runs"][0]["results"][0]["level"] = "catastrophe"

    assert not validator.is_valid(log)


def test_a_violation_is_a_result_of_the_rule_of_its_code() -> None:
    case = broken()
    run = log_of(case)["runs"][0]

    found = [result["ruleId"] for result in run["results"]]

    assert found == [violation.code for violation in case.report.violations]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_a_result_names_the_line_of_its_record() -> None:
    case = broken()

    lines = [
        result["locations"][0]["physicalLocation"]["region"]["startLine"]
        for result in results_of(case)
        if "region" in result["locations"][0]["physicalLocation"]
    ]

    assert lines == [violation.indices[-1] + 1 for violation in case.report.violations if violation.indices]
    assert lines


def test_the_other_records_of_a_violation_are_related_locations() -> None:
    case = case_of(turn(*TURN[:4], "tool_completed", *TURN[4:]))
    violation = next(one for one in case.report.violations if len(one.indices) > 1)
    result = results_of(case)[case.report.violations.index(violation)]

    related = [place["physicalLocation"]["region"]["startLine"] for place in result["relatedLocations"]]

    assert related == [index + 1 for index in violation.indices[:-1]]


def test_what_could_still_be_mended_is_a_warning() -> None:
    levels = {result["level"] for result in results_of(cut())}

    assert levels == {"warning"}


def test_a_cut_stream_is_told_as_a_notification() -> None:
    invocation = log_of(cut())["runs"][0]["invocations"][0]

    assert "not seen to its end" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_results_of_one_log_have_different_fingerprints() -> None:
    prints = [result["partialFingerprints"]["violation/v1"] for result in results_of(hostile())]

    assert len(set(prints)) == len(prints)


def test_the_same_break_in_a_later_recording_has_the_same_fingerprint() -> None:
    once = results_of(case_of(turn(*TURN[:3], "agent_completed")))
    again = results_of(case_of(turn("agent_started", "agent_thinking", *TURN[1:3], "agent_completed", start=10**12)))

    assert [one["partialFingerprints"] for one in once] == [one["partialFingerprints"] for one in again]


def test_no_message_holds_a_link_that_a_server_planted() -> None:
    texts = [result["message"]["text"] for result in results_of(hostile())]

    assert any("evil.example" in text for text in texts)
    assert not any("](" in text for text in texts)


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_any_path_becomes_a_uri_reference_that_leads_back_to_it(path: str) -> None:
    log = json.loads(render_sarif(_NOTHING.report, _NOTHING.timelines, recording=path))

    uri = log["runs"][0]["artifacts"][0]["location"]["uri"]

    assert uri.isascii()
    assert not set(uri) & set(' <>"{}|\\^`')
    parts = urlsplit(uri)
    assert parts.scheme in ("", "file")
    assert unquote(uri, errors="surrogatepass").removeprefix("file://") == path.replace("\\", "/")


_NOTHING = good()
