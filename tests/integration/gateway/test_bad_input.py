"""Bad input over a real socket: a clear error each time, and the same connection then runs a turn as if nothing was."""

from typing import Any

import pytest

from gateway.testing import RunningGateway
from gateway.testing.client import ChatClient

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        pytest.param("{not json", "invalid_json", None, id="malformed JSON"),
        pytest.param("", "invalid_json", None, id="empty frame"),
        pytest.param(b"\xff\xfe", "invalid_json", None, id="bytes that are not UTF-8"),
        pytest.param("[1, 2]", "invalid_message", None, id="not an object"),
        pytest.param("[" * 4000, "invalid_json", None, id="deep nesting"),
        pytest.param({"type": "no_such_type"}, "unknown_type", "type", id="unknown type"),
        pytest.param({"content": "hi"}, "missing_field", "type", id="missing type"),
        pytest.param({"type": None, "content": "hi"}, "invalid_field", "type", id="null type"),
        pytest.param({"type": "user_message"}, "missing_field", "content", id="missing content"),
        pytest.param({"type": "user_message", "content": None}, "invalid_field", "content", id="null content"),
        pytest.param({"type": "user_message", "content": "  "}, "invalid_field", "content", id="blank content"),
        pytest.param({"type": "user_message", "content": 5}, "invalid_field", "content", id="content of wrong type"),
        pytest.param(
            {"type": "user_message", "content": "hi", "thread_id": "a b"}, "invalid_field", "thread_id", id="bad id"
        ),
        pytest.param(
            {"type": "user_message", "content": "hi", "colour": 1}, "invalid_field", "colour", id="unknown field"
        ),
        pytest.param({"type": "user_message", "content": "x" * 9000}, "message_too_large", None, id="oversize"),
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


async def test_an_error_names_the_request_it_is_about(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "id": "req-7"})
        error = await client.receive()
    assert error["payload"]["request_id"] == "req-7"


async def test_a_message_at_the_size_limit_is_taken(gateway: RunningGateway) -> None:
    frame = '{"type":"user_message","content":"%s"}'
    content = "x" * (8192 - len(frame) + 2)
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send(frame % content)
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
