"""One chat turn over a real socket, from the handshake to the stored answer."""

import msgspec
import pytest

from gateway.testing import RunningGateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM

pytestmark = pytest.mark.anyio

QUESTION = "Analyse my system performance"


async def test_welcome_comes_first_and_names_version_and_limits(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        welcome = await client.receive()
    assert welcome["type"] == "welcome"
    assert welcome["payload"]["protocol_version"] == "1.0"
    assert welcome["payload"]["limits"]["max_inbound_bytes"] == 8192
    assert welcome["payload"]["limits"]["max_outbound_bytes"] == 1 << 20


async def test_a_turn_streams_every_kind_of_event_in_order(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION)
    kinds = list(dict.fromkeys(event["type"] for event in events))
    assert kinds == [
        "message_accepted",
        "agent_started",
        "agent_thinking",
        "tool_executing",
        "tool_completed",
        "partial_result",
        "agent_completed",
    ]


async def test_every_event_of_a_turn_has_its_place_in_one_log(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({(event["epoch"], event["thread_id"], event["run_id"], event["user_id"]) for event in events}) == 1


async def test_the_answer_is_the_sum_of_its_pieces(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION)
    pieces = [event["payload"]["text"] for event in events if event["type"] == "partial_result"]
    assert events[-1]["payload"]["text"] == "".join(pieces)
    assert events[-1]["payload"]["usage"]["output_tokens"] > 0


async def test_reasoning_is_left_out_when_the_client_does_not_want_it(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, enable_thinking=False)
    assert "agent_thinking" not in {event["type"] for event in events}
    assert events[-1]["type"] == "agent_completed"


async def test_the_next_turn_of_a_thread_goes_on_counting(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        first = await client.chat(QUESTION, thread_id="talk")
        second = await client.chat(QUESTION, thread_id="talk")
    assert second[0]["seq"] == first[-1]["seq"] + 1


async def test_the_model_sees_the_earlier_messages_of_the_thread(gateway: RunningGateway, llm: RunningMockLLM) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        first = await client.chat(QUESTION, thread_id="talk")
        await client.chat("And now?", thread_id="talk")
    body = msgspec.json.decode(llm.requests()[-1].body or b"")
    contents = [message["content"] for message in body["messages"]]
    assert QUESTION in contents
    assert first[-1]["payload"]["text"] in contents


async def test_legacy_forms_are_understood(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "chat_message", "session_id": "old", "message": QUESTION})
        events = await client.receive_until("agent_completed")
    assert {event["thread_id"] for event in events} == {"old"}


async def test_two_users_get_only_their_own_events(gateway: RunningGateway) -> None:
    async with (
        ChatClient.connect(gateway.ws_url, headers=gateway.headers("alice")) as alice,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers("bob")) as bob,
    ):
        await alice.receive()
        await bob.receive()
        of_alice = await alice.chat(QUESTION, thread_id="same-name")
        of_bob = await bob.chat(QUESTION, thread_id="same-name")
    assert {event["user_id"] for event in of_alice} == {"alice"}
    assert {event["user_id"] for event in of_bob} == {"bob"}
    assert of_bob[0]["seq"] == 1
