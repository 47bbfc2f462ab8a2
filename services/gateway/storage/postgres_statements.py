"""What a batch says to PostgreSQL: two round trips, however much it holds.

Each statement takes all its rows as one JSON value, and the statements of a round trip are one text, with the values
in it. Waiting for an answer means giving up Python's lock and getting in line for it again, which on a busy processor
takes longer than most statements do; pipeline mode would do so with each statement.
https://www.psycopg.org/psycopg3/docs/advanced/cursors.html#client-side-binding-cursors
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, cast, final

import msgspec
import psycopg
from sqlalchemy import Connection, Table

from gateway.storage.entries import Accepted
from gateway.storage.rows import OUTCOME_COLUMNS, BatchRows, Row, TurnIdentity
from gateway.storage.schema import events, messages, runs, sessions, threads, users


def _rows_of(table: Table) -> str:
    return f"json_populate_recordset(NULL::{table.name}, %s::json) AS new"


def _insert(table: Table, *, without: Collection[str] = (), conflict: str = "") -> str:
    names = ", ".join(column.name for column in table.columns if column.name not in without)
    # Names come from the schema, values go as parameters.
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_rows_of(table)} {conflict}"  # noqa: S608


def _update(table: Table, key: str, columns: Sequence[str], *, condition: str = "") -> str:
    values = ", ".join(f"{name} = new.{name}" for name in columns)
    return f"UPDATE {table.name} AS old SET {values} FROM {_rows_of(table)} WHERE old.{key} = new.{key} {condition}"  # noqa: S608


_KNOWN_TURNS: Final = (
    "SELECT runs.user_key, message_id, run_id, thread_id, accepted_seq FROM runs JOIN threads USING (thread_key)"
    " WHERE message_id = ANY(%s) AND runs.user_key = ANY(%s)"
)
# Locked in one order, so that two instances which write to the same threads never wait for each other in a ring.
_LAST_SEQS: Final = "SELECT thread_key, last_seq FROM threads WHERE thread_key = ANY(%s) ORDER BY thread_key FOR UPDATE"
_BEGIN: Final = f"BEGIN; {_LAST_SEQS}"
_LAST_BATCH: Final = "SELECT last_batch FROM writers WHERE writer_id = %s"
_MARK: Final = (
    "INSERT INTO writers (writer_id, last_batch) VALUES (%s, %s)"
    " ON CONFLICT (writer_id) DO UPDATE SET last_batch = excluded.last_batch"
)
_ADD_USERS: Final = _insert(users, conflict="ON CONFLICT DO NOTHING")
_ADD_THREADS: Final = _insert(threads, without={"acked_seq"}, conflict="ON CONFLICT DO NOTHING")
_ADD_RUNS: Final = _insert(runs)
_ADD_EVENTS: Final = _insert(events)
_ADD_MESSAGES: Final = _insert(messages)
_NOTE_SESSIONS: Final = _insert(
    sessions, conflict="ON CONFLICT (user_key, session_id) DO UPDATE SET last_used_at = excluded.last_used_at"
)
_MOVE_LAST: Final = _update(threads, "thread_key", ["last_seq"], condition="AND old.last_seq < new.last_seq")
_MOVE_ACKED: Final = _update(threads, "thread_key", ["acked_seq"], condition="AND old.acked_seq < new.acked_seq")
_END_RUNS: Final = _update(runs, "run_id", OUTCOME_COLUMNS)


@final
class PostgresStatements:
    """See `Statements`."""

    def read(
        self, connection: Connection, turns: Collection[TurnIdentity], thread_keys: Collection[str]
    ) -> tuple[dict[TurnIdentity, Accepted], dict[str, int]]:
        """See `Statements.read`."""
        cursor = psycopg.ClientCursor(_driver(connection))
        if not turns:  # most batches have none, and the join takes longer to plan than all the rest
            cursor.execute(_BEGIN, (list(thread_keys),))
            cursor.nextset()
            return {}, dict(cursor.fetchall())
        message_ids = [message_id for _, message_id in turns]
        user_keys = list({user_key for user_key, _ in turns})
        cursor.execute(f"{_BEGIN}; {_KNOWN_TURNS}".encode(), (list(thread_keys), message_ids, user_keys))
        cursor.nextset()
        places = dict(cursor.fetchall())
        cursor.nextset()
        known = {
            (user_key, message_id): Accepted(run_id, thread_id, seq, duplicate=True)
            for user_key, message_id, run_id, thread_id, seq in cursor.fetchall()
        }
        return known, places

    def last_batch(self, connection: Connection, writer_id: str) -> int | None:
        """See `Statements.last_batch`."""
        row = _driver(connection).execute(_LAST_BATCH, (writer_id,)).fetchone()
        return None if row is None else int(row[0])

    def write(self, connection: Connection, rows: BatchRows, writer_id: str, number: int) -> None:
        """See `Statements.write`. Commits in the same round trip."""
        statements: list[str] = []
        parameters: list[Any] = []
        for statement, values in (
            (_ADD_USERS, _in_order(rows.users)),
            (_ADD_THREADS, _in_order(rows.threads)),
            (_ADD_RUNS, rows.runs),
            (_ADD_EVENTS, rows.events),
            (_ADD_MESSAGES, rows.messages),
            (_NOTE_SESSIONS, _in_order(rows.sessions)),
            (_MOVE_LAST, [{"thread_key": key, "last_seq": seq} for key, seq in rows.last_seqs.items()]),
            (_END_RUNS, list(rows.outcomes.values())),
            (_MOVE_ACKED, [{"thread_key": key, "acked_seq": seq} for key, seq in sorted(rows.acks.items())]),
        ):
            if values:
                statements.append(statement)
                parameters.append(msgspec.json.encode(values).decode())
        text = "; ".join([*statements, _MARK, "COMMIT"])
        psycopg.ClientCursor(_driver(connection)).execute(text.encode(), [*parameters, writer_id, number])


def _driver(connection: Connection) -> "psycopg.Connection[Any]":
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    if not driver.autocommit:
        # The transaction is begun in `read` and not by the driver, which would take a round trip for it.
        driver.autocommit = True
    return driver


def _in_order(rows: dict[Any, Row]) -> list[Row]:
    return [rows[key] for key in sorted(rows)]
