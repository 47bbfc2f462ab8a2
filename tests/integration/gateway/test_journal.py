"""The event log by group commit, against real databases that fail on request."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from anyio import to_thread
from sqlalchemy import Connection, select

from chat_protocol.events import (
    MessageAccepted,
    MessageAcceptedPayload,
    PartialResult,
    PartialResultPayload,
    Usage,
)
from gateway.errors import BusyError, RequestError, StorageError
from gateway.ids import IdGenerator
from gateway.storage.batch import BatchWriter
from gateway.storage.database import Database
from gateway.storage.entries import Accepted, LoggedEvent, NewEvent, NewTurn, RunOutcome
from gateway.storage.history import History, StoredSession
from gateway.storage.journal import Journal
from gateway.storage.migrating import migrate, open_log
from gateway.storage.schema import ThreadAddress, runs

pytestmark = pytest.mark.anyio

T = TypeVar("T")
TALK = ThreadAddress("tenant", "alice", "talk")
LONG = 30.0


class Silence:
    """A time in which the database says nothing. What comes meanwhile is one batch, but for what it has taken."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._over = threading.Event()

    def wait_over(self) -> None:
        self._begun.set()
        self._over.wait(LONG)

    async def begun(self) -> None:
        """Return once a transaction waits."""
        assert await to_thread.run_sync(self._begun.wait, LONG)

    def end(self) -> None:
        self._over.set()


