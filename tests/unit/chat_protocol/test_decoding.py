"""The codec: strict, forgiving to old clients only, and never broken by what it is given."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol import MAX_INBOUND_BYTES, ErrorCode, MalformedMessageError, decode_message, encode
from chat_protocol.messages import Ack, AnyClientMessage, Cancel, Ping, Priority, Resume, Subscribe, UserMessage

identifiers = st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True)
contents = st.text(min_size=1, max_size=200).filter(lambda text: bool(text.strip()))
positions = st.integers(0, 2**53)

messages = st.one_of(
    st.builds(
        UserMessage,
        content=contents,
        thread_id=st.none() | identifiers,
        message_id=st.none() | identifiers,
        priority=st.sampled_from(Priority),
        enable_thinking=st.booleans(),
    ),
    st.builds(Resume, thread_id=identifiers, epoch=st.text(max_size=20), seq=st.none() | positions),
    st.builds(Ack, thread_id=identifiers, epoch=st.text(max_size=20), seq=positions),
    st.builds(Cancel, run_id=identifiers),
    st.builds(Subscribe, channel=identifiers),
    st.builds(Ping, nonce=st.none() | st.text(max_size=20)),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def refuse(frame: Any) -> MalformedMessageError:
    with pytest.raises(MalformedMessageError) as error:
        decode_message(frame if isinstance(frame, str | bytes) else msgspec.json.encode(frame))
    return error.value


@given(messages)
def test_what_is_encoded_is_decoded(message: AnyClientMessage) -> None:
    assert decode_message(encode(message)) == message


def refusal_of(frame: str | bytes) -> MalformedMessageError | None:
    """How the codec refuses the frame; None when it takes it. Anything else that is raised fails the test."""
    try:
        decode_message(frame)
    except MalformedMessageError as error:
        return error
    return None


@given(st.binary(max_size=200) | st.text(max_size=200) | json_values.map(msgspec.json.encode))
def test_anything_else_is_refused_with_a_code_and_a_reason(frame: str | bytes) -> None:
    error = refusal_of(frame)
    assert error is not None
    assert error.code in ErrorCode
    assert error.reason


@given(
    st.sampled_from(["user_message", "resume", "ack", "cancel"]),
    st.dictionaries(st.sampled_from(["content", "thread_id", "seq", "epoch", "run_id", "colour"]), json_values),
)
def test_a_message_with_a_wrong_field_is_refused_by_the_name_of_the_field(kind: str, fields: dict[str, Any]) -> None:
    error = refusal_of(msgspec.json.encode({"type": kind} | fields))
    assert error is None or error.field is not None


@pytest.mark.parametrize(
    "legacy",
    [
        {"type": "chat_message", "content": "hi", "session_id": "s"},
        {"type": "chat_message", "message": "hi", "thread_id": "s"},
        {"type": "user_message", "text": "hi", "session_id": "s"},
    ],
)
def test_forms_of_older_clients_mean_a_user_message(legacy: dict[str, str]) -> None:
    assert decode_message(msgspec.json.encode(legacy)) == UserMessage(content="hi", thread_id="s")


def test_a_field_under_its_old_and_its_new_name_is_refused() -> None:
    error = refuse({"type": "user_message", "content": "a", "message": "b"})
    assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, "message")


@pytest.mark.parametrize("size", [MAX_INBOUND_BYTES, MAX_INBOUND_BYTES + 1])
def test_the_limit_counts_bytes_not_characters(size: int) -> None:
    frame = '{"type":"ping","nonce":"%s"}'
    room = size - len(frame) + 2
    text = frame % ("ü" * (room // 2) + "x" * (room % 2))
    assert len(text.encode()) == size
    if size > MAX_INBOUND_BYTES:
        assert refuse(text).code is ErrorCode.MESSAGE_TOO_LARGE
    else:
        assert isinstance(decode_message(text), Ping)


def test_a_refusal_carries_the_id_of_the_request() -> None:
    assert refuse({"type": "user_message", "id": "r1"}).request_id == "r1"


def test_of_a_field_that_is_there_twice_the_last_one_counts() -> None:
    assert decode_message('{"type":"ping","nonce":"a","nonce":"b"}') == Ping(nonce="b")
