"""Clients that do not read, or are gone without a word: bounded memory, and an end that says where to go on."""

import gc
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from fault_proxy import FaultProxy
from gateway.delivery.connection import Connection
from gateway.delivery.outbox import Outbox
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient, ConnectionEndedError
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

PIECE = "x" * 2000
FLOOD = f"""
name: flood
rules:
  - name: flood
    match: {{user: "flood"}}
    reply: [{{text: [{", ".join(f'"{PIECE}{number}"' for number in range(400))}]}}]
  - name: large
    match: {{user: "large"}}
    reply: [{{text: [{"y" * 100_000}]}}]
  - name: held
    match: {{user: "wait"}}
    reply: [{{text: ["one ", "two ", "three"]}}]
    hold: [{{barrier: middle, after_event: 2}}]
  - name: short
    match: {{}}
    reply: [{{text: ["short"]}}]
"""
OUTBOUND_BYTES = 65536


@pytest.fixture(scope="module")
async def flooding_llm(anyio_backend: object) -> AsyncIterator[RunningMockLLM]:
    assert anyio_backend
    async with running_mock_llm(FLOOD) as running:
        yield running


@pytest.fixture(scope="module")
async def module_gateway(
    flooding_llm: RunningMockLLM, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningGateway]:
    settings = make_settings(
        tmp_path_factory.mktemp("slow"),
        flooding_llm.openai_url,
        outbound_bytes=OUTBOUND_BYTES,
        coalesce_bytes=16384,
        max_answer_bytes=1 << 24,
        max_outbound_bytes=1 << 25,
        send_timeout=0.5,
    )
    async with running_gateway(settings) as running:
        yield running


class LogLines(logging.Handler):
    """Waits for lines of the gateway's log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._changed = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._changed.set()

    async def until(self, *words: str) -> str:
        with anyio.fail_after(30):
            while True:
                for line in self.lines:
                    if all(word in line for word in words):
                        return line
                self._changed = anyio.Event()
                await self._changed.wait()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[LogLines]:
    caplog.set_level(logging.INFO, logger="gateway")
    lines = LogLines()
    logging.getLogger("gateway").addHandler(lines)
    yield lines
    logging.getLogger("gateway").removeHandler(lines)


async def read_to_the_end(client: ChatClient) -> tuple[list[dict[str, Any]], ConnectionEndedError]:
    events: list[dict[str, Any]] = []
    try:
        while True:
            events.append(await client.receive())
    except ConnectionEndedError as ended:
        return events, ended


def places(events: list[dict[str, Any]], thread_id: str) -> list[int]:
    """The places in the thread's log that the events stand for; merged text stands for several."""
    of_thread = [event for event in events if event.get("thread_id") == thread_id]
    return [seq for event in of_thread for seq in range(event.get("first_seq", event["seq"]), event["seq"] + 1)]


def connections_in_memory(gateway: RunningGateway, user_id: str) -> list[Connection]:
    """The connections of this test's user that anything still holds on to."""
    gc.collect()
    return [
        found
        for found in gc.get_objects()
        if isinstance(found, Connection)
        and (found.principal.tenant_id, found.principal.user_id) == (gateway.tenant_id, user_id)
    ]


async def flood(client: ChatClient, gateway: RunningGateway, epoch: str) -> None:
    """Let far more come than the client reads; over once the last answer is in the log.

    Others ask, for an evicted client's questions may never be read.
    """
    threads = [f"t{number}" for number in range(12)]
    for thread_id in threads:
        await client.send({"type": "resume", "thread_id": thread_id, "epoch": epoch, "seq": 0})
    await client.send({"type": "ping"})
    await client.receive_until("pong")
    for thread_id in threads:
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as asker:
            await asker.send({"type": "user_message", "content": "flood", "thread_id": thread_id})
            await asker.receive_until("message_accepted")
    await go_on(gateway, threads[-1], epoch=epoch, seq=0)


