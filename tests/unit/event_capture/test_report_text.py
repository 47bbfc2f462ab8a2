"""The text report: the form people know, and what it says of good, bad, failed and cut turns."""

import pytest

from event_capture.contract import load_contract
from event_capture.records import Record
from event_capture.report.model import timelines_of
from event_capture.report.text import render_text
from unit.event_capture.streams import TURN, Stream, check, turn

AGENT = load_contract("agent_turn")


def text_of(records: list[Record], *, complete: bool = True, **settings: bool | int) -> str:
    report = check(AGENT, records, complete=complete)
    timelines = timelines_of(records, AGENT.vocabulary)
    return render_text(report, timelines, verdicts=False, **settings)  # type: ignore[arg-type]  # bool and int, by name


def test_a_turn_that_passes() -> None:
    assert (
        text_of(turn(*TURN, user="chat-test-user-123"))
        == """\
===============================================================================
WEBSOCKET EVENT VALIDATION REPORT - chat-test-user-123
===============================================================================
Status: ✅ PASSED
Total Events: 6
Event Types: 6
Duration: 0.600s

CRITICAL EVENT COVERAGE:
  ✅ agent_started: 1
  ✅ agent_thinking: 1
  ✅ tool_executing: 1
  ✅ tool_completed: 1
  ✅ agent_completed: 1

EVENT TIMELINE:
  0.100s: agent_started - words of agent_started
  0.200s: agent_thinking - words of agent_thinking
  0.300s: tool_executing - words of tool_executing
  0.400s: tool_completed - words of tool_completed
  0.500s: partial_result - words of partial_result
  0.600s: agent_completed - words of agent_completed

✅ CRITICAL TEST PASSED: All WebSocket events validated for chat flow
"""
    )


def test_a_turn_that_fails_names_what_is_missing_and_out_of_order() -> None:
    text = text_of(turn("agent_started", "agent_completed", user="chat-test-user-456"))
    assert text.startswith(f"{'=' * 79}\n❌ WEBSOCKET EVENT VALIDATION REPORT - chat-test-user-456\n{'=' * 79}\n")
    assert "Status: ❌ FAILED\nTotal Events: 2\nEvent Types: 2\n" in text
    assert "  ✅ agent_started: 1\n  ❌ agent_thinking: 0\n  ❌ tool_executing: 0\n  ❌ tool_completed: 0\n" in text
    assert (
        "FAILURES:\n  ❌ CRITICAL: Missing required events: {'agent_thinking', 'tool_executing', 'tool_completed'}"
        in text
    )
    assert "  ❌ CRITICAL: Invalid event sequence: agent_completed came before any agent_thinking" in text
    assert text.endswith("❌ CRITICAL TEST FAILED: 5 violations of contract agent_turn\n")


def test_a_turn_that_ended_in_an_error_shows_it() -> None:
    text = text_of(turn("agent_started", "error_event"))
    assert "Status: ✅ PASSED" in text
    assert "  ✅ error_event: 1" in text
    assert "agent_thinking: 0 (not required here)" in text


def test_a_stream_that_was_cut_is_inconclusive() -> None:
    text = text_of(turn(*TURN[:3]), complete=False)
    assert "Status: ⚠️ INCONCLUSIVE" in text
    assert "⚠️ UNDECIDED: Missing required events: {'tool_completed', 'agent_completed'}" in text


def test_every_user_has_a_section_and_a_status_of_their_own() -> None:
    good, bad = turn(*TURN, user="ada"), turn("agent_started", user="bob")
    text = text_of(sorted([*good, *bad], key=lambda record: record.monotonic_ns))
    ada, bob = text.split("WEBSOCKET EVENT VALIDATION REPORT - bob")
    assert "WEBSOCKET EVENT VALIDATION REPORT - ada" in ada
    assert "✅ PASSED" in ada
    assert "❌ FAILED" in bob


def test_a_user_who_is_not_known_is_named_by_the_events_or_by_the_connection() -> None:
    def anonymous(record: Record) -> Record:
        return Record(monotonic_ns=record.monotonic_ns, wall_ns=0, connection="c9", kind=record.kind, data=record.data)

    named = [anonymous(record) for record in Stream("ada").open().events(*TURN).records]
    assert [timeline.user for timeline in timelines_of(named, AGENT.vocabulary)] == ["ada"]
    nameless = [anonymous(Stream().raw({"type": "pong"}).records[0])]
    assert [timeline.user for timeline in timelines_of(nameless, AGENT.vocabulary)] == ["c9"]


def test_long_timelines_end_with_a_count_of_the_rest() -> None:
    text = text_of(turn(*TURN[:-1], *["partial_result"] * 20, "agent_completed"), max_events=3)
    assert "tool_executing - words of tool_executing\n  ... 23 more\n" in text


def test_what_a_server_sends_cannot_steer_the_terminal() -> None:
    text = text_of(Stream().open().event("agent_started", payload={"text": "\x1b[2J\x07 gone"}).close())
    assert "\x1b" not in text
    assert r"\x1b[2J\x07 gone" in text


def test_a_malformed_frame_stands_on_the_timeline() -> None:
    assert "(malformed) - not JSON" in text_of(Stream().open().malformed().close())


@pytest.mark.parametrize("colour", [True, False])
def test_colour_only_when_asked_for(colour: bool) -> None:
    assert ("\x1b[32m" in text_of(turn(*TURN), colour=colour)) is colour


def test_verdicts_of_every_clause_are_listed() -> None:
    records = turn(*TURN[:2], "agent_completed")
    text = render_text(check(AGENT, records), timelines_of(records, AGENT.vocabulary))
    assert "  ❌ violated: require: tool_executing unless error_event (1 violation)\n" in text
    assert "  ✅ holds: first: message_accepted or agent_started or error_event\n" in text
    assert "within: tool within 10s (never put to the test: none of its events occurred)\n" in text
