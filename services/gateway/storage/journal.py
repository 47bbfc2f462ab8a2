"""The event log by group commit: one writer drains a bounded queue, one transaction per batch.

Nothing is published before it is committed. So whatever a client has seen is in the database, whenever the process
ends, and a replay from the log is the stream that the client would have seen.

An entry goes one of these ways:

    waiting --(the writer takes it)--> taken --(commit)--> stored
    waiting --(a user message whose time is over)--> dropped
    taken --(the database is not there)--> taken, and tried again until it is
    taken --(the database refuses it, also on its own)--> dropped, and the rest of its batch is stored
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, final

import anyio
from anyio import Event, from_thread
from anyio.abc import TaskStatus
from sqlalchemy import Connection

from chat_protocol.events import ErrorCode
from gateway.errors import BusyError, RequestError, StorageError
from gateway.logs import get_logger
from gateway.storage.batch import BatchWriter, Entry, Written
from gateway.storage.entries import Accepted, LoggedEvent, NewAck, NewEvent, NewTurn

T = TypeVar("T")

_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 1.0
_REFUSALS: Final = 3
"""Refusals of one entry on its own before it is given up: two instances that write the same row meet only once."""


class Arrival(Protocol):
    """Hears what becomes of a user message, on the event loop. Nothing here waits."""

    def placed(self, seq: int) -> None:
        """The message is new and is being committed at this place: whatever shows nothing to anyone may begin.

        Called again when the transaction is tried again.
        """
        ...

    def late(self, error: BusyError) -> None:
        """The commit takes too long. It is still under way, so `stored` or `dropped` follows."""
        ...

    def stored(self, accepted: Accepted) -> None:
        """The commit is done, and nobody has seen the `message_accepted` event yet. Nothing follows."""
        ...

    def dropped(self, error: RequestError) -> None:
        """The message is not stored and will not be. Nothing follows."""
        ...


@dataclass(slots=True)
class _Pending:
    entry: Entry
    arrival: Arrival | None = None
    due: float = 0.0
    """When an arrival becomes late."""
    taken: bool = False
    over: bool = False
    """Stored or dropped."""
    waiter: Event | None = None
    on_refused: Callable[[], None] | None = None
    error: StorageError | None = None
    """Why it was dropped."""


@final
@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """What the journal is doing now."""

    waiting: int
    """Entries that wait for a transaction."""
    committed: int
    """Entries committed since the start."""
    batches: int
    """Transactions since the start."""
    failing: bool
    """Whether the last transaction failed and is being tried again."""


class Transactor(Protocol):
    """What a journal needs of a database."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction. Raises StorageError when it failed, or may have."""
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
        batch_size: most entries in one transaction.
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
        self._batch_size = batch_size
        self._accept_timeout = accept_timeout
        self._send, self._receive = anyio.create_memory_object_stream[_Pending](queue_size)
        self._log = get_logger("gateway.journal")
        self._arriving: deque[_Pending] = deque()
        """User messages that nobody was told anything about yet, the one that is due first at the left."""
        self._number = 0
        self._committed = 0
        self._batches = 0
        self._failing = False
        self._writing = False
        self._scope = anyio.CancelScope(shield=True)

    @property
    def statistics(self) -> JournalStatistics:
        waiting = self._send.statistics().current_buffer_used
        return JournalStatistics(waiting, self._committed, self._batches, self._failing)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Write until `close` was called and the queue is empty, or until the time of `give_up_after` is over.

        Cancellation alone does not stop it. Whatever is not stored by then is dropped, and whoever waits for it told.
        """
        task_status.started()
        batch: list[_Pending] = []
        with self._receive, self._scope:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._watch_arrivals)
                    async for first in self._receive:
                        batch = [*self._take(first)]
                        if batch:
                            await self._commit(batch)
                    group.cancel_scope.cancel()
            finally:
                self._drop_all(batch)

    def give_up_after(self, seconds: float) -> None:
        """Try for so long and no longer to write what is there and what still comes. Later calls add no time."""
        self._scope.deadline = min(self._scope.deadline, anyio.current_time() + seconds)

    def close(self) -> None:
        """Take nothing more. What waits is still written."""
        self._send.close()

    def accept(self, turn: NewTurn, arrival: Arrival) -> None:
        """Queue a user message with its run; `arrival` hears what becomes of it. Never waits.

        Raises:
            BusyError: nothing is taken now, and `arrival` hears nothing.
        """
        pending = _Pending(turn, arrival, anyio.current_time() + self._accept_timeout)
        if self._failing:
            raise _busy()
        try:
            self._send.send_nowait(pending)
        except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise _busy() from None
        self._arriving.append(pending)

    async def append(self, entry: NewEvent | NewAck, *, on_refused: Callable[[], None] | None = None) -> None:
        """Queue an event or an ack. Waits while the queue is full, not for the commit.

        Args:
            entry: what to write.
            on_refused: called when the database will not have it.

        Raises:
            StorageError: the journal is closed.
        """
        await self._put(_Pending(entry, on_refused=on_refused))

    async def append_and_wait(self, entry: NewEvent) -> None:
        """Queue an event and wait until it is committed and published.

        Raises:
            StorageError: the database will not have it, or the journal was closed before it was written.
        """
        pending = _Pending(entry, waiter=(waiter := anyio.Event()))
        await self._put(pending)
        await waiter.wait()
        if pending.error is not None:
            raise pending.error

    async def _put(self, pending: _Pending) -> None:
        try:
            try:
                self._send.send_nowait(pending)
            except anyio.WouldBlock:
                await self._send.send(pending)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise _closed() from None

    def _take(self, first: _Pending) -> Iterator[_Pending]:
        pending, taken = first, 0
        while True:
            if not pending.over:
                pending.taken = True
                taken += 1
                yield pending
            if taken == self._batch_size:
                return
            try:
                pending = self._receive.receive_nowait()
            except (anyio.WouldBlock, anyio.EndOfStream):
                return

    async def _watch_arrivals(self) -> None:
        try:
            await self._tell_late_arrivals()
        finally:
            # Cancelled with the writer, which no cancellation reaches while a thread of its waits for the database.
            if self._writing:
                self._database.break_off()

    async def _tell_late_arrivals(self) -> None:
        while True:
            now = anyio.current_time()
            while self._arriving and self._arriving[0].due <= now:
                pending = self._arriving.popleft()
                if pending.taken and pending.arrival is not None:
                    pending.arrival.late(_busy())
                else:
                    self._drop(pending, StorageError("it was not taken in time"))
            # Whatever arrives from here on is due later than either.
            await anyio.sleep_until(self._arriving[0].due if self._arriving else now + self._accept_timeout)

    async def _commit(self, batch: Sequence[_Pending]) -> None:
        try:
            written = await self._write(batch)
        except StorageError as error:
            self._log.warning("entries refused", entries=len(batch), error=str(error))
            if len(batch) == 1:
                self._drop(batch[0], error)
                return
            # One half holds what was refused, and the other is stored.
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
            return
        self._failing = False
        self._committed += len(batch)
        self._batches += 1
        for pending, result in zip(batch, written, strict=True):
            if pending.arrival is not None and result.accepted is not None:
                self._forget_arrival(pending)
                pending.arrival.stored(result.accepted)
            for logged in result.logged:
                self._publish(logged)
            self._end(pending)

    async def _write(self, batch: Sequence[_Pending]) -> list[Written]:
        self._number += 1
        number, delay, refusals = self._number, _FIRST_RETRY, 0
        entries = [pending.entry for pending in batch]

        def tell(written: Sequence[Written]) -> None:
            if any(pending.arrival is not None for pending in batch):
                from_thread.run_sync(_tell_placed, batch, written)

        while True:
            try:
                self._writing = True
                return await self._database.run(
                    lambda connection: self._writer.write(connection, number, entries, tell)
                )
            except StorageError as error:
                self._failing = not error.refused
                refusals += error.refused
                if error.refused and (len(batch) > 1 or refusals == _REFUSALS):
                    raise
                self._log.warning("commit failed, trying again", entries=len(entries), error=str(error))
                await anyio.sleep(delay)
                delay = min(2 * delay, _LAST_RETRY)
            finally:
                self._writing = False

    def _drop_all(self, batch: Sequence[_Pending]) -> None:
        left = [pending for pending in batch if not pending.over]
        while True:
            try:
                left.append(self._receive.receive_nowait())
            except (anyio.WouldBlock, anyio.EndOfStream):
                break
        for pending in left:
            self._drop(pending, _closed())

    def _drop(self, pending: _Pending, error: StorageError) -> None:
        if pending.over:
            return
        pending.error = error
        if pending.arrival is not None:
            self._forget_arrival(pending)
            pending.arrival.dropped(_refused() if error.refused else _busy())
        elif error.refused and pending.on_refused is not None:
            pending.on_refused()
        self._end(pending)

    def _forget_arrival(self, pending: _Pending) -> None:
        # They come to an end in the order in which they came; one that is late is no longer among them.
        if self._arriving and self._arriving[0] is pending:
            self._arriving.popleft()

    def _end(self, pending: _Pending) -> None:
        pending.over = True
        # The batch is remembered until the next one; whose connection it was may be gone long before.
        pending.arrival = pending.on_refused = None
        if pending.waiter is not None:
            pending.waiter.set()


def _tell_placed(batch: Sequence[_Pending], written: Sequence[Written]) -> None:
    for pending, result in zip(batch, written, strict=True):
        if pending.arrival is not None and result.accepted is not None and not result.accepted.duplicate:
            pending.arrival.placed(result.accepted.seq)


def _busy() -> BusyError:
    return BusyError(
        "The message could not be stored now. Send it again with the same message_id.", retry_after_ms=1000
    )


def _refused() -> RequestError:
    return RequestError(
        ErrorCode.INTERNAL_ERROR, "The message cannot be stored as it is. Tell the operator its message_id."
    )


def _closed() -> StorageError:
    return StorageError("the journal is closed")
