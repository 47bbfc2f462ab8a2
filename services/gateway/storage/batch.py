"""One batch of journal entries, written in one transaction with a handful of statements."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from msgspec import UNSET, structs
from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from chat_protocol.decoding import encode
from chat_protocol.events import AnyEvent
from gateway.storage.entries import Accepted, LoggedEvent, NewAck, NewEvent, NewTurn
from gateway.storage.schema import ThreadAddress, events, messages, runs, sessions, threads, users, writers

_OUTCOME_COLUMNS: Final = ("status", "error_code", "input_tokens", "output_tokens", "duration_ms", "finished_at")

Entry = NewTurn | NewEvent | NewAck


@final
@dataclass(frozen=True, slots=True)
class Written:
    """What one entry became: the logged event, if it made one, and for a turn whether it was new."""

    logged: LoggedEvent | None
    accepted: Accepted | None = None


@dataclass
class _Rows:
    threads: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    acks: dict[str, int] = field(default_factory=dict)


@final
class BatchWriter:
    """Writes batches.

    A batch whose transaction failed is given again, under the same number. Its commit may have succeeded all the same,
    with only the answer lost on the way; the number in the database tells, and then nothing is written twice.

    Args:
        epoch: name of the log, put into every event.
        writer_id: name of this writer, unlike that of any other that ever wrote to the database.
    """

    def __init__(self, epoch: str, writer_id: str) -> None:
        self._epoch = epoch
        self._writer_id = writer_id
        self._tried: tuple[int, list[Written]] | None = None

    def write(self, connection: Connection, number: int, batch: Sequence[Entry]) -> list[Written]:
        """Write `batch` in its order and say, entry by entry, what it became.

        Args:
            connection: with a transaction that the caller commits.
            number: the batch's own, from 1, the same each time it is tried.
            batch: what to write.
        """
        if self._tried is not None and self._tried[0] == number:
            query = select(writers.c.last_batch).where(writers.c.writer_id == self._writer_id)
            if connection.execute(query).scalar() == number:
                return self._tried[1]
        written = self._write(connection, batch)
        _mark(connection, self._writer_id, number)
        self._tried = (number, written)
        return written

    def _write(self, connection: Connection, batch: Sequence[Entry]) -> list[Written]:
        known = _known_turns(connection, batch)
        last = _last_seqs(connection, batch)
        rows = _Rows()
        written = [self._place(entry, known, last, rows) for entry in batch]
        _insert_owners(connection, batch, last)
        if rows.runs:
            connection.execute(insert(runs), rows.runs)
        if rows.events:
            connection.execute(insert(events), rows.events)
            _store_last_seqs(connection, rows.events, last)
        if rows.messages:
            connection.execute(insert(messages), rows.messages)
        if rows.statuses:
            _update_runs(connection, rows.statuses)
        if rows.acks:
            _store_acks(connection, rows.acks)
        return written

    def _place(
        self, entry: Entry, known: dict[tuple[str, str], Accepted], last: dict[str, int], rows: _Rows
    ) -> Written:
        if isinstance(entry, NewTurn):
            return self._place_turn(entry, known, last, rows)
        if isinstance(entry, NewAck):
            key = entry.address.thread_key
            rows.acks[key] = max(entry.seq, rows.acks.get(key, 0))
            return Written(None)
        logged = self._log(entry.address, entry.event, last, rows)
        run_id = str(entry.event.run_id)
        if entry.status is not None:
            rows.statuses.append(_status_row(run_id, entry.status))
        if entry.outcome is not None:
            outcome = entry.outcome
            rows.statuses.append(
                _status_row(run_id, outcome.status)
                | {
                    "error_code": outcome.error_code,
                    "input_tokens": outcome.usage.input_tokens if outcome.usage else None,
                    "output_tokens": outcome.usage.output_tokens if outcome.usage else None,
                    "duration_ms": outcome.duration_ms,
                    "finished_at": entry.event.timestamp,
                }
            )
            if outcome.answer is not None:
                rows.messages.append(_message_row(entry.address, logged, run_id, "assistant", outcome.answer))
        return Written(logged)

    def _place_turn(
        self, turn: NewTurn, known: dict[tuple[str, str], Accepted], last: dict[str, int], rows: _Rows
    ) -> Written:
        identity = (turn.address.user_key, turn.message_id)
        if (first := known.get(identity)) is not None:
            return Written(None, first)
        logged = self._log(turn.address, turn.accepted, last, rows)
        known[identity] = Accepted(turn.run_id, logged.seq, duplicate=True)
        rows.runs.append(
            {
                "run_id": turn.run_id,
                "thread_key": turn.address.thread_key,
                "user_key": turn.address.user_key,
                "message_id": turn.message_id,
                "status": "queued",
                "accepted_seq": logged.seq,
                "request": turn.request,
                "created_at": turn.accepted.timestamp,
            }
        )
        rows.messages.append(
            _message_row(turn.address, logged, turn.run_id, "user", turn.content, message_id=turn.message_id)
        )
        return Written(logged, Accepted(turn.run_id, logged.seq, duplicate=False))

    def _log(self, address: ThreadAddress, draft: AnyEvent, last: dict[str, int], rows: _Rows) -> LoggedEvent:
        key = address.thread_key
        last[key] = seq = last.get(key, 0) + 1
        event = structs.replace(draft, thread_id=address.thread_id, seq=seq, epoch=self._epoch)
        frame = encode(event).decode()
        rows.events.append(
            {
                "thread_key": key,
                "seq": seq,
                "run_id": "" if event.run_id is UNSET else event.run_id,
                "type": event.__struct_config__.tag,
                "frame": frame,
            }
        )
        return LoggedEvent(key, seq, event, frame)


def _mark(connection: Connection, writer_id: str, number: int) -> None:
    if number == 1:
        connection.execute(insert(writers), {"writer_id": writer_id, "last_batch": number})
    else:
        connection.execute(update(writers).where(writers.c.writer_id == writer_id).values(last_batch=number))


def _known_turns(connection: Connection, batch: Iterable[Entry]) -> dict[tuple[str, str], Accepted]:
    wanted = {(entry.address.user_key, entry.message_id) for entry in batch if isinstance(entry, NewTurn)}
    if not wanted:
        return {}
    query = select(runs.c.user_key, runs.c.message_id, runs.c.run_id, runs.c.accepted_seq).where(
        runs.c.message_id.in_({message_id for _, message_id in wanted}),
        runs.c.user_key.in_({user_key for user_key, _ in wanted}),
    )
    return {
        (row.user_key, row.message_id): Accepted(row.run_id, row.accepted_seq, duplicate=True)
        for row in connection.execute(query)
    }


def _last_seqs(connection: Connection, batch: Iterable[Entry]) -> dict[str, int]:
    # Locked in one order, so that two instances which write to the same threads never wait for each other in a ring.
    query = (
        select(threads.c.thread_key, threads.c.last_seq)
        .where(threads.c.thread_key.in_({entry.address.thread_key for entry in batch}))
        .order_by(threads.c.thread_key)
        .with_for_update()
    )
    return {row.thread_key: row.last_seq for row in connection.execute(query)}


def _insert_owners(connection: Connection, batch: Iterable[Entry], last: dict[str, int]) -> None:
    turns = [entry for entry in batch if isinstance(entry, NewTurn)]
    if not turns:
        return
    insert_new = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    owners = {
        turn.address.user_key: {
            "user_key": turn.address.user_key,
            "tenant_id": turn.address.tenant_id,
            "user_id": turn.address.user_id,
            "created_at": turn.accepted.timestamp,
        }
        for turn in turns
    }
    connection.execute(insert_new(users).on_conflict_do_nothing(), list(owners.values()))
    rows = {
        turn.address.thread_key: {
            "thread_key": turn.address.thread_key,
            "user_key": turn.address.user_key,
            "thread_id": turn.address.thread_id,
            "last_seq": last.get(turn.address.thread_key, 0),
            "created_at": turn.accepted.timestamp,
        }
        for turn in turns
    }
    connection.execute(insert_new(threads).on_conflict_do_nothing(), list(rows.values()))
    if named := [turn for turn in turns if turn.session_id is not None]:
        _note_sessions(connection, named)


def _note_sessions(connection: Connection, turns: Iterable[NewTurn]) -> None:
    insert_new = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert_new(sessions)
    statement = statement.on_conflict_do_update(
        index_elements=[sessions.c.user_key, sessions.c.session_id],
        set_={"last_used_at": statement.excluded.last_used_at},
    )
    # In one order, for the same reason as the threads.
    rows = {
        (turn.address.user_key, str(turn.session_id)): {
            "user_key": turn.address.user_key,
            "session_id": turn.session_id,
            "thread_key": turn.address.thread_key,
            "created_at": turn.accepted.timestamp,
            "last_used_at": turn.accepted.timestamp,
        }
        for turn in turns
    }
    connection.execute(statement, [rows[key] for key in sorted(rows)])


def _store_last_seqs(connection: Connection, rows: Iterable[dict[str, Any]], last: dict[str, int]) -> None:
    statement = update(threads).where(threads.c.thread_key == bindparam("key")).values(last_seq=bindparam("last"))
    keys = sorted({row["thread_key"] for row in rows})
    connection.execute(statement, [{"key": key, "last": last[key]} for key in keys])


def _store_acks(connection: Connection, acks: dict[str, int]) -> None:
    statement = (
        update(threads)
        .where(threads.c.thread_key == bindparam("key"), threads.c.acked_seq < bindparam("acked"))
        .values(acked_seq=bindparam("acked"))
    )
    connection.execute(statement, [{"key": key, "acked": seq} for key, seq in sorted(acks.items())])


def _update_runs(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    # One statement for each set of columns, so that the driver sends all its rows together. A run that begins and ends
    # in one batch has its beginning in the first.
    for columns in (("status",), _OUTCOME_COLUMNS):
        chosen = [
            {"key": row["run_id"], **{f"new_{name}": row[name] for name in columns}}
            for row in rows
            if len(row) == len(columns) + 1
        ]
        if chosen:
            statement = update(runs).where(runs.c.run_id == bindparam("key"))
            connection.execute(statement.values({name: bindparam(f"new_{name}") for name in columns}), chosen)


def _status_row(run_id: str, status: str) -> dict[str, Any]:
    return {"run_id": run_id, "status": status}


def _message_row(
    address: ThreadAddress, logged: LoggedEvent, run_id: str, role: str, content: str, *, message_id: str | None = None
) -> dict[str, Any]:
    return {
        "thread_key": address.thread_key,
        "seq": logged.seq,
        "message_id": message_id or str(logged.event.id),
        "run_id": run_id,
        "role": role,
        "content": content,
        "created_at": logged.event.timestamp,
    }
