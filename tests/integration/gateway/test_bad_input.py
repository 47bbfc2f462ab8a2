"""Bad input over a real socket: a clear error each time, and the same connection then runs a turn as if nothing was."""

import logging
from typing import Any

import msgspec
import pytest

from gateway.testing import RunningGateway
from gateway.testing.client import ChatClient, HandshakeRefusedError

pytestmark = pytest.mark.anyio


FRAME = '{"type":"user_message","content":"%s"}'
SAY: dict[str, Any] = {"type": "user_message", "content": "hi"}
HERE: dict[str, Any] = {"thread_id": "talk", "epoch": "e"}

MALFORMED: dict[str, list[tuple[str, Any, str, str | None]]] = {
    "JSON that cannot be parsed": [
        ("broken", "{not json", "invalid_json", None),
        ("cut off", '{"type": "user_message", "content": "h', "invalid_json", None),
        ("empty frame", "", "invalid_json", None),
        ("two documents", '{"type": "ping"}{"type": "ping"}', "invalid_json", None),
        ("not a number of JSON", '{"type": "ping", "nonce": NaN}', "invalid_json", None),
        ("not UTF-8", b"\xff\xfe", "invalid_json", None),
        ("half a character pair", '{"type": "user_message", "content": "\\ud800"}', "invalid_json", None),
        ("deep nesting", "[" * 4000, "invalid_json", None),
    ],
    "not a message": [
        ("array", "[1, 2]", "invalid_message", None),
        ("string", '"user_message"', "invalid_message", None),
        ("null", "null", "invalid_message", None),
        ("unknown type", {"type": "no_such_type"}, "unknown_type", "type"),
        ("event of the gateway", {"type": "agent_completed", "payload": {}}, "unknown_type", "type"),
    ],
    "missing fields": [
        ("type", {"content": "hi"}, "missing_field", "type"),
        ("empty object", {}, "missing_field", "type"),
        ("content", {"type": "user_message"}, "missing_field", "content"),
        ("run", {"type": "cancel"}, "missing_field", "run_id"),
        ("channel", {"type": "subscribe"}, "missing_field", "channel"),
        ("epoch", {"type": "resume", "thread_id": "talk", "seq": 1}, "missing_field", "epoch"),
        ("position", {"type": "ack", **HERE}, "missing_field", "seq"),
        ("token", {"type": "auth"}, "missing_field", "token"),
    ],
    "invalid types": [
        ("type", {"type": 5, "content": "hi"}, "invalid_field", "type"),
        ("content number", {"type": "user_message", "content": 5}, "invalid_field", "content"),
        ("content object", {"type": "user_message", "content": {"text": "hi"}}, "invalid_field", "content"),
        ("content array", {"type": "user_message", "content": ["hi"]}, "invalid_field", "content"),
        ("thread number", SAY | {"thread_id": 7}, "invalid_field", "thread_id"),
        ("flag as text", SAY | {"enable_thinking": "yes"}, "invalid_field", "enable_thinking"),
        ("seq as text", {"type": "ack", **HERE, "seq": "4"}, "invalid_field", "seq"),
        ("seq fraction", {"type": "resume", **HERE, "seq": 1.5}, "invalid_field", "seq"),
        ("nonce object", {"type": "ping", "nonce": {}}, "invalid_field", "nonce"),
    ],
    "null values": [
        ("type", {"type": None, "content": "hi"}, "invalid_field", "type"),
        ("content", {"type": "user_message", "content": None}, "invalid_field", "content"),
        ("run", {"type": "cancel", "run_id": None}, "invalid_field", "run_id"),
        ("epoch", {"type": "resume", "thread_id": "talk", "epoch": None, "seq": 0}, "invalid_field", "epoch"),
    ],
    "values out of bounds": [
        ("blank content", {"type": "user_message", "content": " \n "}, "invalid_field", "content"),
        ("empty thread", SAY | {"thread_id": ""}, "invalid_field", "thread_id"),
        ("thread with a space", SAY | {"thread_id": "a b"}, "invalid_field", "thread_id"),
        ("thread with a line end", SAY | {"thread_id": "a\n"}, "invalid_field", "thread_id"),
        ("thread as a path", SAY | {"thread_id": "../../etc"}, "invalid_field", "thread_id"),
        ("thread as SQL", SAY | {"thread_id": "x';DROP TABLE runs"}, "invalid_field", "thread_id"),
        ("long id", SAY | {"message_id": "m" * 129}, "invalid_field", "message_id"),
        ("priority", SAY | {"priority": "urgent"}, "invalid_field", "priority"),
        ("negative seq", {"type": "ack", **HERE, "seq": -1}, "invalid_field", "seq"),
        ("unknown field", SAY | {"colour": 1}, "invalid_field", "colour"),
        ("field under two names", SAY | {"message": "ho"}, "invalid_field", "message"),
        ("another user's name", SAY | {"user_id": "bob"}, "invalid_field", "user_id"),
    ],
    "too large": [
        ("one byte over", FRAME % ("x" * (8193 - len(FRAME % ""))), "message_too_large", None),
        ("far over", SAY | {"content": "x" * 100_000}, "message_too_large", None),
        ("over in bytes, not in characters", SAY | {"content": "\u20ac" * 3000}, "message_too_large", None),
    ],
}


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        pytest.param(message, code, field, id=f"{family}: {form}")
        for family, forms in MALFORMED.items()
        for form, message, code, field in forms
    ],
)
async def test_a_bad_message_is_answered_and_the_connection_lives_on(
    gateway: RunningGateway, message: dict[str, Any] | str | bytes, code: str, field: str | None
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send(message)
        error = await client.receive()
        await client.send({"type": "ping", "nonce": "still here"})
        pong = await client.receive()
    assert (error["type"], error["payload"]["code"], error["payload"].get("field")) == ("error_event", code, field)
    assert pong["payload"]["nonce"] == "still here"


async def test_nothing_that_a_client_writes_gets_into_the_log(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="gateway")
    forged = 'canary\n{"event": "forged", "level": "error"}\r\n'
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("o'mallory\"}")) as client:
        await client.receive()
        await client.send(forged)
        await client.send({"type": "user_message", "content": forged, "message_id": forged})
        await client.send({"type": forged})
        await client.send({"type": "auth", "token": forged})
        await client.send({"type": "user_message", "content": forged, "thread_id": "talk"})
        await client.receive_until("agent_completed")
    with pytest.raises(HandshakeRefusedError):
        async with ChatClient.connect(gateway.ws_url, subprotocols=["bearer.canary"]):
            pass
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("gateway")]
    assert lines
    assert not [line for line in lines if "canary" in line or "\n" in line or "\r" in line]
    assert {type(msgspec.json.decode(line)) for line in lines} == {dict}


async def test_an_error_names_the_request_it_is_about(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "id": "req-7"})
        error = await client.receive()
    assert error["payload"]["request_id"] == "req-7"


async def test_a_message_at_the_size_limit_is_taken(gateway: RunningGateway) -> None:
    content = "x" * (8192 - len(FRAME % ""))
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send(FRAME % content)
        event = await client.receive()
    assert event["type"] == "message_accepted"


async def test_one_users_bad_messages_do_not_touch_another_user(gateway: RunningGateway) -> None:
    async with (
        ChatClient.connect(gateway.ws_url, headers=gateway.headers("mallory")) as mallory,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers("alice")) as alice,
    ):
        await mallory.receive()
        await alice.receive()
        await alice.send({"type": "user_message", "content": "Analyse my system performance"})
        for _ in range(50):
            await mallory.send("{")
        events = await alice.receive_until("agent_completed", "error_event")
        errors = [await mallory.receive() for _ in range(50)]
    assert events[-1]["type"] == "agent_completed"
    assert {error["payload"]["code"] for error in errors} == {"invalid_json"}
