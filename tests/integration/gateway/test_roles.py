"""Roles decide which tools a turn has and which events its user sees, also when they change in mid-connection."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

SCENARIO = """
name: roles
rules:
  - name: held
    match: {tool_result: true, user: "Slowly"}
    reply: [{reasoning: ["Now I know. ", "I tell."]}, {text: ["It is ", "42", "."]}]
    hold: [{barrier: told, after_event: 1}]
  - name: told
    match: {tool_result: true}
    reply: [{reasoning: ["Now I know. ", "I tell."]}, {text: ["It is ", "42", "."]}]
  - name: ask
    match: {tool: calculator}
    reply: [{reasoning: ["I compute."]}, {tool_call: {name: calculator, arguments: {expression: "6 * 7"}}}]
  - name: search
    match: {tool: search}
    reply: [{text: ["Only search."]}]
  - name: direct
    match: {}
    reply: [{text: ["No tools."]}]
"""
TOOL_EVENTS = {"tool_executing", "tool_completed"}


@pytest.fixture(scope="module")
async def llm(anyio_backend: object) -> AsyncIterator[RunningMockLLM]:  # noqa: ARG001  runs on the test's backend
    async with running_mock_llm(SCENARIO) as running:
        yield running


@pytest.fixture(scope="module")
async def module_gateway(
    llm: RunningMockLLM, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningGateway]:
    roles = {
        "thinking_roles": ["analyst"],
        "tool_event_roles": ["analyst"],
        "tool_roles": {"calculator": ["analyst", "user"]},
    }
    async with running_gateway(make_settings(tmp_path_factory.mktemp("roles"), llm.openai_url, **roles)) as running:
        yield running


def places(events: list[dict[str, Any]]) -> list[int]:
    """The places in the log that the events stand for."""
    return [
        place
        for event in events
        if "seq" in event
        for place in range(event.get("first_seq", event["seq"]), event["seq"] + 1)
    ]


async def chat(gateway: RunningGateway, *roles: str) -> list[dict[str, Any]]:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(roles=roles)) as client:
        await client.send({"type": "user_message", "content": "What is six times seven?", "thread_id": "talk"})
        return await client.receive_until("agent_completed")


@pytest.mark.parametrize(("role", "text"), [("analyst", "It is 42."), ("guest", "Only search.")])
async def test_the_model_is_offered_the_tools_that_the_roles_open(
    gateway: RunningGateway, role: str, text: str
) -> None:
    assert (await chat(gateway, role))[-1]["payload"]["text"] == text


async def test_a_role_shows_reasoning_and_tool_calls(gateway: RunningGateway) -> None:
    events = await chat(gateway, "analyst")
    assert {"agent_thinking"} | TOOL_EVENTS <= {event["type"] for event in events}
    assert not any("first_seq" in event for event in events)


async def test_without_it_neither_is_seen_and_no_place_is_missing(gateway: RunningGateway) -> None:
    events = await chat(gateway, "user")
    assert not ({"agent_thinking"} | TOOL_EVENTS) & {event["type"] for event in events}
    assert places(events) == list(range(1, events[-1]["seq"] + 1))


async def test_a_replay_shows_what_the_roles_of_the_reader_open(gateway: RunningGateway) -> None:
    written = await chat(gateway, "analyst")
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(roles=["user"])) as client:
        await client.send({"type": "resume", "thread_id": "talk", "epoch": written[-1]["epoch"], "seq": 0})
        events = await client.receive_until("agent_completed")
    assert not ({"agent_thinking"} | TOOL_EVENTS) & {event["type"] for event in events}
    assert places(events) == [event["seq"] for event in written if "seq" in event]


async def test_a_role_that_is_lost_in_mid_turn_hides_the_rest_of_it(
    gateway: RunningGateway, llm: RunningMockLLM
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(roles=["analyst"])) as client:
        await client.send({"type": "user_message", "content": "What is six times seven? Slowly, please."})
        before = await client.receive_until("tool_completed")
        await client.send({"type": "auth", "token": gateway.token(roles=["user"])})
        await client.send({"type": "ping"})
        before += await client.receive_until("pong")
        llm.barriers.release("told")
        after = await client.receive_until("agent_completed")
    assert "agent_thinking" in {event["type"] for event in before}
    assert "agent_thinking" not in {event["type"] for event in after}
    assert places(before + after) == list(range(1, after[-1]["seq"] + 1))


async def test_a_role_that_is_gained_shows_what_comes_from_then_on(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(roles=["user"])) as client:
        await client.send({"type": "auth", "token": gateway.token(roles=["analyst"])})
        await client.send({"type": "user_message", "content": "What is six times seven?"})
        events = await client.receive_until("agent_completed")
    assert {"agent_thinking"} | TOOL_EVENTS <= {event["type"] for event in events}


async def test_another_users_token_does_not_take_over_the_connection(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("alice")) as client:
        await client.receive()
        await client.send({"type": "auth", "token": gateway.token("mallory", roles=["analyst"])})
        refused = await client.receive()
        await client.send({"type": "ping"})
        await client.receive_until("pong")
    assert (refused["payload"]["code"], refused["payload"]["field"]) == ("forbidden", "token")


async def test_a_bad_fresh_token_leaves_the_old_one_in_force(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "auth", "token": gateway.token(lifetime=-1)})
        refused = await client.receive()
        await client.send({"type": "ping"})
        await client.receive_until("pong")
    assert refused["payload"]["code"] == "unauthenticated"
    assert "expired" in refused["payload"]["text"]