class Unreliable:
    """A database that fails as often as told, before a transaction or after its commit."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.fail_before = 0
        self.lose_answers = 0
        self.silence: Silence | None = None

    def transact(self, work: Callable[[Connection], T]) -> T:
        if self.silence is not None:
            self.silence.wait_over()
        if self.fail_before:
            self.fail_before -= 1
            raise StorageError("not there")
        result = self.database.transact(work)
        if self.lose_answers:
            self.lose_answers -= 1
            raise StorageError("the connection broke while the commit was answered")
        return result

    def break_off(self) -> None:
        if self.silence is not None:
            self.fail_before = 1
            self.silence.end()


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

    def __init__(
        self,
        database: Unreliable,
        epoch: str,
        *,
        queue_size: int,
        accept_timeout: float,
        publish: Callable[[LoggedEvent], None] | None,
    ) -> None:
        self.database = database
        self.published: list[LoggedEvent] = []
        self.accepted: list[Accepted] = []
        self.history = History(database.database)
        self.journal = Journal(
            database,
            BatchWriter(epoch, IdGenerator().writer()),
            publish or self.published.append,
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
        self,
        message_id: str,
        *,
        address: ThreadAddress = TALK,
        session_id: str | None = None,
        timestamp: str = "t",
        content: str = "words",
    ) -> Message:
        payload = MessageAcceptedPayload(message_id=message_id)
        run_id = f"run-{message_id}"
        event = MessageAccepted(id=f"e-{message_id}", timestamp=timestamp, run_id=run_id, payload=payload)
        message = Message()
        self.journal.accept(NewTurn(address, run_id, message_id, content, "{}", event, session_id), message)
        return message

    def piece(self, text: str, *, tokens: int | None = None) -> NewEvent:
        """An event; with a count of tokens the one that ends a run."""
        payload = PartialResultPayload(text=text)
        event = PartialResult(id="e", timestamp="t", run_id="run-m", payload=payload)
        outcome = None if tokens is None else RunOutcome("completed", usage=Usage(input_tokens=tokens))
        return NewEvent(TALK, event, outcome=outcome)

    def silence(self) -> Silence:
        """Have the database say nothing from now on."""
        self.database.silence = silence = Silence()
        return silence


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@asynccontextmanager
async def open_desk(
    where: Path | str,
    *,
    queue_size: int = 100,
    accept_timeout: float = 20,
    publish: Callable[[LoggedEvent], None] | None = None,
) -> AsyncIterator[Desk]:
    url = where if isinstance(where, str) else f"sqlite:///{where / 'log.sqlite3'}"
    async with Database.open(url, threads=2) as database:
        await migrate(database)
        epoch = await open_log(database, IdGenerator())
        desk = Desk(Unreliable(database), epoch, queue_size=queue_size, accept_timeout=accept_timeout, publish=publish)
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


async def test_a_large_count_of_tokens_is_stored(database_url: str) -> None:
    async with open_desk(database_url) as desk:
        await desk.accept("m")
        await desk.journal.append_and_wait(desk.piece("end", tokens=2**53))
        query = select(runs.c.input_tokens)
        stored = await desk.database.database.run(lambda connection: connection.execute(query).scalar())
    assert stored == 2**53


async def test_an_entry_that_the_database_refuses_is_dropped_and_the_rest_of_its_batch_is_stored(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []
    failed: list[StorageError] = []

    async def end_with_too_many_tokens(desk: Desk) -> None:
        with pytest.raises(StorageError) as caught:
            await desk.journal.append_and_wait(desk.piece("canary", tokens=2**70))
        failed.append(caught.value)

    async with open_desk(database_url) as desk:
        await desk.accept("m")
        silence = desk.silence()
        async with anyio.create_task_group() as group:
            await desk.journal.append(desk.piece("taken"))
            await silence.begun()
            for number in range(5):
                await desk.journal.append(desk.piece(str(number)))
            group.start_soon(end_with_too_many_tokens, desk)
            await anyio.wait_all_tasks_blocked()
            bad_event = desk.piece("canary", tokens=2**71)
            await desk.journal.append(bad_event, on_refused=lambda: refused.append("event"))
            bad_message = desk.send("bad", content="canary \ud800")
            good_message = desk.send("good")
            for number in range(5, 9):
                await desk.journal.append(desk.piece(str(number)))
            silence.end()
        await desk.journal.append_and_wait(desk.piece("last"))
        statistics = desk.journal.statistics
        stored = await desk.history.get_frames(TALK.thread_key, after_seq=0, limit=100)
    assert [error.refused for error in failed] == [True]
    assert refused == ["event"]
    assert [str(news.code) for news in bad_message.news if isinstance(news, RequestError)] == ["internal_error"]
    assert [isinstance(news, Accepted) for news in good_message.news] == [True]
    assert [seq for seq, _ in stored] == list(range(1, 14))
    assert [frame for _, frame in stored] == [logged.frame for logged in desk.published]
    assert not statistics.failing
    assert "refused" in caplog.text
    assert "canary" not in caplog.text


async def test_a_message_that_is_not_taken_in_time_is_withdrawn_and_one_that_is_may_be_stored_yet(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path, accept_timeout=0.1) as desk:
        silence = desk.silence()
        taken = desk.send("taken")
        await silence.begun()
        waiting = desk.send("waiting")
        await waiting.over.wait()
        told_by_then = [type(news) for news in (*taken.news, *waiting.news)]
        silence.end()
        await taken.over.wait()
        again = await desk.accept("waiting")
        messages = await desk.history.get_history(TALK)
    assert told_by_then == [BusyError, BusyError]
    assert [type(news) for news in taken.news] == [BusyError, Accepted]
    assert [type(news) for news in waiting.news] == [BusyError]
    assert not again.duplicate
    assert [message.message_id for message in messages] == ["taken", "waiting"]


async def test_a_known_message_is_answered_with_the_thread_of_its_first_arrival(database_url: str) -> None:
    async with open_desk(database_url) as desk:
        first = await desk.accept("m")
        again = await desk.accept("m", address=TALK._replace(thread_id="elsewhere"))
        elsewhere = await desk.history.get(TALK._replace(thread_id="elsewhere"))
    assert (first.duplicate, again.duplicate) == (False, True)
    assert (again.thread_id, again.run_id, again.seq) == (TALK.thread_id, first.run_id, first.seq)
    assert elsewhere is None


@pytest.mark.parametrize("how", ["fails", "says nothing"])
async def test_whoever_waits_is_told_when_the_journal_gives_up(tmp_path: Path, how: str) -> None:
    async with open_desk(tmp_path, queue_size=100) as desk:
        await desk.accept("m")
        if how == "fails":
            desk.database.fail_before = 1_000_000
        else:
            desk.silence()
        message = desk.send("n")
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for _ in range(150):
                    group.start_soon(expect_closed, desk)
                await anyio.wait_all_tasks_blocked()
                desk.journal.give_up_after(0.1)
    assert [type(news) for news in message.news] == [BusyError]


async def expect_closed(desk: Desk) -> None:
    with pytest.raises(StorageError, match="closed"):
        await desk.journal.append_and_wait(desk.piece("a"))


async def test_a_fault_while_one_event_is_published_holds_up_no_other(tmp_path: Path) -> None:
    published: list[int] = []

    def publish(logged: LoggedEvent) -> None:
        if logged.seq == 2:
            raise ZeroDivisionError
        published.append(logged.seq)

    async with open_desk(tmp_path, publish=publish) as desk:
        await desk.accept("m")
        await desk.journal.append_and_wait(desk.piece("a"))
        await desk.journal.append_and_wait(desk.piece("b"))
    assert published == [1, 3]
