"""Kill -9 amid fifty turns, restart, resume: nothing acknowledged is lost, nothing sent is lost or doubled.

And the death of the database: the process ends when it is told to.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from sqlalchemy import make_url

from fault_proxy import Cut, FaultProxy
from gateway.identity.tokens import TokenIssuer
from gateway.testing.client import TERMINAL_EVENTS, ChatClient, ConnectionEndedError
from mock_llm.testing import RunningMockLLM, mock_llm_in_thread

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
USERS = 10
TURNS_PER_USER = 5
KILL_AFTER_EVENTS = 400

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    "GATEWAY_JWT_KEYS": f"main={KEY.decode()}",
    "GATEWAY_DRAIN_TIMEOUT": "0.5",
    "GATEWAY_GOODBYE_TIMEOUT": "0.5",
    "GATEWAY_FLUSH_TIMEOUT": "1",
}

PACED = """
name: paced
rules:
  - name: told
    match: {tool_result: true}
    reply: [{text: ["It ", "is ", "forty", "-two", "."]}]
    timing: {chunk_delay: 5ms}
  - name: ask
    match: {}
    reply:
      - reasoning: ["Let me ", "compute."]
      - tool_call: {name: calculator, arguments: {expression: "6 * 7"}}
    timing: {chunk_delay: 5ms}
"""

Events = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def model() -> Iterator[RunningMockLLM]:
    with mock_llm_in_thread(PACED) as running:
        yield running


@pytest.fixture
def anyio_backend() -> str:
    """The clients': what is put to the test is the process beyond the socket, on both backends."""
    return "asyncio"


@pytest.fixture(params=["asyncio-postgresql", "trio-sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Backend and database URL of the gateway."""
    backend, _, database = str(request.param).partition("-")
    if database == "sqlite":
        return backend, f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    return backend, str(request.getfixturevalue("postgres_url"))


@asynccontextmanager
async def gateway_process(place: tuple[str, str], model_url: str) -> AsyncIterator[tuple[Process, str]]:
    backend, database_url = place
    arguments = ["serve", "--port", "0", "--backend", backend]
    arguments += ["--database-url", database_url, "--llm-base-url", model_url]
    async with await anyio.open_process(
        [sys.executable, "-m", "gateway", *arguments],
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        ready = json.loads(await TextReceiveStream(process.stdout).receive())
        try:
            yield process, ready["ws_url"]
        finally:
            if process.returncode is None:
                process.kill()


def headers(user: str) -> dict[str, str]:
    issuer = TokenIssuer({"main": KEY}, issuer="streamproof", audience="streamproof-gateway")
    return {"Authorization": f"Bearer {issuer.mint(user)}"}


async def chat_until_death(url: str, user: str, seen: Events, enough: anyio.Event) -> None:
    """Send this user's messages and note every event, until the gateway dies."""
    try:
        async with ChatClient.connect(url, headers=headers(user)) as client:
            await client.receive()
            for number in range(TURNS_PER_USER):
                await client.send({"type": "user_message", "content": "compute", "thread_id": f"{user}-{number}"})
            while True:
                event = await client.receive()
                seen.setdefault(event["thread_id"], []).append(event)
                if sum(map(len, seen.values())) >= KILL_AFTER_EVENTS:
                    enough.set()
    except ConnectionEndedError:
        return


async def resume_all(url: str, user: str, seen: Events) -> None:
    """Go on where the user's threads broke off, and read each to the end of its run."""
    async with ChatClient.connect(url, headers=headers(user)) as client:
        await client.receive()
        for thread_id in [name for name in seen if name.startswith(f"{user}-")]:
            events = seen[thread_id]
            if events[-1]["type"] in TERMINAL_EVENTS:
                continue
            position = {"thread_id": thread_id, "epoch": events[-1]["epoch"], "seq": events[-1]["seq"]}
            await client.send({"type": "resume", **position})
            events.extend(await client.receive_until(*TERMINAL_EVENTS))


def not_in_order(seen: Events) -> tuple[int, int]:
    """How many events are missing, and how many came more than once."""
    lost = doubled = 0
    for events in seen.values():
        counts = Counter(event["seq"] for event in events)
        lost += max(counts) - len(counts)
        doubled += counts.total() - len(counts)
    return lost, doubled


async def test_fifty_turns_survive_a_kill_without_lost_or_doubled_events(
    place: tuple[str, str], model: RunningMockLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Events = {}
    users = [f"user{number}" for number in range(USERS)]
    async with gateway_process(place, model.openai_url) as (process, url), anyio.create_task_group() as group:
        enough = anyio.Event()
        for user in users:
            group.start_soon(chat_until_death, url, user, seen, enough)
        with anyio.fail_after(40):
            await enough.wait()
        process.kill()
    cut = sum(events[-1]["type"] not in TERMINAL_EVENTS for events in seen.values())
    async with gateway_process(place, model.openai_url) as (process, url), anyio.create_task_group() as group:
        for user in users:
            group.start_soon(resume_all, url, user, seen)
    lost, doubled = not_in_order(seen)
    with capsys.disabled():
        events = sum(map(len, seen.values()))
        print(
            f"\n{place[0]}: {len(seen)} turns, {cut} cut by the kill, {events} events: {lost} lost, {doubled} doubled"
        )
    assert cut > 0, "the kill came when no turn was under way"
    assert (lost, doubled) == (0, 0)
    assert all([event["seq"] for event in events] == list(range(1, len(events) + 1)) for events in seen.values())
    assert {events[-1]["type"] for events in seen.values()} <= set(TERMINAL_EVENTS)
    assert len({event["epoch"] for events in seen.values() for event in events}) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_sigterm_ends_a_gateway_whose_database_is_gone_while_turns_are_under_way(
    backend: str, model: RunningMockLLM, postgres_url: str
) -> None:
    url = make_url(postgres_url)
    async with FaultProxy(url.host or "127.0.0.1", url.port or 5432) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        async with (
            gateway_process((backend, through), model.openai_url) as (process, ws_url),
            ChatClient.connect(ws_url, headers=headers("alice")) as client,
        ):
            await client.receive()
            for number in range(4):
                await client.send({"type": "user_message", "content": "compute", "thread_id": f"t{number}"})
            await client.receive_until("agent_thinking")
            proxy.refuse()
            proxy.cut(Cut.RST)
            process.terminate()
            ended = await client.wait_closed()
            with anyio.fail_after(15):
                returncode = await process.wait()
    assert (ended.code, returncode) == (4503, 0)
