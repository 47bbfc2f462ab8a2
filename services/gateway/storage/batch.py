"""One batch of journal entries, written in one transaction with a handful of statements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

from msgspec import UNSET, structs
from sqlalchemy import Connection

from chat_protocol.decoding import encode
from chat_protocol.events import AnyEvent
from gateway.storage.core_statements import CoreStatements
from gateway.storage.entries import Accepted, LoggedEvent, NewAck, NewEvent, NewTurn
from gateway.storage.postgres_statements import PostgresStatements
from gateway.storage.rows import BatchRows, Row, Statements, TurnIdentity
from gateway.storage.schema import ThreadAddress

Entry = NewTurn | NewEvent | NewAck

_CORE: Final = CoreStatements()
_POSTGRES: Final = PostgresStatements()


@final
@dataclass(frozen=True, slots=True)
class Written:
    """What one entry became: the events that it made, and for a turn whether it was new."""

    logged: Sequence[LoggedEvent] = ()
    accepted: Accepted | None = None


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

    def write(
        self,
        connection: Connection,
        number: int,
        batch: Sequence[Entry],
        on_placed: Callable[[Sequence[Written]], None],
    ) -> list[Written]:
        """Write `batch` in its order and say, entry by entry, what it became.

        Args:
            connection: with a transaction that the caller commits, unless it is committed here.
            number: the batch's own, from 1, the same each time it is tried.
            batch: what to write.
            on_placed: told what the entries will become, before anything is written. Another try may tell otherwise.
        """
        statements: Statements = _POSTGRES if connection.dialect.name == "postgresql" else _CORE
        if (
            self._tried is not None
            and self._tried[0] == number
            and statements.last_batch(connection, self._writer_id) == number
        ):
            return self._tried[1]
        turns = {(entry.address.user_key, entry.message_id) for entry in batch if isinstance(entry, NewTurn)}
        placing = _Placing(
            self._epoch, *statements.read(connection, turns, {entry.address.thread_key for entry in batch})
        )
        written = [placing.place(entry) for entry in batch]
        on_placed(written)
        # Noted before it is written: from there on it may be committed, whatever is heard of it.
        self._tried = (number, written)
        statements.write(connection, placing.rows, self._writer_id, number)
        return written


class _Placing:
    """Gives the entries of one batch their places. Pure: it makes rows.

    Args:
        epoch: name of the log.
        known: turns that are stored already.
        last: newest places of the threads.
    """

    def __init__(self, epoch: str, known: dict[TurnIdentity, Accepted], last: dict[str, int]) -> None:
        self.rows = BatchRows()
        self._epoch = epoch
        self._known = known
        self._last = last

    def place(self, entry: Entry) -> Written:
        """Say what the entry becomes, and add its rows."""
        if isinstance(entry, NewTurn):
            return self._place_turn(entry)
        if isinstance(entry, NewAck):
            key = entry.address.thread_key
            self.rows.acks[key] = max(entry.seq, self.rows.acks.get(key, 0))
            return Written()
        return self._place_event(entry)

    def _place_event(self, entry: NewEvent) -> Written:
        logged = self._log(entry.address.thread_key, entry.address, entry.event)
        run_id = str(entry.event.run_id)
        outcome = entry.outcome
        if outcome is not None:
            self.rows.outcomes[run_id] = {
                "run_id": run_id,
                "status": outcome.status,
                "error_code": outcome.error_code,
                "input_tokens": outcome.usage.input_tokens if outcome.usage else None,
                "output_tokens": outcome.usage.output_tokens if outcome.usage else None,
                "duration_ms": outcome.duration_ms,
                "finished_at": entry.event.timestamp,
            }
            if outcome.answer is not None:
                self.rows.messages.append(_message(logged, run_id, "assistant", outcome.answer))
        elif entry.status is not None:
            self.rows.outcomes[run_id] = {"run_id": run_id, "status": entry.status}
        return Written([logged])

    def _place_turn(self, turn: NewTurn) -> Written:
        key, user_key, created_at = turn.address.thread_key, turn.address.user_key, turn.accepted.timestamp
        if (first := self._known.get((user_key, turn.message_id))) is not None:
            return Written(accepted=first)
        rows = self.rows
        if key not in self._last:
            rows.users[user_key] = {
                "user_key": user_key,
                "tenant_id": turn.address.tenant_id,
                "user_id": turn.address.user_id,
                "created_at": created_at,
            }
            rows.threads[key] = {
                "thread_key": key,
                "user_key": user_key,
                "thread_id": turn.address.thread_id,
                "last_seq": 0,
                "created_at": created_at,
            }
        logged = self._log(key, turn.address, turn.accepted)
        self._known[user_key, turn.message_id] = Accepted(
            turn.run_id, turn.address.thread_id, logged.seq, duplicate=True
        )
        rows.runs.append(
            {
                "run_id": turn.run_id,
                "thread_key": key,
                "user_key": user_key,
                "message_id": turn.message_id,
                "status": "queued" if turn.started is None else "running",
                "accepted_seq": logged.seq,
                "request": turn.request,
                "created_at": created_at,
            }
        )
        rows.messages.append(_message(logged, turn.run_id, "user", turn.content, message_id=turn.message_id))
        if turn.session_id is not None:
            rows.sessions[user_key, turn.session_id] = {
                "user_key": user_key,
                "session_id": turn.session_id,
                "thread_key": key,
                "created_at": created_at,
                "last_used_at": created_at,
            }
        started = [] if turn.started is None else [self._log(key, turn.address, turn.started)]
        return Written([logged, *started], Accepted(turn.run_id, turn.address.thread_id, logged.seq, duplicate=False))

    def _log(self, key: str, address: ThreadAddress, draft: AnyEvent) -> LoggedEvent:
        self._last[key] = self.rows.last_seqs[key] = seq = self._last.get(key, 0) + 1
        event = structs.replace(draft, thread_id=address.thread_id, seq=seq, epoch=self._epoch)
        frame = encode(event).decode()
        self.rows.events.append(
            {
                "thread_key": key,
                "seq": seq,
                "run_id": "" if event.run_id is UNSET else event.run_id,
                "type": event.__struct_config__.tag,
                "frame": frame,
            }
        )
        return LoggedEvent(key, seq, event, frame)


def _message(logged: LoggedEvent, run_id: str, role: str, content: str, *, message_id: str | None = None) -> Row:
    return {
        "thread_key": logged.thread_key,
        "seq": logged.seq,
        "message_id": message_id or str(logged.event.id),
        "run_id": run_id,
        "role": role,
        # PostgreSQL has no place for NUL in a text.
        "content": content.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "created_at": logged.event.timestamp,
    }