async def go_on(gateway: RunningGateway, thread_id: str, *, epoch: str, seq: int) -> list[dict[str, Any]]:
    """What follows place `seq` up to the end of the turn, for a client that resumes as often as it is put off."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] != "agent_completed":
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as client:
            await client.receive()
            place = events[-1]["seq"] if events else seq
            await client.send({"type": "resume", "thread_id": thread_id, "epoch": epoch, "seq": place})
            try:
                while not events or events[-1]["type"] != "agent_completed":
                    events.append(await client.receive())
            except ConnectionEndedError as ended:
                if ended.code != 4508:
                    raise
                # Other answers still flood in, and its outbox is a small one.
    return events


async def test_a_client_that_never_reads_is_evicted_and_goes_on_from_the_position_it_is_told(
    gateway: RunningGateway,
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as slow:
        welcome = await slow.receive()
        await flood(slow, gateway, welcome["epoch"])
        before, ended = await read_to_the_end(slow)
        told = re.fullmatch(r"too slow; resume seq=(\d+) thread=(t\d+)", ended.reason)
        assert ended.code == 4508
        assert told is not None
        seq, thread_id = int(told[1]), told[2]
    after = await go_on(gateway, thread_id, epoch=welcome["epoch"], seq=seq)
    arrived = places(before, thread_id)
    assert arrived == list(range(1, len(arrived) + 1))
    # What was being written at that moment may have arrived whole; it is not counted on, so it comes again.
    assert seq <= len(arrived)
    assert len([event for event in before if event.get("thread_id") == thread_id and event["seq"] > seq]) <= 1
    assert places(after, thread_id) == list(range(seq + 1, after[-1]["seq"] + 1))


async def test_what_waits_for_a_client_that_never_reads_is_bounded_and_freed_with_it(
    gateway: RunningGateway, log: LogLines
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as slow:
        welcome = await slow.receive()
        sizes = [0]
        original = Outbox.put
        [watched] = [connection.outbox for connection in connections_in_memory(gateway, "slow")]

        def put(outbox: Outbox, *arguments: Any) -> None:
            original(outbox, *arguments)
            if outbox is watched:
                sizes.append(outbox.waiting_bytes)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Outbox, "put", put)
            await flood(slow, gateway, welcome["epoch"])
            await log.until("disconnected", welcome["payload"]["connection_id"], "4508")
        # The line is written before the close frame is, and the connection is let go once that is done.
        with anyio.fail_after(60):
            while welcome["payload"]["connection_id"] in {held.id for held in connections_in_memory(gateway, "slow")}:
                await anyio.wait_all_tasks_blocked()
    assert OUTBOUND_BYTES // 2 < max(sizes) <= OUTBOUND_BYTES


async def test_an_answer_larger_than_the_budget_reaches_a_client_that_reads(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat("large", thread_id="talk")
        again = await client.chat("short", thread_id="talk")
    assert len(events[-1]["payload"]["text"]) > OUTBOUND_BYTES
    assert places(events + again, "talk") == list(range(1, again[-1]["seq"] + 1))


async def test_another_user_is_served_while_one_does_not_read(gateway: RunningGateway) -> None:
    async with (
        ChatClient.connect(gateway.ws_url, headers=gateway.headers("slow")) as slow,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers("quick")) as quick,
    ):
        await quick.receive()
        for number in range(4):
            await slow.send({"type": "user_message", "content": "flood", "thread_id": f"t{number}"})
        events = await quick.chat("hello")
    assert events[-1]["type"] == "agent_completed"


async def test_a_client_that_is_gone_without_a_word_is_given_up_while_its_run_goes_on(
    flooding_llm: RunningMockLLM, tmp_path: Path, log: LogLines
) -> None:
    settings = make_settings(tmp_path, flooding_llm.openai_url, heartbeat=0.3, heartbeat_timeout=0.3)
    async with (
        running_gateway(settings) as gateway,
        FaultProxy("127.0.0.1", int(gateway.url.rpartition(":")[2])) as path,
    ):
        url = f"ws://{path.url_host}/ws"
        async with ChatClient.connect(url, headers=gateway.headers()) as client:
            await client.receive()
            await client.send({"type": "user_message", "content": "wait", "thread_id": "talk"})
            before = await client.receive_until("partial_result")
            # Not a byte passes from here on, and no end of the connection either.
            path.stall()
            await client.abort()
        await log.until("disconnected", '"alice"')
        held = len(connections_in_memory(gateway, "alice"))
        flooding_llm.barriers.release("middle")
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
            await client.receive()
            position = {name: before[-1][name] for name in ("thread_id", "epoch", "seq")}
            await client.send({"type": "resume", **position})
            after = await client.receive_until("agent_completed")
    assert held == 0
    assert after[-1]["payload"]["text"] == "one two three"
    assert places(before + after, "talk") == list(range(1, after[-1]["seq"] + 1))
