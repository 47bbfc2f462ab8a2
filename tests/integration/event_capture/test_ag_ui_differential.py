"""Our AG-UI contract beside `verifyEvents` of @ag-ui/client 1.0.0, over generated streams, legal and broken.

Where the two disagree it is for one of the reasons in OURS_ONLY, each of which has a test of its own below: streams
that verifyEvents lets pass and that are broken. There is no stream that only verifyEvents refuses.

Left out of the comparison: attribution to subagents by way of a parent message, a snapshot or an encrypted value,
`null` where a field should be absent, and the shapes of outcomes. These are questions about payloads, not about the
order of events, and our contract does not ask them.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_capture.checker import Checker, Violation
from event_capture.contract import load_contract
from event_capture.records import Kind, Record
from integration.event_capture.ag_ui_node import VerifyEvents, verify_events

Event = dict[str, Any]
CONTRACT = load_contract("ag_ui")
OURS_ONLY = {
    "wrong-last-event": "the stream ends without RUN_FINISHED or RUN_ERROR",
    "unclosed-pair": "the stream ends with something open",
    "value-changed": "a run finishes under another run id or thread id than it began with",
    "unknown-reference": "a tool result names a call that never was",
    "repeated-reference": "a call gets two results",
    "not-monotonic": "a timestamp goes back",
}
"""Codes of violations that verifyEvents does not look for."""


@pytest.fixture(scope="module")
def node() -> Iterator[VerifyEvents]:
    with verify_events() as verifying:
        yield verifying


def violations_in(events: list[Event]) -> list[Violation]:
    """What our contract says of a stream that was seen to its end."""
    checker = Checker(CONTRACT)
    checker.feed(Record(monotonic_ns=0, wall_ns=0, connection="c", kind=Kind.OPEN))
    for number, event in enumerate(events, 1):
        checker.feed(Record(monotonic_ns=number, wall_ns=number, connection="c", data=event))
    checker.feed(Record(monotonic_ns=len(events) + 1, wall_ns=0, connection="c", kind=Kind.CLOSE, data={"code": 1000}))
    return list(checker.finish(complete=True).violations)


def run(*inner: Event, end: Event | None = None) -> list[Event]:
    finish = end or {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1"}
    return [{"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}, *inner, finish]


def text(key: str = "m1", **tag: str) -> list[Event]:
    return [
        {"type": "TEXT_MESSAGE_START", "messageId": key, "role": "assistant", **tag},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": key, "delta": "words"},
        {"type": "TEXT_MESSAGE_END", "messageId": key},
    ]


def tool(key: str = "c1", *, result: bool = True) -> list[Event]:
    events: list[Event] = [
        {"type": "TOOL_CALL_START", "toolCallId": key, "toolCallName": "search"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": key, "delta": "{}"},
        {"type": "TOOL_CALL_END", "toolCallId": key},
    ]
    return [*events, tool_result(key)] if result else events


def tool_result(key: str = "c1") -> Event:
    return {"type": "TOOL_CALL_RESULT", "messageId": f"result-{key}", "toolCallId": key, "content": "42"}


def test_a_whole_run_passes_on_both_sides(node: VerifyEvents) -> None:
    events = run(*text(), *tool())
    assert node(events).ok
    assert violations_in(events) == []


@pytest.mark.parametrize(
    ("events", "code"),
    [
        pytest.param(run(*text())[:-1], "wrong-last-event", id="cut before its end"),
        pytest.param(run(*text())[:3], "unclosed-pair", id="cut within a message"),
        pytest.param(
            run(end={"type": "RUN_FINISHED", "threadId": "t", "runId": "other"}), "value-changed", id="another run id"
        ),
        pytest.param(
            run(end={"type": "RUN_FINISHED", "threadId": "other", "runId": "r1"}), "value-changed", id="another thread"
        ),
        pytest.param(run(tool_result("nobody")), "unknown-reference", id="result for an unknown call"),
        pytest.param(run(*tool(), tool_result()), "repeated-reference", id="two results for one call"),
        pytest.param(
            [event | {"timestamp": 1000 - place} for place, event in enumerate(run(*text()))],
            "not-monotonic",
            id="timestamps going back",
        ),
    ],
)
def test_broken_streams_that_only_our_contract_refuses(node: VerifyEvents, events: list[Event], code: str) -> None:
    assert node(events).ok
    found = [violation.code for violation in violations_in(events)]
    assert code in found
    assert set(found) <= set(OURS_ONLY)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(text(), id="no start"),
        pytest.param([*run(), *text()], id="after the end"),
        pytest.param(run(*text()[1:]), id="content without start"),
        pytest.param(run(*text()[:2]), id="message left open"),
        pytest.param(run(*text()[:1], *text()), id="message opened twice"),
        pytest.param(run(*tool()[1:]), id="arguments without start"),
        pytest.param(run({"type": "STEP_STARTED", "stepName": "plan"}), id="step left open"),
        pytest.param(run({"type": "STEP_FINISHED", "stepName": "plan"}), id="step never begun"),
        pytest.param(run({"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}), id="started twice"),
        pytest.param([*run(end={"type": "RUN_ERROR", "message": "no"}), *text()], id="after an error"),
        pytest.param(run(*text()[:2], text(subagentRunId="s1")[2] | {"subagentRunId": "s1"}), id="changed hands"),
    ],
)
def test_broken_streams_that_both_refuse(node: VerifyEvents, events: list[Event]) -> None:
    assert not node(events).ok
    assert violations_in(events)


tags = st.sampled_from([{}, {}, {"subagentRunId": "s1"}])


@st.composite
def brackets(draw: st.DrawFn, fresh: Iterator[int]) -> list[Event]:
    """Something that opens, goes on and closes, under an id of its own."""
    tag = draw(tags)
    key = next(fresh)
    kind = draw(st.sampled_from(["text", "tool", "step", "reasoning", "subagent", "free"]))
    if kind == "text":
        middle = draw(st.integers(0, 2))
        opened, content, closed = text(f"m-{key}")
        return [opened | tag, *[content | draw(st.sampled_from([{}, tag]))] * middle, closed]
    if kind == "tool":
        events = tool(f"c-{key}", result=draw(st.booleans()))
        return [events[0] | tag, *events[1:]]
    if kind == "step":
        name = {"stepName": f"step-{key}"} | tag
        return [{"type": "STEP_STARTED"} | name, *draw(st.just([]) | brackets(fresh)), {"type": "STEP_FINISHED"} | name]
    if kind == "reasoning":
        span, message = {"messageId": f"span-{key}"}, {"messageId": f"thought-{key}"}
        return [
            {"type": "REASONING_START"} | span | tag,
            {"type": "REASONING_MESSAGE_START", "role": "reasoning"} | message | tag,
            {"type": "REASONING_MESSAGE_CONTENT", "delta": "hm"} | message,
            {"type": "REASONING_MESSAGE_END"} | message,
            {"type": "REASONING_END"} | span,
        ]
    if kind == "subagent":
        who = {"subagentRunId": f"agent-{key}"}
        end = draw(st.sampled_from([{"type": "SUBAGENT_FINISHED"}, {"type": "SUBAGENT_ERROR", "message": "no"}]))
        return [{"type": "SUBAGENT_STARTED", "name": "helper"} | who, *draw(st.just([]) | brackets(fresh)), end | who]
    return [
        draw(st.sampled_from([{"type": "CUSTOM", "name": "n", "value": 1}, {"type": "STATE_SNAPSHOT", "snapshot": {}}]))
    ]


@st.composite
def legal_streams(draw: st.DrawFn) -> list[Event]:
    """Runs one after the other, each of them in order."""
    events: list[Event] = []
    for number in range(draw(st.integers(1, 2))):
        names = {"threadId": "t", "runId": f"r{number}"}
        # A call that has its result is over for good, so calls of the next run have other ids.
        fresh = count(number * 100)
        inner = [event for bracket in draw(st.lists(brackets(fresh), max_size=4)) for event in bracket]
        events.append({"type": "RUN_STARTED"} | names)
        if draw(st.integers(0, 3)):
            events += [*inner, {"type": "RUN_FINISHED"} | names]
        else:
            events += [*inner[: draw(st.integers(0, len(inner)))], {"type": "RUN_ERROR", "message": "no"}]
    moments = draw(st.booleans())
    return [event | {"timestamp": 1000 + place} if moments else event for place, event in enumerate(events)]


@st.composite
def mutated_streams(draw: st.DrawFn) -> list[Event]:
    """Legal streams in which something went wrong on the way."""
    events = list(draw(legal_streams()))
    for _ in range(draw(st.integers(1, 3))):
        if not events:
            break
        place = draw(st.integers(0, len(events) - 1))
        how = draw(st.sampled_from(["drop", "repeat", "swap", "cut", "move", "key", "tag", "time"]))
        if how in ("key", "tag", "time"):
            events[place] = altered(draw, events[place], how)
        else:
            displace(draw, events, place, how)
    return events


def displace(draw: st.DrawFn, events: list[Event], place: int, how: str) -> None:
    if how == "drop":
        del events[place]
    elif how == "repeat":
        events.insert(place, events[place])
    elif how == "swap" and place:
        events[place - 1], events[place] = events[place], events[place - 1]
    elif how == "cut":
        del events[place:]
    elif how == "move":
        events.insert(draw(st.integers(0, len(events) - 1)), events.pop(place))


def altered(draw: st.DrawFn, event: Event, how: str) -> Event:
    field = next((name for name in ("messageId", "toolCallId", "stepName", "runId") if name in event), None)
    if how == "key" and field:
        return event | {field: event[field][:-1] + draw(st.sampled_from("012"))}
    if how == "tag":
        return event | {"subagentRunId": draw(st.sampled_from(["s1", "s2"]))}
    return event | {"timestamp": 5} if how == "time" and "timestamp" in event else event


def compare(node: VerifyEvents, events: list[Event]) -> str:
    """Which side refuses the stream; fails on a disagreement that is not accounted for."""
    theirs = node(events)
    ours = violations_in(events)
    if theirs.ok:
        unexplained = [violation for violation in ours if violation.code not in OURS_ONLY]
        assert not unexplained, f"only we refuse {events}: {unexplained}"
        return "only ours" if ours else "neither"
    assert ours, f"only verifyEvents refuses {events}: event {theirs.at}, {theirs.message}"
    return "both"


def test_legal_and_mutated_streams(node: VerifyEvents, capsys: pytest.CaptureFixture[str]) -> None:
    counts: dict[str, Counter[str]] = {"legal": Counter(), "mutated": Counter()}

    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(legal_streams())
    def legal(events: list[Event]) -> None:
        counts["legal"][compare(node, events)] += 1

    @settings(max_examples=700, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(mutated_streams())
    def mutated(events: list[Event]) -> None:
        counts["mutated"][compare(node, events)] += 1

    legal()
    mutated()
    with capsys.disabled():
        print("\nrefused by           both  only ours  only verifyEvents  neither")
        for kind, found in counts.items():
            print(f"{kind:16} {found['both']:8} {found['only ours']:10} {0:18} {found['neither']:8}")
    assert set(counts["legal"]) == {"neither"}
    assert counts["mutated"]["both"]
    assert counts["mutated"]["only ours"]
