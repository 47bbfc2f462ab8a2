"""PostgreSQL goes away in the middle of a turn, for a while or for good: `busy`, nothing lost, and an end in time."""

import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import Connection, make_url

from fault_proxy import Cut, FaultProxy
from gateway.storage.database import Database
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

HELD = """
name: held
rules:
  - name: held
    match: {user: "wait"}
    reply: [{text: ["one ", "two ", "three"]}]
    hold: [{barrier: middle, after_event: 2}]
  - name: direct
    match: {}
    reply: [{text: ["done"]}]
"""


@pytest.fixture
async def proxy(postgres_url: str) -> AsyncIterator[FaultProxy]:
    url = make_url(postgres_url)
    async with FaultProxy(url.host or "127.0.0.1", url.port or 5432) as running:
        yield running


@pytest.fixture
async def held_llm() -> AsyncIterator[RunningMockLLM]:
    async with running_mock_llm(HELD) as running:
        yield running


@pytest.fixture
async def gateway(proxy: FaultProxy, held_llm: RunningMockLLM, postgres_url: str) -> AsyncIterator[RunningGateway]:
    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    async with running_gateway(
        make_settings(url, held_llm.openai_url, storage_timeout=0.4, health_timeout=0.5)
    ) as running:
        yield running


async def test_a_turn_survives_the_outage_and_new_messages_are_told_to_wait(
    gateway: RunningGateway, proxy: FaultProxy, held_llm: RunningMockLLM
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": "wait", "thread_id": "talk"})
        events = await client.receive_until("partial_result")
        proxy.refuse()
        proxy.cut(Cut.RST)
        held_llm.barriers.release("middle")
        await client.send({"type": "user_message", "content": "more", "thread_id": "other", "message_id": "retry-me"})
        busy = (await client.receive_until("busy"))[-1]
        proxy.accept()
        events += await client.receive_until("agent_completed")
    of_the_turn = [event for event in events if event.get("thread_id") == "talk"]
    assert busy["payload"]["retry_after_ms"] > 0
    assert [event["seq"] for event in of_the_turn] == list(range(1, len(of_the_turn) + 1))
    assert of_the_turn[-1]["payload"]["text"] == "one two three"


async def test_a_message_that_was_told_to_wait_runs_once_when_it_is_sent_again(
    gateway: RunningGateway, proxy: FaultProxy
) -> None:
    message = {"type": "user_message", "content": "more", "thread_id": "talk", "message_id": "retry-me"}
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        proxy.refuse()
        proxy.cut(Cut.RST)
        await client.send(message)
        await client.receive_until("busy")
        proxy.accept()
        await client.send(message)
        events = await client.receive_until("agent_completed")
        await client.send({"type": "ping"})
        rest = await client.receive_until("pong")
    assert [event["type"] for event in events].count("agent_started") == 1
    assert "agent_started" not in {event["type"] for event in rest}


async def test_a_message_that_a_silent_database_keeps_waiting_runs_once_under_the_id_that_busy_names(
    gateway: RunningGateway, proxy: FaultProxy, held_llm: RunningMockLLM
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.chat("more", thread_id="talk")
        asked = len(held_llm.requests())
        proxy.stall()
        await client.send({"type": "user_message", "content": "more", "id": "r"})
        busy = await client.receive()
        proxy.resume()
        await client.send({"type": "user_message", "content": "more", "message_id": busy["payload"]["message_id"]})
        # Either arrival may be the first; the run is the same, and there is one.
        events = await client.receive_until("agent_completed")
        await client.send({"type": "ping"})
        events += await client.receive_until("pong")
    assert (busy["type"], busy["payload"]["request_id"]) == ("busy", "r")
    assert "message_id" in busy["payload"]["text"]
    assert len({event["run_id"] for event in events if "run_id" in event}) == 1
    assert len(held_llm.requests()) == asked + 1


async def test_who_waits_for_the_database_can_still_ping_and_cancel(gateway: RunningGateway, proxy: FaultProxy) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": "wait", "thread_id": "talk"})
        events = await client.receive_until("partial_result")
        proxy.stall()
        await client.send({"type": "user_message", "content": "more", "thread_id": "other"})
        await client.send({"type": "cancel", "run_id": events[0]["run_id"]})
        await client.send({"type": "ping", "nonce": "n"})
        first = [event for event in [await client.receive(), await client.receive()] if event["type"] != "busy"]
        proxy.resume()
        last = (await client.receive_until("error_event"))[-1]
    assert [event["type"] for event in first] == ["pong"]
    assert (last["run_id"], last["payload"]["code"]) == (events[0]["run_id"], "cancelled")


@pytest.mark.parametrize("how", ["is gone", "says nothing"])
async def test_a_stop_ends_in_time_when_the_database_does_not_take_the_last_event(
    proxy: FaultProxy, held_llm: RunningMockLLM, postgres_url: str, how: str
) -> None:
    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    times = {
        "drain_timeout": 0.2,
        "goodbye_timeout": 0.3,
        "stop_timeout": 0.3,
        "flush_timeout": 1.0,
        "database_connect_timeout": 2,
    }
    settings = make_settings(url, held_llm.openai_url, storage_timeout=0.4, **times)
    with anyio.fail_after(15):
        async with (
            running_gateway(settings) as gateway,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
        ):
            await client.receive()
            await client.send({"type": "user_message", "content": "wait", "thread_id": "talk"})
            events = await client.receive_until("partial_result")
            if how == "is gone":
                proxy.refuse()
                proxy.cut(Cut.RST)
            else:
                proxy.stall()
            # A read from the log, too, is under way when the gateway stops.
            position = {name: events[0][name] for name in ("thread_id", "epoch")}
            await client.send({"type": "resume", **position, "seq": 0})
            held_llm.barriers.release("middle")
            gateway.stop()
            ended = await client.wait_closed()
    proxy.clear()
    proxy.accept()
    async with (
        running_gateway(settings) as again,
        ChatClient.connect(again.ws_url, headers=again.headers()) as client,
    ):
        await client.receive()
        await client.send({"type": "resume", **position, "seq": events[-1]["seq"]})
        last = (await client.receive_until("error_event", "agent_completed"))[-1]
    # The HTTP server itself closes a connection whose last request waits for a database that says nothing.
    assert ended.code in {4503, 1012}
    assert last["run_id"] == events[0]["run_id"]
    assert last["type"] == "agent_completed" or last["payload"]["code"] == "interrupted"


async def test_a_server_that_falls_silent_is_given_up_after_seconds(proxy: FaultProxy, postgres_url: str) -> None:
    def patience(connection: Connection) -> tuple[int, int, int]:
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as same:
            return (
                same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            )

    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    async with Database.open(url, threads=1) as database:
        keepalive, idle_seconds, unanswered_ms = await database.run(patience)
    assert keepalive
    assert idle_seconds <= 10
    assert 0 < unanswered_ms <= 10_000


async def test_health_says_that_the_database_is_gone(gateway: RunningGateway, proxy: FaultProxy) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        before = await http.get("/health")
        proxy.refuse()
        proxy.cut(Cut.RST)
        during = await http.get("/health")
        proxy.accept()
        after = await http.get("/health")
    assert (before.status_code, during.status_code, after.status_code) == (200, 503, 200)


async def test_health_does_not_wait_for_a_database_that_says_nothing(
    gateway: RunningGateway, proxy: FaultProxy
) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=10) as http:
        await http.get("/health")
        proxy.stall()
        during = [await http.get(path) for path in ("/health", "/ready")]
        proxy.resume()
        after = await http.get("/health")
    assert [(answer.status_code, answer.json()["database"]) for answer in during] == [
        (503, "the database does not answer")
    ] * 2
    assert after.status_code == 200
