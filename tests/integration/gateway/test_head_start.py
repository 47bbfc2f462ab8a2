"""A turn begins while its message is being committed: the model is asked, and nobody sees anything before that."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest
from msgspec import structs
from sqlalchemy import Connection

from gateway.delivery.hub import Hub
from gateway.errors import StorageError
from gateway.model.client import ModelClient
from gateway.storage.batch import BatchWriter, Entry, Written
from gateway.storage.entries import LoggedEvent, NewTurn
from gateway.testing import RunningGateway
from gateway.testing.client import TERMINAL_EVENTS, ChatClient

pytestmark = pytest.mark.anyio

OnPlaced = Callable[[Sequence[Written]], None]
LONG = 30.0


class Watch:
    """What happened in the gateway, and what happens in the transaction that stores a message."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        """The model has answered a question."""
        self.questions = 0
        self.published: list[LoggedEvent] = []
        self.tries = 0
        self.write = BatchWriter.write
        self.when_placed: Callable[[int], None] = lambda _tries: None
        """Called in the transaction, once the message has its place, with the number of the try."""
        self.before_try: Callable[[int, Connection, NewTurn], None] = lambda *_: None
        """Called in the transaction, before anything is read."""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    ask, publish, write = ModelClient.ask, Hub.publish, watch.write

    async def noted_ask(client: ModelClient, content: bytes) -> httpx2.Response:
        watch.questions += 1
        response = await ask(client, content)
        watch.answered.set()
        return response

    def noted_publish(hub: Hub, logged: LoggedEvent) -> None:
        watch.published.append(logged)
        publish(hub, logged)

    def staged_write(
        writer: BatchWriter, connection: Connection, number: int, batch: Sequence[Entry], on_placed: OnPlaced
    ) -> list[Written]:
        turn = next((entry for entry in batch if isinstance(entry, NewTurn)), None)
        if turn is None:
            return write(writer, connection, number, batch, on_placed)
        watch.tries += 1
        watch.before_try(watch.tries, connection, turn)

        def placed(written: Sequence[Written]) -> None:
            on_placed(written)
            watch.when_placed(watch.tries)

        return write(writer, connection, number, batch, placed)

    monkeypatch.setattr(ModelClient, "ask", noted_ask)
    monkeypatch.setattr(Hub, "publish", noted_publish)
    monkeypatch.setattr(BatchWriter, "write", staged_write)
    return watch


def types(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_the_model_is_asked_before_the_commit_and_nothing_is_seen(gateway: RunningGateway, watch: Watch) -> None:
    seen_before: list[int] = []

    def wait_for_the_model(_tries: int) -> None:
        assert watch.answered.wait(LONG), "the model was not asked while the message was being stored"
        seen_before.append(len(watch.published))

    watch.when_placed = wait_for_the_model
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat("Analyse")
    assert seen_before == [0]
    assert types(events)[:2] == ["message_accepted", "agent_started"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "agent_completed"


async def test_a_message_whose_commit_fails_at_first_is_asked_about_once(gateway: RunningGateway, watch: Watch) -> None:
    def fail_twice(tries: int) -> None:
        if tries <= 2:
            raise StorageError("gone for a moment")

    watch.when_placed = fail_twice
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat("Analyse")
        questions = watch.questions
        # As many as the same turn takes when nothing fails.
        await client.chat("Analyse", thread_id="other")
    assert watch.tries == 4
    assert questions * 2 == watch.questions
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert types(events).count("agent_started") == 1


async def test_a_turn_whose_message_another_instance_took_meanwhile_is_not_heard_of(
    gateway: RunningGateway, watch: Watch
) -> None:
    def fail_once(tries: int) -> None:
        if tries == 1:
            assert watch.answered.wait(LONG)
            raise StorageError("gone for a moment")

    def be_another_instance(tries: int, connection: Connection, turn: NewTurn) -> None:
        if tries == 2:
            accepted = structs.replace(turn.accepted, run_id="run_elsewhere")
            other = replace(turn, run_id="run_elsewhere", accepted=accepted, started=None)
            watch.write(BatchWriter("epoch", "writer_elsewhere"), connection, 1, [other], lambda _written: None)

    watch.when_placed, watch.before_try = fail_once, be_another_instance
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": "Analyse", "message_id": "m", "thread_id": "t"})
        answer = await client.receive()
        assert answer["payload"]["duplicate"]
        assert answer["run_id"] == "run_elsewhere"
        # The unwanted turn has left its place: the next one runs, and nothing else was told.
        with anyio.fail_after(LONG):
            events = await client.receive_until("message_accepted")
            await client.send({"type": "user_message", "content": "Analyse", "thread_id": "u"})
            events += await client.receive_until(*TERMINAL_EVENTS)
    runs = {event.get("run_id") for event in events}
    assert "run_elsewhere" in runs
    assert len(runs) == 2
    assert events[-1]["type"] == "agent_completed"
