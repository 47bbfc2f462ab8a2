"""What a batch says to SQLite, a statement at a time: it is in the process, and answers at once."""

from collections.abc import Collection, Iterable
from typing import Any, final

from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlalchemy.dialects import sqlite

from gateway.storage.entries import Accepted
from gateway.storage.rows import OUTCOME_COLUMNS, BatchRows, TurnIdentity
from gateway.storage.schema import events, messages, runs, sessions, threads, users, writers


@final
class CoreStatements:
    """See `Statements`."""

    def read(
        self, connection: Connection, turns: Collection[TurnIdentity], thread_keys: Collection[str]
    ) -> tuple[dict[TurnIdentity, Accepted], dict[str, int]]:
        """See `Statements.read`. SQLite has one writer at a time, so nothing is locked."""
        known = {}
        if turns:
            query = (
                select(runs.c.user_key, runs.c.message_id, runs.c.run_id, threads.c.thread_id, runs.c.accepted_seq)
                .join(threads, threads.c.thread_key == runs.c.thread_key)
                .where(
                    runs.c.message_id.in_({message_id for _, message_id in turns}),
                    runs.c.user_key.in_({user_key for user_key, _ in turns}),
                )
            )
            known = {
                (row.user_key, row.message_id): Accepted(row.run_id, row.thread_id, row.accepted_seq, duplicate=True)
                for row in connection.execute(query)
            }
        places = select(threads.c.thread_key, threads.c.last_seq).where(threads.c.thread_key.in_(thread_keys))
        return known, {row.thread_key: row.last_seq for row in connection.execute(places)}

    def last_batch(self, connection: Connection, writer_id: str) -> int | None:
        """See `Statements.last_batch`."""
        query = select(writers.c.last_batch).where(writers.c.writer_id == writer_id)
        number: int | None = connection.execute(query).scalar()
        return number

    def write(self, connection: Connection, rows: BatchRows, writer_id: str, number: int) -> None:
        """See `Statements.write`."""
        _insert(connection, users, rows.users.values(), ignore=True)
        _insert(connection, threads, rows.threads.values(), ignore=True)
        _insert(connection, runs, rows.runs)
        _insert(connection, events, rows.events)
        _insert(connection, messages, rows.messages)
        if rows.sessions:
            _note_sessions(connection, rows.sessions.values())
        if rows.last_seqs:
            _move(connection, "last_seq", rows.last_seqs)
        if rows.outcomes:
            statement = update(runs).where(runs.c.run_id == bindparam("key"))
            values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in OUTCOME_COLUMNS}
            connection.execute(statement.values(values), [_outcome(row) for row in rows.outcomes.values()])
        if rows.acks:
            _move(connection, "acked_seq", rows.acks)
        mark = sqlite.insert(writers).on_conflict_do_update(
            index_elements=[writers.c.writer_id], set_={"last_batch": number}
        )
        connection.execute(mark, {"writer_id": writer_id, "last_batch": number})


def _insert(connection: Connection, table: Table, rows: Iterable[dict[str, Any]], *, ignore: bool = False) -> None:
    if rows := list(rows):
        connection.execute(sqlite.insert(table).on_conflict_do_nothing() if ignore else insert(table), rows)


def _note_sessions(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    statement = sqlite.insert(sessions)
    statement = statement.on_conflict_do_update(
        index_elements=[sessions.c.user_key, sessions.c.session_id],
        set_={"last_used_at": statement.excluded.last_used_at},
    )
    connection.execute(statement, list(rows))


def _move(connection: Connection, column: str, places: dict[str, int]) -> None:
    """Set a place of each thread, never backwards."""
    statement = (
        update(threads)
        .where(threads.c.thread_key == bindparam("key"), threads.c[column] < bindparam("place"))
        .values({column: bindparam("place")})
    )
    connection.execute(statement, [{"key": key, "place": place} for key, place in places.items()])


def _outcome(row: dict[str, Any]) -> dict[str, Any]:
    return {"key": row["run_id"], **{f"new_{name}": row.get(name) for name in OUTCOME_COLUMNS}}
