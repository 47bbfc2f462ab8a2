"""How a gateway stops, and what it finds when it starts again."""

from pathlib import Path

import pytest

from gateway.testing import make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import running_mock_llm

pytestmark = pytest.mark.anyio

HELD = """
name: held
rules:
  - name: held
    match: {user: "wait"}
    reply: [{text: ["one ", "two"]}]
    hold: [{barrier: middle, after_event: 2}]
  - name: direct
    match: {}
    reply: [{text: ["done"]}]
"""


async def test_a_stop_lets_the_running_turn_end_and_then_closes_with_a_hint(tmp_path: Path) -> None:
    async with running_mock_llm(HELD) as llm:
        settings = make_settings(tmp_path, llm.openai_url, drain_timeout=30)
        async with (
            running_gateway(settings) as gateway,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
        ):
            await client.receive()
            await client.send({"type": "user_message", "content": "wait"})
            await client.receive_until("partial_result")
            gateway.stop()
            draining = (await client.receive_until("draining"))[-1]
            await client.send({"type": "user_message", "content": "one more"})
            refused = (await client.receive_until("busy"))[-1]
            llm.barriers.release("middle")
            last = (await client.receive_until("agent_completed"))[-1]
            ended = await client.wait_closed()
    assert draining["payload"]["retry_after_ms"] > 0
    assert "shutting down" in refused["payload"]["text"]
    assert last["payload"]["text"] == "one two"
    assert ended.code == 4503
    assert "retry_after_ms=" in ended.reason


async def test_a_turn_that_does_not_end_in_time_is_handed_back(tmp_path: Path) -> None:
    async with running_mock_llm(HELD) as llm:
        settings = make_settings(tmp_path, llm.openai_url, drain_timeout=0.1)
        async with (
            running_gateway(settings) as gateway,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
        ):
            await client.receive()
            await client.send({"type": "user_message", "content": "wait"})
            await client.receive_until("partial_result")
            gateway.stop()
            last = (await client.receive_until("error_event"))[-1]
            ended = await client.wait_closed()
    assert last["payload"]["code"] == "interrupted"
    assert ended.code == 4503


async def test_a_message_that_had_not_begun_runs_after_the_restart(tmp_path: Path) -> None:
    async with running_mock_llm(HELD) as llm:
        settings = make_settings(tmp_path, llm.openai_url, runs_per_user=1, drain_timeout=0.1)
        async with (
            running_gateway(settings) as gateway,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
        ):
            await client.receive()
            await client.send({"type": "user_message", "content": "wait", "thread_id": "one"})
            await client.receive_until("partial_result")
            await client.send({"type": "user_message", "content": "next", "thread_id": "two"})
            accepted = await client.receive()
        async with (
            running_gateway(settings) as gateway,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
        ):
            await client.receive()
            await client.send({"type": "resume", "thread_id": "two", "epoch": accepted["epoch"], "seq": 1})
            events = await client.receive_until("agent_completed")
    assert events[0]["type"] == "agent_started"
    assert {event["run_id"] for event in events} == {accepted["run_id"]}
