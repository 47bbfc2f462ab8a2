"""The event log by group commit: one thread drains a bounded queue, one transaction per batch.

Nothing is published before it is committed. So whatever a client has seen is in the database, whenever the process
ends, and a replay from the log is the stream that the client would have seen.

    event loop   accept, append -> queue                   publish, a few in each round
    thread                         queue -> transaction -> results

The thread goes from one transaction to the next without waiting for the event loop, which under load has other things
to do. Turns that begin with their message come first, in the queue and among the results: of their threads nothing
else is on its way.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, final

import anyio
from anyio import CapacityLimiter, Event, to_thread
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from sqlalchemy import Connection

from gateway.errors import BusyError, StorageError
from gateway.logs import get_logger
from gateway.storage.batch import BatchWriter, Entry, Written
from gateway.storage.entries import Accepted, LoggedEvent, NewAck, NewEvent, NewTurn
from gateway.storage.lanes import Lanes
from gateway.storage.posting import Post, poster

T = TypeVar("T")

_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 1.0
_A_FEW: Final = 32
"""Entries published in one round of the event loop, so that the round stays short."""


@dataclass(slots=True)
class _Pending:
    entry: Entry
    urgent: bool = False
    done: Event = field(default_factory=Event)
    written: Written | None = None
    on_placed: Callable[[int], None] | None = None
    before_publish: Callable[[Accepted], None] | None = None


@final
@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """What the journal is doing now."""

    waiting: int
    """Entries that wait for a transaction, or for its end."""
    committed: int
    """Entries committed since the start."""
    batches: int
    """Transactions since the start."""
    failing: bool
    """Whether the last transaction failed and is being tried again."""


class Transactor(Protocol):
    """What a journal needs of a database."""

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction, in this thread. Raises StorageError when it failed, or may have."""
        ...


