"""How a gateway stops, and what it finds when it starts again."""

from functools import partial
from pathlib import Path

import anyio
import pytest

from gateway.delivery.connection import Connection
from gateway.delivery.hub import Hub
from gateway.delivery.outbox import Outbox
from gateway.drain import close_connections
from gateway.identity.principal import Principal
from gateway.ids import IdGenerator
from gateway.settings import Settings
from gateway.testing import TEST_KEYS, make_settings, running_gateway
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
            async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("late")) as late_client:
                assert (await late_client.receive())["type"] == "welcome"
                late = await late_client.receive()
            socketio = f"ws{gateway.url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket"
            async with ChatClient.connect(socketio, headers=gateway.headers("late")) as late_client:
                await late_client.send("40")
                while not (message := await late_client.receive_text()).startswith("42"):
                    pass
            await client.send({"type": "user_message", "content": "one more"})
            refused = (await client.receive_until("busy"))[-1]
            llm.barriers.release("middle")
            last = (await client.receive_until("agent_completed"))[-1]
            ended = await client.wait_closed()
    assert late == draining
    assert message.startswith('42["error",{"code":"draining"')
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


async def test_a_message_sent_again_after_the_restart_does_not_run_again(tmp_path: Path) -> None:
    message = {"type": "user_message", "content": "go", "thread_id": "talk", "message_id": "only-once"}
    streams = []
    async with running_mock_llm(HELD) as llm:
        settings = make_settings(tmp_path, llm.openai_url)
        for _ in range(2):
            async with (
                running_gateway(settings) as gateway,
                ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
            ):
                await client.receive()
                await client.send(message)
                streams.append(await client.receive_until("agent_completed"))
        calls = len(llm.requests())
    before, after = streams
    assert after[0]["payload"] == {"message_id": "only-once", "duplicate": True}
    assert after[1:] == before
    assert calls == 1


async def test_connections_are_closed_one_after_the_other_each_with_a_hint_of_its_own() -> None:
    # No more sockets than that are needed to see it: what closes them does not know what carries them.
    settings = Settings.from_mapping({"jwt_keys": TEST_KEYS, "drain_spread": 0.2, "drain_retry": 5.0})
    ids, hub = IdGenerator(), Hub()
    closed: dict[str, tuple[float, str]] = {}

    def end(connection: Connection) -> None:
        assert connection.closing is not None
        closed[connection.id] = (anyio.current_time(), connection.closing[1])
        hub.remove(connection)

    for _ in range(300):
        principal = Principal("tenant", "alice", frozenset(), 1e12)
        connection = Connection(ids.connection(), principal, hub, Outbox(1 << 16, coalesce_bytes=1 << 16))
        connection.on_close(lambda: None, finished=partial(end, connection))
        hub.add(connection)
    await close_connections(hub, settings)
    began = min(moment for moment, _ in closed.values())
    late = [moment for moment, _ in closed.values() if moment >= began + 0.1]
    hints = [int(reason.rpartition("=")[2]) for _, reason in closed.values()]
    assert len(closed) == 300
    assert 50 <= len(late) <= 250
    assert len(set(hints)) > 200
    assert 0 <= min(hints) <= max(hints) <= 5000


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
