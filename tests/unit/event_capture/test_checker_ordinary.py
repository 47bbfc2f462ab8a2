"""Streams that are ordinary but for a fault or two: the short way of the checker sees what the clauses mean.

Other properties draw events at random, so that hardly one of them is ordinary. Here whole runs go on as they should,
with deltas that repeat, users at the same time and numbers that rise, and then something small is wrong.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.checker import Checker, Verdict
from event_capture.checker.offline import check_recording
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
    "same: [thread_id, payload.model per user]\n"
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
    "type": ["agent_started", "partial_result", "tool_completed", "stranger", "agent_completed"],
    "run_id": ["run-a-0", "run-b-1", None],
    "thread_id": ["thread-a", "thread-b", None],
    "user_id": ["a", "b", None],
    "seq": [1, 7, None, "3", 4.0, True],
    "epoch": ["e2"],
    "timestamp": ["2026-01-01T00:00:99.000Z", "2025-12-31T23:59:59.999Z", "", "soon", None, 17, True],
    "payload": [{"tool_call_id": "run-a-0-0"}, {"tool_call_id": None}, {"model": "m"}],
}
AG_UI_FAULTS: dict[str, list[Any]] = {
    "type": ["TEXT_MESSAGE_CONTENT", "TOOL_CALL_ARGS", "RUN_STARTED", "RUN_FINISHED", "stranger"],
    "messageId": ["run-a-0-0", "other"],
    "toolCallId": ["run-a-0-1", None],
    "subagentRunId": ["s"],
    "runId": ["run-b-0"],
    "threadId": ["u"],
    "timestamp": FAULTS["timestamp"],
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
                faults = AG_UI_FAULTS if ag_ui else FAULTS
                field = draw(st.sampled_from(list(faults)))
                messages[place] = (user, message | {field: draw(st.sampled_from(faults[field]))})
    return [record_of(user, message, place) for place, (user, message) in enumerate(messages)]


def record_of(user: str, message: Message, milliseconds: int) -> Record:
    return Record(monotonic_ns=milliseconds * MILLISECOND, wall_ns=0, connection=f"{user}-1", user=user, data=message)


@given(
    st.sampled_from([AGENT, AG_UI, WIDER]).flatmap(
        lambda contract: st.tuples(st.just(contract), streams(ag_ui=contract is AG_UI))
    ),
    st.lists(st.integers(1, 30), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_the_short_way_and_the_meaning_agree(drawn: tuple[Contract, list[Record]], pieces: list[int]) -> None:
    contract, records = drawn
    compare(contract, records, pieces)


@given(
    st.sampled_from([AGENT, AG_UI]).flatmap(
        lambda contract: st.tuples(st.just(contract), streams(ag_ui=contract is AG_UI))
    )
)
@settings(max_examples=60, deadline=None)
def test_bare_events_are_checked_like_records_without_times(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Contract, list[Record]]
) -> None:
    contract, records = drawn
    path = tmp_path_factory.getbasetemp() / "bare.ndjson"
    path.write_bytes(b"".join(msgspec.json.encode(record.data) + b"\n" for record in records))
    checker = Checker(contract, timeless=True)
    for record in records:
        checker.feed(Record(monotonic_ns=0, wall_ns=0, connection="bare", data=record.data))
    assert check_recording(path, contract, complete=True) == checker.finish(complete=True)


def compare(contract: Contract, records: list[Record], pieces: list[int]) -> None:
    """In pieces, and one by one: the checker must find the same either way, in the same order, and as it is meant."""
    whole, single = Checker(contract), Checker(contract)
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


def numbered(names: str, **more: Any) -> list[Message]:
    """A run of events with numbers that rise; `*` repeats the one before."""
    expanded: list[str] = []
    for name in names.split():
        expanded += [expanded[-1]] * 2 if name == "*" else [name]
    return [{"type": name, **stamp("words", place * MILLISECOND), **more} for place, name in enumerate(expanded)]


TURN = [
    message | {"user_id": "a", "run_id": "run-a-0", "thread_id": "thread-a", "seq": place + 1, "epoch": "e1"}
    for place, message in enumerate(
        numbered(
            "agent_started agent_thinking * tool_executing tool_completed partial_result * agent_completed",
            payload={"tool_call_id": "c"},
        )
    )
]
CHAT = [
    *numbered("RUN_STARTED", threadId="t", runId="r"),
    *numbered("TEXT_MESSAGE_START TEXT_MESSAGE_CONTENT * TEXT_MESSAGE_END", messageId="m"),
    *numbered("TOOL_CALL_START TOOL_CALL_ARGS * TOOL_CALL_END", toolCallId="c"),
    *numbered("RUN_FINISHED", threadId="t", runId="r"),
]
CHAT = [message | stamp("words", place * MILLISECOND) for place, message in enumerate(CHAT)]


@pytest.mark.parametrize(
    ("contract", "messages", "faults"),
    [(AGENT, TURN, FAULTS), (WIDER, TURN, FAULTS), (AG_UI, CHAT, AG_UI_FAULTS)],
    ids=["agent", "wider", "ag-ui"],
)
def test_every_fault_at_every_place(contract: Contract, messages: list[Message], faults: dict[str, list[Any]]) -> None:
    for place, message in enumerate(messages):
        for field, values in faults.items():
            for value in values:
                changed = [*messages[:place], message | {field: value}, *messages[place + 1 :]]
                compare(contract, [record_of("a", each, now) for now, each in enumerate(changed)], [])


def test_a_count_goes_on_in_its_epoch() -> None:
    stream = Stream().open()
    for epoch, seq in (("e1", 1), ("e1", 2), ("e2", 3), ("e2", 4), ("e2", 1)):
        stream.event("busy", epoch=epoch, seq=seq)
    assert codes(check(contract_of("monotonic: seq rises per thread"), stream.close())) == ["not-monotonic"]


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


def test_an_event_that_may_come_once_is_no_echo_when_it_comes_again() -> None:
    contract = contract_of("count: agent_thinking at most 1\nsame: payload.text")
    stream = Stream().open()
    for run in ("run-1", "run-2"):
        for name in ("agent_started", "agent_thinking", "agent_thinking", "agent_thinking"):
            stream.event(name, run=run, payload={"text": "words"})
    records = stream.close()
    compare(contract, records, [])
    assert codes(check(contract, records)) == ["too-many-events"] * 4


@pytest.mark.parametrize(("contract", "messages"), [(AGENT, TURN), (AG_UI, CHAT)], ids=["agent", "ag-ui"])
def test_what_comes_in_between_or_from_elsewhere_at_every_place(contract: Contract, messages: list[Message]) -> None:
    """An event on another connection, a sent message that looks the same, a close: none is part of a stretch."""
    again = [message | {"run_id": "run-a-1"} | ({"runId": "r-2"} if "runId" in message else {}) for message in messages]
    twice = [
        message | {"seq": place + 1} | stamp("words", place * MILLISECOND)
        for place, message in enumerate([*messages, *again])
    ]
    for place, message in enumerate(twice):
        elsewhere = record_of("b", message, place)
        sent = msgspec.structs.replace(record_of("a", message, place), direction=Direction.SENT)
        closed = msgspec.structs.replace(record_of("a", {"code": 1000}, place), kind=Kind.CLOSE)
        for odd in (elsewhere, sent, closed):
            records = [record_of("a", each, now) for now, each in enumerate(twice)]
            compare(contract, [*records[:place], odd, *records[place:]], [place])
            compare(contract, [*records[: place + 1], odd, *records[place + 1 :]], [])


def test_what_a_pair_keeps_is_looked_at_in_each_of_its_events() -> None:
    contract = contract_of(
        "pair: tool_executing with tool_completed by payload.tool_call_id around busy keeping payload.n"
    )
    stream = Stream().open()
    for name, number in (("tool_executing", 1), ("busy", 2), ("tool_completed", 3)):
        stream.event(name, payload={"tool_call_id": "c", "n": number})
    assert codes(check(contract, stream.close())) == ["pair-changed-hands"] * 2
