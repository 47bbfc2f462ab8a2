"""PostgreSQL goes away in the middle of a turn and comes back: `busy` meanwhile, and nothing is lost."""

import os
import socket
from collections.abc import AsyncIterator
from typing import Any

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
    async with running_gateway(make_settings(url, held_llm.openai_url, storage_timeout=0.4)) as running:
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
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
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
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=10) as http:
        await http.get("/health")
        proxy.stall()
        during = [await http.get(path) for path in ("/health", "/ready")]
        proxy.resume()
        after = await http.get("/health")
    assert [(answer.status_code, answer.json()["database"]) for answer in during] == [
        (503, "the database does not answer")
    ] * 2
    assert after.status_code == 200
