"""The event log by group commit: one thread drains a bounded queue, one transaction per batch.

Nothing is published before it is committed. So whatever a client has seen is in the database, whenever the process
ends, and a replay from the log is the stream that the client would have seen.

    event loop   accept, append -> queue                   publish, a few in each round
    thread                         queue -> transaction -> results

The thread goes from one transaction to the next without waiting for the event loop, which under load has other things
to do. Turns that begin with their message come first, in the queue and among the results: of their threads nothing
else is on its way. An entry goes one of these ways:

    waiting --(the thread takes it)--> taken --(commit)--> stored
    waiting --(a user message whose time is over)--> dropped
    taken --(the database is not there)--> taken, and tried again
    taken --(the database refuses it, also on its own)--> dropped, while the rest of its batch is stored
    waiting, taken --(the time of `give_up_after` is over)--> dropped
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, final

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint
from sqlalchemy import Connection

from gateway.errors import StorageError
from gateway.logs import get_logger
from gateway.storage.batch import BatchWriter, Written
from gateway.storage.entries import LoggedEvent, NewAck, NewEvent, NewTurn
from gateway.storage.lanes import Lanes
from gateway.storage.pending import Arrival, Pending, busy, closed, refused, tell_placed
from gateway.storage.posting import Post, poster

T = TypeVar("T")

_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 1.0
_A_FEW: Final = 32
"""Entries published in one round of the event loop, so that the round stays short."""
_BREAK_OFF_SECONDS: Final = 0.1


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

    def break_off(self) -> None:
        """End the transactions that wait for an answer."""
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
        self._queue = Lanes[Pending](batch_size)
        self._queue_size = queue_size
        self._room = anyio.Semaphore(queue_size, fast_acquire=True)
        self._batch: Sequence[Pending] = ()
        """What the thread has taken last."""
        self._results: deque[Pending] = deque()
        self._urgent_results: deque[Pending] = deque()
        self._publishing = False
        self._arriving: deque[Pending] = deque()
        """User messages whose time is not over yet, the one that is due first at the left."""
        self._patience = anyio.CancelScope()
        self._log = get_logger("gateway.journal")
        self._number = 0
        self._committed = 0
        self._batches = 0
        self._failing = False

    @property
    def statistics(self) -> JournalStatistics:
        return JournalStatistics(self._queue_size - self._room.value, self._committed, self._batches, self._failing)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Write until `close` was called and the queue is empty, or until the time of `give_up_after` is over.

        Cancellation alone does not stop it. Whatever is not stored by then is dropped, and whoever waits for it told.
        """
        post = poster()
        task_status.started()
        with anyio.CancelScope(shield=True):
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._tell_late_arrivals)
                    group.start_soon(self._break_off_in_time)
                    await to_thread.run_sync(self._write_all, post, limiter=CapacityLimiter(1))
                    group.cancel_scope.cancel()
                while self._publish_some():
                    await checkpoint()
            finally:
                self._drop_all()

    def give_up_after(self, seconds: float) -> None:
        """Try for so long and no longer to write what is there and what still comes. Later calls add no time."""
        self._queue.give_up_at(time.monotonic() + seconds)
        self._patience.deadline = min(self._patience.deadline, anyio.current_time() + seconds)

    def close(self) -> None:
        """Take nothing more. What waits is still written."""
        self._queue.close()

    def accept(self, turn: NewTurn, arrival: Arrival) -> None:
        """Queue a user message with its run; `arrival` hears what becomes of it. Never waits.

        Raises:
            BusyError: nothing is taken now, and `arrival` hears nothing.
        """
        due = anyio.current_time() + self._accept_timeout
        pending = Pending(turn, arrival, urgent=turn.started is not None, due=due)
        if self._failing:
            raise busy()
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            raise busy() from None
        if not self._queue.put(pending, urgent=pending.urgent):
            self._room.release()
            raise busy()
        self._arriving.append(pending)

    async def append(self, entry: NewEvent | NewAck, *, on_refused: Callable[[], None] | None = None) -> None:
        """Queue an event or an ack. Waits while the queue is full, not for the commit.

        Args:
            entry: what to write.
            on_refused: called when the database will not have it.

        Raises:
            StorageError: the journal is closed.
        """
        await self._put(Pending(entry, on_refused=on_refused))

    async def append_and_wait(self, entry: NewEvent) -> None:
        """Queue an event and wait until it is committed and published.

        Raises:
            StorageError: the database will not have it, or the journal was closed before it was written.
        """
        pending = Pending(entry, waiter=(waiter := anyio.Event()))
        await self._put(pending)
        await waiter.wait()
        if pending.error is not None:
            raise pending.error

    async def _put(self, pending: Pending) -> None:
        await self._room.acquire()
        if not self._queue.put(pending, urgent=pending.urgent):
            self._room.release()
            raise closed()

    async def _tell_late_arrivals(self) -> None:
        while True:
            now = anyio.current_time()
            while self._arriving and (self._arriving[0].over or self._arriving[0].due <= now):
                pending = self._arriving.popleft()
                if self._queue.withdraw(pending):
                    pending.error = StorageError("it was not taken in time")
                    self._end(pending)
                elif pending.arrival is not None:
                    pending.arrival.late(busy())
            # Whatever arrives from here on is due later than either.
            await anyio.sleep_until(self._arriving[0].due if self._arriving else now + self._accept_timeout)

    async def _break_off_in_time(self) -> None:
        with self._patience:
            await anyio.sleep_forever()
        while True:
            # The thread may be waiting for a server that says nothing, or begin to.
            self._database.break_off()
            await anyio.sleep(_BREAK_OFF_SECONDS)

    def _write_all(self, post: Post) -> None:
        """The thread's work."""
        while batch := self._queue.take():
            self._batch = batch
            if not self._commit(batch, post):
                return

    def _commit(self, batch: Sequence[Pending], post: Post) -> bool:
        """Write a batch, or of one that the database refuses as much as it takes. False: the time is over."""
        try:
            written = self._write(batch, post)
        except StorageError as error:
            self._log.warning("entries refused", entries=len(batch), error=str(error))
            if len(batch) == 1:
                batch[0].error = error
                self._hand_out(batch, post)
                return True
            # One half holds what was refused, and the other is stored.
            middle = len(batch) // 2
            return self._commit(batch[:middle], post) and self._commit(batch[middle:], post)
        if written is None:
            return False
        self._batches += 1
        self._failing = False
        for pending, result in zip(batch, written, strict=True):
            pending.written = result
        self._hand_out(batch, post)
        return True

    def _write(self, batch: Sequence[Pending], post: Post) -> list[Written] | None:
        """Write a batch, again and again until it is written. None: the time is over. Raises what is a refusal."""
        self._number += 1
        number, delay = self._number, _FIRST_RETRY
        # On its own an entry has two tries: of two instances that write the same row, the second then finds it.
        chances = 1 if len(batch) > 1 else 2
        entries = [pending.entry for pending in batch]

        def tell(written: Sequence[Written]) -> None:
            if any(pending.arrival is not None for pending in batch):
                post(lambda: tell_placed(batch, written))

        while True:
            try:
                return self._database.transact(lambda connection: self._writer.write(connection, number, entries, tell))
            except StorageError as error:
                self._failing = not error.refused
                chances -= error.refused
                if not chances:
                    raise
                if error.refused:
                    continue
                self._log.warning("commit failed, trying again", entries=len(entries), error=str(error))
                if not self._queue.pause(delay):
                    return None
                delay = min(2 * delay, _LAST_RETRY)

    def _hand_out(self, batch: Sequence[Pending], post: Post) -> None:
        for pending in batch:
            (self._urgent_results if pending.urgent else self._results).append(pending)
        post(lambda: self._start_publishing(post))

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

    def _publish_one(self, pending: Pending) -> None:
        result = pending.written
        try:
            if result is not None:
                self._committed += 1
                if pending.arrival is not None and result.accepted is not None:
                    pending.arrival.stored(result.accepted)
                for logged in result.logged:
                    self._publish(logged)
        except Exception:  # noqa: BLE001  it is stored, and whoever misses it reads it from the log
            self._log.exception("not published")
        finally:
            self._end(pending)

    def _end(self, pending: Pending) -> None:
        """Tell whoever waits for an entry that it is dropped, or only that it is stored."""
        arrival, on_refused = pending.arrival, pending.on_refused
        # The thread remembers a batch until the next one; whose connection it was may be gone long before.
        pending.arrival = pending.on_refused = None
        pending.over = True
        self._room.release()
        if pending.error is not None and arrival is not None:
            arrival.dropped(refused() if pending.error.refused else busy())
        if pending.error is not None and pending.error.refused and on_refused is not None:
            on_refused()
        if pending.waiter is not None:
            pending.waiter.set()
        while self._arriving and self._arriving[0].over:
            self._arriving.popleft()

    def _drop_all(self) -> None:
        self._queue.close()
        left = [*self._urgent_results, *self._results, *self._batch]
        while batch := self._queue.take():
            left += batch
        for pending in left:
            if not pending.over:
                pending.error = pending.error or closed()
                self._end(pending)
