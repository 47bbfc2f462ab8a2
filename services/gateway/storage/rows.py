"""What one batch adds to the tables, and who can write it down."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from sqlalchemy import Connection

from gateway.storage.entries import Accepted

Row = dict[str, Any]
TurnIdentity = tuple[str, str]
"""A user's key and the id that the user's message has."""

OUTCOME_COLUMNS: Final = ("status", "error_code", "input_tokens", "output_tokens", "duration_ms", "finished_at")


@final
@dataclass
class BatchRows:
    """Rows by table, in the order in which they are written."""

    users: dict[str, Row] = field(default_factory=dict)
    """By key. Those that are there already stay as they are."""
    threads: dict[str, Row] = field(default_factory=dict)
    """By key. Those that are there already stay as they are."""
    sessions: dict[TurnIdentity, Row] = field(default_factory=dict)
    """By user key and session id. Those that are there already are marked as used."""
    runs: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    outcomes: dict[str, Row] = field(default_factory=dict)
    """By run: what becomes of runs that are there already, or were added by the same batch."""
    last_seqs: dict[str, int] = field(default_factory=dict)
    """By key of the thread: the place of its newest event."""
    acks: dict[str, int] = field(default_factory=dict)
    """By key of the thread: up to where everything has arrived."""


class Statements(Protocol):
    """What a batch says to one kind of database. Each call is part of the caller's transaction."""

    def read(
        self, connection: Connection, turns: Collection[TurnIdentity], thread_keys: Collection[str]
    ) -> tuple[dict[TurnIdentity, Accepted], dict[str, int]]:
        """The turns that are stored already, and the newest places of the threads, which are locked."""
        ...

    def last_batch(self, connection: Connection, writer_id: str) -> int | None:
        """The last batch of the writer that was committed."""
        ...

    def write(self, connection: Connection, rows: BatchRows, writer_id: str, number: int) -> None:
        """Write the rows and the number of the batch. It may commit, too."""
        ...
