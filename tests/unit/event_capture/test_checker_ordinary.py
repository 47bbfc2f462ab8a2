"""Streams that are ordinary but for a fault or two: the short way of the checker sees what the clauses mean.

Other properties draw events at random, so that hardly one of them is ordinary. Here whole runs go on as they should,
with deltas that repeat, users at the same time and numbers that rise, and then something small is wrong.
"""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.checker import Checker, Verdict
from event_capture.checker.reference import violated_clauses
from event_capture.contract import Contract, load_contract
from event_capture.records import Direction, Kind, Record
from unit.event_capture.streams import MILLISECOND, Stream, check, codes, contract_of

AGENT = load_contract("agent_turn")
AG_UI = load_contract("ag_ui")
WIDER = contract_of(
    "pair: tool_executing with tool_completed by payload.tool_call_id around partial_result per thread\n"
    "order: agent_started before partial_result\n"
    "within: gap within 3ms per connection\n"
    "monotonic: [seq rises without gaps per thread, timestamp never falls per connection, seq rises per connection]\n"
    "same: [run_id, payload.model per user]\n"
)

Message = dict[str, Any]


@st.composite
def agent_runs(draw: st.DrawFn, run: str) -> list[Message]:
    """A turn with deltas. No numbers yet."""
    messages: list[Message] = [{"type": "agent_started"}]
    messages += [{"type": "agent_thinking"}] * draw(st.integers(1, 3))
    for call in range(draw(st.integers(1, 2))):
        payload = {"tool_call_id": f"{run}-{call}"}
        messages.append({"type": "tool_executing", "payload": payload})
        messages += [{"type": "partial_result", "payload": payload}] * draw(st.integers(0, 2))
        messages.append({"type": "tool_completed", "payload": payload})
    messages += [{"type": "partial_result"}] * draw(st.integers(0, 5))
    messages.append({"type": "agent_completed"})
    return [{"run_id": run} | message for message in messages]


@st.composite
def ag_ui_runs(draw: st.DrawFn, run: str) -> list[Message]:
    """A run with streamed texts and tool calls. No timestamps yet."""
    messages: list[Message] = []
    for number in range(draw(st.integers(1, 3))):
        kind, key, inner = draw(
            st.sampled_from([("TEXT_MESSAGE", "messageId", "CONTENT"), ("TOOL_CALL", "toolCallId", "ARGS")])
        )
        thing = {key: f"{run}-{number}"} | draw(st.sampled_from([{}, {}, {"subagentRunId": None}]))
        messages.append({"type": f"{kind}_START"} | thing)
        messages += [{"type": f"{kind}_{inner}"} | thing] * draw(st.integers(0, 5))
        messages.append({"type": f"{kind}_END"} | thing)
        if kind == "TOOL_CALL":
            messages += [{"type": "TOOL_CALL_RESULT", "messageId": f"{run}-{number}-r"} | thing] * draw(
                st.integers(0, 1)
            )
    ids = {"threadId": "t", "runId": run}
    return [{"type": "RUN_STARTED"} | ids, *messages, {"type": "RUN_FINISHED"} | ids]


STAMPS = st.sampled_from(["words", "words", "words", "numbers", "none", "offset"])
FAULTS: dict[str, list[Any]] = {
    "type": ["agent_started", "partial_result", "tool_completed", "stranger", "TEXT_MESSAGE_CONTENT", "RUN_STARTED"],
    "run_id": ["run-a-0", "run-b-1", None],
    "thread_id": ["thread-a", "thread-b", None],
    "user_id": ["a", "b", None],
    "seq": [1, 7, None, "3", 4.0, True],
    "epoch": ["e2"],
    "timestamp": ["2026-01-01T00:00:99.000Z", "2025-12-31T23:59:59.999Z", "", "soon", None, 17, True],
    "payload": [{"tool_call_id": "run-a-0-0"}, {"tool_call_id": None}, {"model": "m"}],
    "messageId": ["run-a-0-0", "other"],
    "toolCallId": ["run-a-0-1", None],
    "subagentRunId": ["s"],
    "runId": ["run-b-0"],
    "threadId": ["u"],
}


def stamp(form: str, now: int) -> Message:
    milliseconds = now // MILLISECOND
    match form:
        case "words":
            return {"timestamp": f"2026-01-01T00:00:{milliseconds // 1000:02}.{milliseconds % 1000:03}Z"}
        case "offset":
            return {"timestamp": f"2026-01-01T02:00:{milliseconds // 1000:02}.{milliseconds % 1000:03}+02:00"}
        case "numbers":
            return {"timestamp": milliseconds}
    return {}


