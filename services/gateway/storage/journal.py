"""The event log by group commit: one writer drains a bounded queue, one transaction per batch.

Nothing is published before it is committed. So whatever a client has seen is in the database, whenever the process
ends, and a replay from the log is the stream that the client would have seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, final

import anyio
from anyio import Event, from_thread
from anyio.abc import TaskStatus
from sqlalchemy import Connection

from gateway.errors import BusyError, StorageError
from gateway.logs import get_logger
from gateway.storage.batch import BatchWriter, Entry, Written
from gateway.storage.entries import Accepted, LoggedEvent, NewAck, NewEvent, NewTurn

T = TypeVar("T")

_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 1.0


@dataclass(slots=True)
class _Pending:
    entry: Entry
    done: Event = field(default_factory=Event)
    written: Written | None = None
    on_placed: Callable[[int], None] | None = None
    before_publish: Callable[[Accepted], None] | None = None


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
        self._committed = 0
        self._batches = 0
        self._failing = False
        self._scope = anyio.CancelScope(shield=True)

    @property
    def statistics(self) -> JournalStatistics:
        waiting = self._send.statistics().current_buffer_used
        return JournalStatistics(waiting, self._committed, self._batches, self._failing)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Write until `close` was called and the queue is empty. Cancellation alone does not stop it."""
        task_status.started()
        with self._receive, self._scope:
            async for first in self._receive:
                batch = [first]
                while len(batch) < self._batch_size:
                    try:
                        batch.append(self._receive.receive_nowait())
                    except (anyio.WouldBlock, anyio.EndOfStream):
                        break
                await self._commit(batch)

    def close(self, *, grace: float) -> None:
        """Take nothing more. What waits is still written, for up to `grace` seconds."""
        self._send.close()
        self._scope.deadline = anyio.current_time() + grace

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
        pending = _Pending(turn, on_placed=on_placed, before_publish=before_publish)
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
        try:
            try:
                self._send.send_nowait(pending)
            except anyio.WouldBlock:
                await self._send.send(pending)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise StorageError("the journal is closed") from None

    async def _commit(self, batch: Sequence[_Pending]) -> None:
        written = await self._write(batch)
        self._failing = False
        self._committed += len(batch)
        self._batches += 1
        for pending, result in zip(batch, written, strict=True):
            pending.written = result
            if pending.before_publish is not None and result.accepted is not None:
                pending.before_publish(result.accepted)
            for logged in result.logged:
                self._publish(logged)
            # The batch is remembered until the next one; whose connection it was may be gone long before.
            pending.on_placed = pending.before_publish = None
            pending.done.set()

    async def _write(self, batch: Sequence[_Pending]) -> list[Written]:
        delay = _FIRST_RETRY
        number = self._batches + 1
        entries = [pending.entry for pending in batch]

        def tell(written: Sequence[Written]) -> None:
            if any(pending.on_placed is not None for pending in batch):
                from_thread.run_sync(_tell_placed, batch, written)

        while True:
            try:
                return await self._database.run(
                    lambda connection: self._writer.write(connection, number, entries, tell)
                )
            except StorageError as error:
                self._failing = True
                self._log.warning("commit failed, trying again", entries=len(entries), error=str(error))
                await anyio.sleep(delay)
                delay = min(2 * delay, _LAST_RETRY)


def _tell_placed(batch: Sequence[_Pending], written: Sequence[Written]) -> None:
    for pending, result in zip(batch, written, strict=True):
        if pending.on_placed is not None and result.accepted is not None and not result.accepted.duplicate:
            pending.on_placed(result.accepted.seq)
