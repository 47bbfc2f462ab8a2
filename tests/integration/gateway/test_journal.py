"""The event log by group commit, against a real SQLite file and a database that fails on request."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from sqlalchemy import Connection

from chat_protocol.events import MessageAccepted, MessageAcceptedPayload, PartialResult, PartialResultPayload
from gateway.errors import BusyError, RequestError, StorageError
from gateway.ids import IdGenerator
from gateway.storage.batch import BatchWriter
from gateway.storage.database import Database
from gateway.storage.entries import Accepted, LoggedEvent, NewEvent, NewTurn
from gateway.storage.history import History, StoredSession
from gateway.storage.journal import Journal
from gateway.storage.migrating import migrate, open_log
from gateway.storage.schema import ThreadAddress

pytestmark = pytest.mark.anyio

T = TypeVar("T")
TALK = ThreadAddress("tenant", "alice", "talk")


class Unreliable:
    """A database that fails as often as told, before a transaction or after its commit."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.fail_before = 0
        self.lose_answers = 0
        self.silent: anyio.Event | None = None
        """Set in the middle of a silence: transactions wait for its end."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        if self.silent is not None:
            await self.silent.wait()
        if self.fail_before:
            self.fail_before -= 1
            raise StorageError("not there")
        result = await self.database.run(work)
        if self.lose_answers:
            self.lose_answers -= 1
            raise StorageError("the connection broke while the commit was answered")
        return result

    def break_off(self) -> None:
        if self.silent is not None:
            self.silent.set()


class Message:
    """A user message, and what the journal says about it, in order."""

    def __init__(self) -> None:
        self.placed_at: list[int] = []
        self.news: list[Accepted | RequestError] = []
        self.over = anyio.Event()
        self.told = anyio.Event()

    def placed(self, seq: int) -> None:
        self.placed_at.append(seq)

    def late(self, error: BusyError) -> None:
        self.news.append(error)
        self.told.set()

    def stored(self, accepted: Accepted) -> None:
        self.news.append(accepted)
        self.told.set()
        self.over.set()

    def dropped(self, error: RequestError) -> None:
        self.news.append(error)
        self.told.set()
        self.over.set()


class Desk:
    """A journal with everything that it published."""

    def __init__(self, database: Unreliable, epoch: str, *, queue_size: int, accept_timeout: float) -> None:
        self.database = database
        self.published: list[LoggedEvent] = []
        self.accepted: list[Accepted] = []
        self.history = History(database.database)
        self.journal = Journal(
            database,
            BatchWriter(epoch, IdGenerator().writer()),
            self.published.append,
            queue_size=queue_size,
            batch_size=100,
            accept_timeout=accept_timeout,
        )

    async def accept(self, message_id: str, **fields: Any) -> Accepted:
        """Send a message and wait for the news. Raises it when it is bad."""
        message = self.send(message_id, **fields)
        await message.told.wait()
        if isinstance(news := message.news[0], RequestError):
            raise news
        self.accepted.append(news)
        return news

    def send(
        self, message_id: str, *, session_id: str | None = None, timestamp: str = "t", content: str = "words"
    ) -> Message:
        payload = MessageAcceptedPayload(message_id=message_id)
        run_id = f"run-{message_id}"
        event = MessageAccepted(id=f"e-{message_id}", timestamp=timestamp, run_id=run_id, payload=payload)
        message = Message()
        self.journal.accept(NewTurn(TALK, run_id, message_id, content, "{}", event, session_id), message)
        return message

    def piece(self, text: str) -> NewEvent:
        payload = PartialResultPayload(text=text)
        return NewEvent(TALK, PartialResult(id="e", timestamp="t", run_id="run-m", payload=payload))


@asynccontextmanager
async def open_desk(folder: Path, *, queue_size: int = 100, accept_timeout: float = 20) -> AsyncIterator[Desk]:
    async with Database.open(f"sqlite:///{folder / 'log.sqlite3'}", threads=2) as database:
        await migrate(database)
        epoch = await open_log(database, IdGenerator())
        desk = Desk(Unreliable(database), epoch, queue_size=queue_size, accept_timeout=accept_timeout)
        async with anyio.create_task_group() as group:
            await group.start(desk.journal.run)
            try:
                yield desk
            finally:
                desk.journal.give_up_after(5)
                desk.journal.close()


async def test_events_are_published_in_order_after_their_commit(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.accept("m")
        for number in range(20):
            await desk.journal.append(desk.piece(str(number)))
        await desk.journal.append_and_wait(desk.piece("last"))
        stored = await desk.history.get_frames(TALK.thread_key, after_seq=0, limit=100)
    assert [logged.seq for logged in desk.published] == list(range(1, 23))
    assert [frame for _, frame in stored] == [logged.frame for logged in desk.published]


async def test_a_session_is_made_once_and_marked_with_each_message(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        for day in ("monday", "tuesday", "wednesday"):
            await desk.accept(f"m-{day}", session_id="desk", timestamp=day)
        await desk.accept("m-thursday", timestamp="thursday")
        session = await desk.history.get_session(TALK.tenant_id, TALK.user_id, "desk")
    assert session == StoredSession("desk", "talk", created_at="monday", last_used_at="wednesday")


@pytest.mark.parametrize("owner", [("tenant", "bob"), ("other", "alice")])
async def test_a_session_is_its_owners_alone(tmp_path: Path, owner: tuple[str, str]) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.accept("m", session_id="desk")
        assert await desk.history.get_session(*owner, "desk") is None


async def test_many_events_share_a_transaction(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.accept("m")
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(desk.journal.append_and_wait, desk.piece(str(number)))
        assert desk.journal.statistics.batches < 20


async def test_a_database_that_comes_back_gets_everything_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.accept("m")
        desk.database.fail_before = 3
        await desk.journal.append_and_wait(desk.piece("a"))
    assert [logged.seq for logged in desk.published] == [1, 2]


async def test_a_commit_whose_answer_was_lost_is_not_written_again(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.accept("m")
        desk.database.lose_answers = 2
        await desk.journal.append_and_wait(desk.piece("a"))
        stored = await desk.history.get_frames(TALK.thread_key, after_seq=0, limit=100)
    assert [seq for seq, _ in stored] == [1, 2]
    assert [logged.seq for logged in desk.published] == [1, 2]


async def test_a_new_message_whose_commit_answer_was_lost_is_still_new(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        desk.database.lose_answers = 1
        accepted = await desk.accept("m")
    assert not accepted.duplicate


async def test_the_same_message_twice_in_one_batch_is_stored_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(desk.accept, "m")
    assert sorted(accepted.duplicate for accepted in desk.accepted) == [False, True, True, True, True]
    assert len(desk.published) == 1


async def test_a_message_that_cannot_be_stored_in_time_is_answered_with_busy(tmp_path: Path) -> None:
    async with open_desk(tmp_path, accept_timeout=0.2) as desk:
        desk.database.fail_before = 4
        with pytest.raises(BusyError):
            await desk.accept("m")
        again = await desk_accepts(desk, "m")
    assert again.run_id == "run-m"


async def desk_accepts(desk: Desk, message_id: str) -> Accepted:
    """Send again until it is taken, as a client does that is told to wait."""
    with anyio.fail_after(20):
        while True:
            try:
                return await desk.accept(message_id)
            except BusyError:
                await anyio.wait_all_tasks_blocked()


async def test_a_full_queue_holds_its_writers_back(tmp_path: Path) -> None:
    async with open_desk(tmp_path, queue_size=5) as desk:
        await desk.accept("m")
        desk.database.fail_before = 1_000_000
        with anyio.move_on_after(0.5) as scope:
            for number in range(500):
                await desk.journal.append(desk.piece(str(number)))
        waiting = desk.journal.statistics.waiting
        desk.database.fail_before = 0
    assert scope.cancelled_caught
    assert waiting == 5
