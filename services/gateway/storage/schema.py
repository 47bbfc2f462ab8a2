"""The tables. Plain SQL types, so that SQLite and PostgreSQL hold the same thing."""

import hashlib
import json
from functools import lru_cache
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_COUNT: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite keeps 64 bits in any integer column; these were made under the shorter name."""

log: Final = Table(
    "log",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("epoch", String(64), nullable=False),
)
"""One row: the name of the event log. A database made anew gets a new epoch, so old positions say nothing."""

writers: Final = Table(
    "writers",
    metadata,
    Column("writer_id", String(64), primary_key=True),
    Column("last_batch", BigInteger, nullable=False),
)
"""One row for each journal. It tells a batch that was committed from one that was not, when the answer got lost."""

users: Final = Table(
    "users",
    metadata,
    Column("user_key", String(32), primary_key=True),
    Column("tenant_id", String(128), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("created_at", String(32), nullable=False),
)

threads: Final = Table(
    "threads",
    metadata,
    Column("thread_key", String(32), primary_key=True),
    Column("user_key", String(32), ForeignKey("users.user_key"), nullable=False, index=True),
    Column("thread_id", String(128), nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("acked_seq", BigInteger, nullable=False, server_default="0"),
    Column("created_at", String(32), nullable=False),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("user_key", String(32), ForeignKey("users.user_key"), primary_key=True),
    Column("session_id", String(128), primary_key=True),
    Column("thread_key", String(32), ForeignKey("threads.thread_key"), nullable=False, index=True),
    Column("created_at", String(32), nullable=False),
    Column("last_used_at", String(32), nullable=False),
)
"""What Socket.IO clients call a session: it is made by the first message that names it, and leads to its thread."""

runs: Final = Table(
    "runs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("thread_key", String(32), ForeignKey("threads.thread_key"), nullable=False, index=True),
    Column("user_key", String(32), ForeignKey("users.user_key"), nullable=False),
    Column("message_id", String(128), nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("accepted_seq", BigInteger, nullable=False),
    Column("request", Text, nullable=False),
    Column("error_code", String(32)),
    Column("input_tokens", _COUNT),
    Column("output_tokens", _COUNT),
    Column("duration_ms", Float),
    Column("created_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    UniqueConstraint("user_key", "message_id"),
)

messages: Final = Table(
    "messages",
    metadata,
    Column("thread_key", String(32), ForeignKey("threads.thread_key"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", String(128), nullable=False),
    Column("run_id", String(64), ForeignKey("runs.run_id"), nullable=False),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
)
"""`seq` is the place of the event that stored the message, so a history pages by the same positions as the log."""

events: Final = Table(
    "events",
    metadata,
    Column("thread_key", String(32), ForeignKey("threads.thread_key"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", String(64), nullable=False),
    Column("type", String(32), nullable=False),
    Column("frame", Text, nullable=False),
    Index("ix_events_run_id", "run_id"),
)
"""`frame` is the event as it goes over the wire, so that a replay is the same to the byte."""


class ThreadAddress(NamedTuple):
    """Whose thread it is and what it is called. The same name under two users is two threads."""

    tenant_id: str
    user_id: str
    thread_id: str

    @property
    def user_key(self) -> str:
        return user_key_of(self.tenant_id, self.user_id)

    @property
    def thread_key(self) -> str:
        return _key(*self)


def user_key_of(tenant_id: str, user_id: str) -> str:
    """Key of the rows that belong to a user."""
    return _key(tenant_id, user_id)


@lru_cache(maxsize=4096)  # asked for several times with each event
def _key(*parts: str) -> str:
    # JSON keeps the parts apart, so that no choice of names lets two owners share a key.
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
