"""Good and bad streams of each built-in vocabulary, by the contract of the same name."""

from typing import Any

import pytest

from event_capture.checker import Report, Verdict
from event_capture.contract import builtin_contracts, load_contract
from event_capture.errors import BadInputError
from event_capture.records import Direction, Kind, Record
from event_capture.samples import sample_recording, samples
from event_capture.vocabulary import builtin_vocabularies, load_vocabulary, parse_vocabulary, write_vocabulary
from unit.event_capture.streams import check, codes

Message = dict[str, Any]


def judge(contract: str, *messages: Message) -> Report:
    """Check messages of one connection; those under the key `sent` were sent by the client."""
    records = [Record(monotonic_ns=0, wall_ns=0, connection="c", user="ada", kind=Kind.OPEN, data={})]
    for number, message in enumerate(messages, 1):
        sent = message.get("sent")
        records.append(
            Record(
                monotonic_ns=number * 1_000_000,
                wall_ns=0,
                connection="c",
                user="ada",
                direction=Direction.SENT if sent else Direction.RECEIVED,
                data=sent or message,
            )
        )
    records.append(
        Record(monotonic_ns=10**9, wall_ns=0, connection="c", user="ada", kind=Kind.CLOSE, data={"code": 1000})
    )
    return check(load_contract(contract), records)


def sio(event: str, **data: Any) -> Message:
    return {"event": event, "data": {"session_id": "s1", **data}}


ASK = {"sent": sio("chat_message", content="hello")}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([ASK, sio("chat_thinking"), sio("chat_chunk"), sio("chat_chunk"), sio("chat_complete")], []),
        ([ASK, sio("chat_response"), sio("chat_complete"), ASK, sio("chat_chunk"), sio("chat_complete")], []),
        ([ASK, sio("error", message="LLM unavailable")], []),
        ([ASK, sio("chat_complete")], ["wrong-order", "missing-event"]),
        ([ASK, sio("chat_chunk")], ["missing-event", "wrong-last-event"]),
        ([ASK, sio("chat_chunk"), sio("chat_thinking"), sio("chat_complete")], ["wrong-order"]),
        ([ASK, sio("chat_chunk"), sio("chat_complete"), sio("chat_chunk")], ["event-after-last"]),
    ],
)
def test_socket_io_chat(messages: list[Message], expected: list[str]) -> None:
    assert sorted(codes(judge("socketio_chat", *messages))) == sorted(expected)


def gate(event: str, **payload: Any) -> Message:
    return {"type": event, "user_id": "ada", "payload": payload}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([gate("welcome"), gate("channel_message", channel="guide", content="hi")], []),
        ([gate("channel_message", channel="guide", content="hi")], ["wrong-first-event", "wrong-order"]),
        ([gate("welcome"), gate("welcome")], ["too-many-events"]),
        ([gate("welcome"), {"sent": {"type": "ping"}}, gate("pong")], []),
        ([gate("welcome"), {"sent": {"type": "ping"}}], ["too-slow"]),
        ([gate("welcome"), gate("channel_message", channel="guide")], ["schema-mismatch"]),
        ([gate("welcome"), gate("channel_message", channel="a", content="") | {"user_id": "bob"}], ["foreign-event"]),
    ],
)
def test_channel_gateway(messages: list[Message], expected: list[str]) -> None:
    assert set(expected) <= set(codes(judge("channel_gateway", *messages)))
    assert bool(expected) is (judge("channel_gateway", *messages).verdict is Verdict.VIOLATED)


USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {},
    "output_tokens": 2,
    "output_tokens_details": {},
    "total_tokens": 3,
}
RESPONSE: list[Message] = [
    {"type": "response.created", "response": {"id": "r1"}},
    {"type": "response.in_progress", "response": {"id": "r1"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"id": "i1"}},
    {"type": "response.content_part.added", "item_id": "i1", "content_index": 0},
    {"type": "response.output_text.delta", "item_id": "i1", "content_index": 0, "delta": "Hel"},
    {"type": "response.output_text.delta", "item_id": "i1", "content_index": 0, "delta": "lo"},
    {"type": "response.output_text.done", "item_id": "i1", "content_index": 0, "text": "Hello"},
    {"type": "response.content_part.done", "item_id": "i1", "content_index": 0},
    {"type": "response.output_item.done", "output_index": 0, "item": {"id": "i1"}},
    {"type": "response.completed", "response": {"id": "r1", "status": "completed", "usage": USAGE}},
]