@st.composite
def streams(draw: st.DrawFn, *, ag_ui: bool) -> list[Record]:
    """Two users at once, one run after the other each, in pieces of some length; then a few faults."""
    runs = {
        user: [
            message
            for number in range(draw(st.integers(1, 3)))
            for message in draw((ag_ui_runs if ag_ui else agent_runs)(run=f"run-{user}-{number}"))
        ]
        for user in ("a", "b")
    }
    forms = {user: draw(STAMPS) for user in runs}
    sequences = dict.fromkeys(runs, 0)
    messages: list[tuple[str, Message]] = []
    now = 0
    while any(runs.values()):
        user = draw(st.sampled_from([user for user, rest in runs.items() if rest]))
        for _ in range(draw(st.integers(1, 12))):
            if runs[user]:
                now += MILLISECOND
                sequences[user] += 1
                ids = {"user_id": user, "thread_id": f"thread-{user}", "seq": sequences[user], "epoch": "e1"}
                messages.append((user, runs[user].pop(0) | ({} if ag_ui else ids) | stamp(forms[user], now)))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(messages) - 1))
        user, message = messages[place]
        match draw(st.sampled_from(["drop", "repeat", "swap", "cross", "change", "change", "change"])):
            case "drop" if len(messages) > 1:
                del messages[place]
            case "repeat":
                messages.insert(place, messages[place])
            case "swap":
                messages[place], messages[place - 1] = messages[place - 1], messages[place]
            case "cross":
                messages[place] = ("b" if user == "a" else "a", message)
            case _:
                field = draw(st.sampled_from(list(FAULTS)))
                messages[place] = (user, message | {field: draw(st.sampled_from(FAULTS[field]))})
    return [
        Record(
            monotonic_ns=place * MILLISECOND,
            wall_ns=0,
            connection=f"{user}-1",
            user=user,
            direction=Direction.RECEIVED,
            kind=Kind.EVENT,
            data=message,
        )
        for place, (user, message) in enumerate(messages)
    ]


@given(
    st.sampled_from([AGENT, AG_UI, WIDER]).flatmap(
        lambda contract: st.tuples(st.just(contract), streams(ag_ui=contract is AG_UI))
    ),
    st.lists(st.integers(1, 30), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_the_short_way_and_the_meaning_agree(drawn: tuple[Contract, list[Record]], pieces: list[int]) -> None:
    contract, records = drawn
    whole, single = Checker(contract), Checker(contract)
    # In pieces, and one by one: the checker must find the same either way, in the same order.
    rest = records
    found = []
    for piece in pieces:
        found += whole.feed_all(rest[:piece])
        rest = rest[piece:]
    found += whole.feed_all(rest)
    assert found == [violation for record in records for violation in single.feed(record)]
    report = whole.finish(complete=True)
    assert report == single.finish(complete=True)
    noticed = {clause.index for clause in report.clauses if clause.verdict is Verdict.VIOLATED and clause.index >= 0}
    assert noticed == violated_clauses(records, contract)


def test_a_delta_that_differs_in_a_number_which_its_clause_reads_is_another_one() -> None:
    contract = contract_of("pair: tool_executing with tool_completed by seq around partial_result")
    stream = Stream().open().event("tool_executing", seq=1)
    for seq in (1, 1, 2, 1):
        stream.event("partial_result", seq=seq)
    assert codes(check(contract, stream.event("tool_completed", seq=1).close())) == ["orphan-event"]


def test_a_timestamp_in_the_form_of_the_others_that_is_no_time_is_noticed() -> None:
    stream = Stream().open()
    for seconds in ("00", "01", "99"):
        stream.event("busy", timestamp=f"2026-01-01T00:00:{seconds}Z")
    stream.event("busy", timestamp=5).event("busy", timestamp="")
    contract = contract_of("monotonic: timestamp never falls per thread")
    assert codes(check(contract, stream.close())) == ["unreadable-value", "not-monotonic", "unreadable-value"]


@given(streams(ag_ui=False))
@settings(max_examples=50, deadline=None)
def test_one_message_that_does_not_fit_changes_nothing_for_the_others(records: list[Record]) -> None:
    """An id that is an object takes all messages that came with it another way."""
    last = msgspec.structs.replace(records[-1], data=records[-1].data | {"run_id": {"id": 1}})
    alone, together = Checker(AGENT), Checker(AGENT)
    together.feed_all([*records, last])
    alone.feed_all(records)
    alone.feed(last)
    assert alone.finish(complete=True) == together.finish(complete=True)
