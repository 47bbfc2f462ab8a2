"""Kill -9 amid fifty turns, restart, resume: nothing acknowledged is lost, nothing sent is lost or doubled."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

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


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@asynccontextmanager
async def gateway_process(database_url: str, model_url: str) -> AsyncIterator[tuple[Process, str]]:
    arguments = ["serve", "--port", "0", "--database-url", database_url, "--llm-base-url", model_url]
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


async def test_fifty_turns_survive_a_kill_without_lost_or_doubled_events(
    database_url: str, model: RunningMockLLM
) -> None:
    seen: Events = {}
    users = [f"user{number}" for number in range(USERS)]
    async with gateway_process(database_url, model.openai_url) as (process, url), anyio.create_task_group() as group:
        enough = anyio.Event()
        for user in users:
            group.start_soon(chat_until_death, url, user, seen, enough)
        with anyio.fail_after(40):
            await enough.wait()
        process.kill()
    cut = sum(events[-1]["type"] not in TERMINAL_EVENTS for events in seen.values())
    async with gateway_process(database_url, model.openai_url) as (process, url), anyio.create_task_group() as group:
        for user in users:
            group.start_soon(resume_all, url, user, seen)
    lost_or_doubled = {
        thread_id: [event["seq"] for event in events]
        for thread_id, events in seen.items()
        if [event["seq"] for event in events] != list(range(1, len(events) + 1))
    }
    assert cut > 0, "the kill came when no turn was under way"
    assert lost_or_doubled == {}
    assert {events[-1]["type"] for events in seen.values()} <= set(TERMINAL_EVENTS)
    assert len({event["epoch"] for events in seen.values() for event in events}) == 1