def numbered(messages: list[Message]) -> list[Message]:
    return [message | {"sequence_number": number} for number, message in enumerate(messages)]


def test_a_whole_response() -> None:
    assert judge("openai_responses", *numbered(RESPONSE)).passed


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (numbered(RESPONSE)[1:], "wrong-first-event"),
        (numbered(RESPONSE)[:-1], "wrong-last-event"),
        ([*numbered(RESPONSE)[:4], *numbered(RESPONSE)[5:]], "sequence-gap"),
        (numbered([*RESPONSE[:7], *RESPONSE[8:]]), "unclosed-pair"),
        (numbered([*RESPONSE[:3], *RESPONSE[4:]]), "orphan-event"),
        (numbered([*RESPONSE[:-1], {"type": "response.completed", "response": {"id": "r1"}}]), "schema-mismatch"),
        (numbered([*RESPONSE[:-1], RESPONSE[-1] | {"response": {"id": "r2"}}]), "value-changed"),
    ],
)
def test_a_broken_response(messages: list[Message], code: str) -> None:
    assert code in codes(judge("openai_responses", *messages))


REALTIME: list[Message] = [
    {"type": "session.created", "session": {}},
    {"sent": {"type": "response.create"}},
    {"type": "response.created", "response": {"id": "r1"}},
    {"type": "response.output_item.added", "response_id": "r1", "output_index": 0, "item": {"id": "i1"}},
    {"type": "response.content_part.added", "response_id": "r1", "item_id": "i1", "content_index": 0},
    {"type": "response.output_text.delta", "response_id": "r1", "item_id": "i1", "content_index": 0, "delta": "Hi"},
    {"type": "response.output_text.done", "response_id": "r1", "item_id": "i1", "content_index": 0, "text": "Hi"},
    {"type": "response.content_part.done", "response_id": "r1", "item_id": "i1", "content_index": 0},
    {"type": "response.output_item.done", "response_id": "r1", "output_index": 0, "item": {"id": "i1"}},
    {"type": "response.done", "response": {"id": "r1"}},
    {"type": "rate_limits.updated"},
]


def test_a_whole_realtime_response() -> None:
    assert judge("openai_realtime", *REALTIME).passed


@pytest.mark.parametrize(
    ("left_out", "code"),
    [
        (0, "wrong-first-event"),
        (2, "wrong-first-event"),
        (4, "orphan-event"),
        (7, "unclosed-pair"),
        (9, "wrong-last-event"),
    ],
)
def test_a_broken_realtime_response(left_out: int, code: str) -> None:
    assert code in codes(judge("openai_realtime", *REALTIME[:left_out], *REALTIME[left_out + 1 :]))


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_a_built_in_vocabulary_survives_writing_and_reading(name: str) -> None:
    vocabulary = load_vocabulary(name)
    assert parse_vocabulary(write_vocabulary(vocabulary)) == vocabulary


def test_every_vocabulary_has_a_contract_and_a_sample() -> None:
    assert set(builtin_vocabularies()) == {sample.name for sample in samples()}
    assert set(builtin_contracts()) == {*builtin_vocabularies(), "ag_ui_strict"}


BROKEN = {
    "ag_ui": {"value-changed"},
    "agent_turn": {"missing-event", "unclosed-pair", "too-slow", "wrong-order"},
    "channel_gateway": {"foreign-event"},
    "openai_realtime": {"unclosed-pair"},
    "openai_responses": {"sequence-gap"},
    "socketio_chat": {"missing-event", "wrong-last-event"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_good_sample_holds_and_the_bad_one_shows_what_broke(name: str) -> None:
    assert check(load_contract(name), sample_recording(name)).passed
    assert set(codes(check(load_contract(name), sample_recording(name, bad=True)))) == BROKEN[name]


def test_a_sample_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(BadInputError, match="did you mean 'agent_turn'"):
        sample_recording("agent_trun")
