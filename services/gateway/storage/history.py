"""Reading back: threads, their messages and their events."""

from dataclasses import dataclass
from typing import final

from sqlalchemy import and_, select

from gateway.storage.database import Database
from gateway.storage.entries import RunStatus
from gateway.storage.schema import ThreadAddress, events, messages, runs, sessions, threads, user_key_of


@final
@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation."""

    thread_id: str
    last_seq: int
    """Place of its newest event."""
    acked_seq: int
    """Everything up to here has arrived at its owner."""
    created_at: str


@final
@dataclass(frozen=True, slots=True)
class StoredSession:
    """What a Socket.IO client calls a session."""

    session_id: str
    thread_id: str
    """The conversation that it leads to."""
    created_at: str
    last_used_at: str
    """When its last message was stored."""


@final
@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message of a conversation."""

    seq: int
    """Place of the event that stored it; page with it."""
    role: str
    content: str
    message_id: str
    run_id: str
    created_at: str


@final
@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run that had not ended when the gateway did."""

    run_id: str
    status: RunStatus
    request: str
    """The request's context, as it was stored."""
    content: str
    seq: int


@final
class History:
    """Reads what the journal wrote. Every call is one transaction and sees only committed things."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, address: ThreadAddress) -> Thread | None:
        """The thread, or None when its owner has none of that name. Raises StorageError."""
        query = select(threads).where(threads.c.thread_key == address.thread_key)
        row = await self._database.run(lambda connection: connection.execute(query).first())
        return None if row is None else Thread(row.thread_id, row.last_seq, row.acked_seq, row.created_at)

    async def get_session(self, tenant_id: str, user_id: str, session_id: str) -> StoredSession | None:
        """The user's session of that name, or None before its first message. Raises StorageError."""
        query = (
            select(sessions.c.session_id, threads.c.thread_id, sessions.c.created_at, sessions.c.last_used_at)
            .join(threads, threads.c.thread_key == sessions.c.thread_key)
            .where(sessions.c.user_key == user_key_of(tenant_id, user_id), sessions.c.session_id == session_id)
        )
        row = await self._database.run(lambda connection: connection.execute(query).first())
        return None if row is None else StoredSession(*row)

    async def get_history(
        self, address: ThreadAddress, *, before_seq: int | None = None, limit: int = 50
    ) -> list[StoredMessage]:
        """The newest `limit` messages before the place `before_seq`, oldest first. Raises StorageError."""
        query = select(messages).where(messages.c.thread_key == address.thread_key)
        if before_seq is not None:
            query = query.where(messages.c.seq < before_seq)
        query = query.order_by(messages.c.seq.desc()).limit(limit)
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return [
            StoredMessage(row.seq, row.role, row.content, row.message_id, row.run_id, row.created_at)
            for row in reversed(rows)
        ]

    async def get_frames(self, thread_key: str, *, after_seq: int, limit: int) -> list[tuple[int, str]]:
        """Up to `limit` events after the place `after_seq`, as (seq, frame). Raises StorageError."""
        query = (
            select(events.c.seq, events.c.frame)
            .where(events.c.thread_key == thread_key, events.c.seq > after_seq)
            .order_by(events.c.seq)
            .limit(limit)
        )
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return [(row.seq, row.frame) for row in rows]

    async def get_unfinished_runs(self) -> list[UnfinishedRun]:
        """Runs that are queued or running, in the order in which they were accepted. Raises StorageError."""
        query = (
            select(runs.c.run_id, runs.c.status, runs.c.request, messages.c.content, messages.c.seq)
            .join(
                messages,
                and_(messages.c.thread_key == runs.c.thread_key, messages.c.seq == runs.c.accepted_seq),
            )
            .where(runs.c.status.in_(("queued", "running")))
            .order_by(runs.c.created_at, messages.c.seq)
        )
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return [UnfinishedRun(row.run_id, row.status, row.request, row.content, row.seq) for row in rows]