@final
class Journal:
    """Puts entries in order, commits them in batches and then hands the events to `publish`.

    Args:
        database: where to write.
        writer: writes one batch.
        publish: called on the event loop with the events of each committed batch, in order.
        queue_size: most entries that may wait; `append` waits beyond that.
        batch_size: most entries in one transaction, turns that begin not counted.
        accept_timeout: seconds a user message waits for its commit.
    """

    def __init__(
        self,
        database: Transactor,
        writer: BatchWriter,
        publish: Callable[[LoggedEvent], None],
        *,
        queue_size: int,
        batch_size: int,
        accept_timeout: float,
    ) -> None:
        self._database = database
        self._writer = writer
        self._publish = publish
        self._accept_timeout = accept_timeout
        self._queue = Lanes[_Pending](batch_size)
        self._queue_size = queue_size
        self._room = anyio.Semaphore(queue_size, fast_acquire=True)
        self._results: deque[_Pending] = deque()
        self._urgent_results: deque[_Pending] = deque()
        self._publishing = False
        self._log = get_logger("gateway.journal")
        self._committed = 0
        self._batches = 0
        self._failing = False

    @property
    def statistics(self) -> JournalStatistics:
        return JournalStatistics(self._queue_size - self._room.value, self._committed, self._batches, self._failing)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Write until `close` was called and the queue is empty. Cancellation alone does not stop it."""
        post = poster()
        task_status.started()
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._write_all, post, limiter=CapacityLimiter(1))
            while self._publish_some():
                await checkpoint()

    def close(self, *, grace: float) -> None:
        """Take nothing more. What waits is still written, for up to `grace` seconds."""
        self._queue.close(time.monotonic() + grace)

    async def accept(
        self,
        turn: NewTurn,
        *,
        on_queued: Callable[[], None],
        on_placed: Callable[[int], None],
        before_publish: Callable[[Accepted], None],
    ) -> Accepted:
        """Store a user message with its run and return once that is committed.

        Args:
            turn: the message and its run.
            on_queued: called when the turn is in the queue; from then on `before_publish` will be called.
            on_placed: called with the place of a message that is new, while it is being committed: whatever shows
                nothing to anyone may begin. Called again when the transaction is tried again.
            before_publish: called when the commit is done and before anyone sees the `message_accepted` event.

        Raises:
            BusyError: the database does not take it in time. It may still be stored later: the message id tells.
        """
        pending = _Pending(turn, turn.started is not None, on_placed=on_placed, before_publish=before_publish)
        with anyio.move_on_after(self._accept_timeout):
            if not self._failing:
                await self._put(pending)
                on_queued()
                await pending.done.wait()
        if pending.written is None or pending.written.accepted is None:
            raise BusyError(
                "The message could not be stored now. Send it again with the same message_id.", retry_after_ms=1000
            )
        return pending.written.accepted

    async def append(self, entry: NewEvent | NewAck) -> None:
        """Queue an event or an ack. Waits while the queue is full, not for the commit."""
        await self._put(_Pending(entry))

    async def append_and_wait(self, entry: NewEvent) -> None:
        """Queue an event and wait until it is committed and published."""
        pending = _Pending(entry)
        await self._put(pending)
        await pending.done.wait()

    async def _put(self, pending: _Pending) -> None:
        await self._room.acquire()
        if not self._queue.put(pending, urgent=pending.urgent):
            self._room.release()
            raise StorageError("the journal is closed")

    def _write_all(self, post: Post) -> None:
        """The thread's work."""
        while batch := self._queue.take():
            written = self._write(batch, post)
            if written is None:
                return
            self._batches += 1
            self._failing = False
            for pending, result in zip(batch, written, strict=True):
                pending.written = result
                (self._urgent_results if pending.urgent else self._results).append(pending)
            post(lambda: self._start_publishing(post))

    def _write(self, batch: Sequence[_Pending], post: Post) -> list[Written] | None:
        """Write a batch, again and again until it is written. None: the journal was closed over it."""
        delay = _FIRST_RETRY
        number = self._batches + 1
        entries = [pending.entry for pending in batch]

        def tell(written: Sequence[Written]) -> None:
            if any(pending.on_placed is not None for pending in batch):
                post(lambda: _tell_placed(batch, written))

        while True:
            try:
                return self._database.transact(lambda connection: self._writer.write(connection, number, entries, tell))
            except StorageError as error:
                self._failing = True
                self._log.warning("commit failed, trying again", entries=len(entries), error=str(error))
                if not self._queue.pause(delay):
                    return None
                delay = min(2 * delay, _LAST_RETRY)

    def _start_publishing(self, post: Post) -> None:
        if not self._publishing:
            self._go_on_publishing(post)

    def _go_on_publishing(self, post: Post) -> None:
        # Should one entry fail, the next batch takes up the rest.
        self._publishing = False
        self._publishing = self._publish_some()
        if self._publishing:
            post(lambda: self._go_on_publishing(post))

    def _publish_some(self) -> bool:
        """Hand out some results, on the event loop. Returns whether there are more."""
        for _ in range(_A_FEW):
            if self._urgent_results:
                self._publish_one(self._urgent_results.popleft())
            elif self._results:
                self._publish_one(self._results.popleft())
            else:
                return False
        return True

    def _publish_one(self, pending: _Pending) -> None:
        self._room.release()
        self._committed += 1
        result = pending.written
        if result is not None:
            if pending.before_publish is not None and result.accepted is not None:
                pending.before_publish(result.accepted)
            for logged in result.logged:
                self._publish(logged)
        # The thread remembers a batch until the next one; whose connection it was may be gone long before.
        pending.on_placed = pending.before_publish = None
        pending.done.set()


def _tell_placed(batch: Sequence[_Pending], written: Sequence[Written]) -> None:
    for pending, result in zip(batch, written, strict=True):
        if pending.on_placed is not None and result.accepted is not None and not result.accepted.duplicate:
            pending.on_placed(result.accepted.seq)
