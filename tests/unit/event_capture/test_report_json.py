"""The JSON report holds everything that was found, and reads back as it."""

import msgspec

from event_capture.checker import ClauseVerdict, Violation
from event_capture.contract import load_contract
from event_capture.report.json import FORMAT, render_json
from event_capture.report.model import timelines_of
from unit.event_capture.streams import TURN, check, turn

AGENT = load_contract("agent_turn")


def test_clauses_and_violations_read_back_as_they_were() -> None:
    records = turn("agent_started", "tool_completed", "agent_completed")
    report = check(AGENT, records)
    document = msgspec.json.decode(render_json(report, timelines_of(records, AGENT.vocabulary)))
    assert document["format"] == FORMAT
    assert document["passed"] is False
    assert document["verdict"] == "violated"
    assert msgspec.convert(document["violations"], tuple[Violation, ...]) == report.violations
    assert msgspec.convert(document["clauses"], tuple[ClauseVerdict, ...]) == report.clauses


def test_the_timeline_of_each_user_is_in_it() -> None:
    records = turn(*TURN)
    document = msgspec.json.decode(render_json(check(AGENT, records), timelines_of(records, AGENT.vocabulary)))
    (user,) = document["users"]
    assert (user["user"], user["total"], user["duration_s"]) == ("ada", 6, 0.6)
    assert [entry["event"] for entry in user["timeline"]] == list(TURN)
