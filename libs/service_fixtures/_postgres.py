"""One database for one test process, on a server that several may share: made, emptied after each test, dropped."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final
from urllib.parse import urlsplit

import psycopg

from service_fixtures.errors import LeftOpenError

__all__ = ["Snapshot", "TestDatabase", "test_database"]

PREFIX = "streamproof_"

# What a test can make, as (catalogue, oid). What belongs to another object or to an extension goes with that one.
MADE_OBJECTS = """
    WITH spaces AS (SELECT oid, nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'),
    made AS (
        SELECT 'pg_namespace'::regclass AS class, oid FROM spaces WHERE nspname <> 'public'
        UNION ALL
        SELECT 'pg_class'::regclass, oid FROM pg_class
         WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND relnamespace IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT 'pg_type'::regclass, oid FROM pg_type
         WHERE typtype IN ('e', 'd', 'r') AND typnamespace IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT 'pg_extension'::regclass, oid FROM pg_extension WHERE extname <> 'plpgsql'
    )
    SELECT class::oid, oid FROM made
     WHERE NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = made.class AND d.objid = made.oid AND d.objsubid = 0
                          AND d.refobjid <> made.oid  -- a partitioned table depends on its own columns
                          AND d.deptype IN ('a', 'e', 'i'))
"""
# One statement per table, which says whether it has rows.
TABLES = """
    SELECT format('SELECT %L, EXISTS (SELECT FROM %s)', c.oid::regclass, c.oid::regclass)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY c.oid
"""
USED_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename) FROM pg_sequences WHERE last_value IS NOT NULL ORDER BY 1
"""
END_OPEN_TRANSACTIONS = """
    SELECT coalesce(nullif(application_name, ''), 'pid ' || pid) || ': ' || state, pg_terminate_backend(pid, 5000)
      FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()
       AND backend_type = 'client backend' AND xact_start IS NOT NULL
"""

Connection = psycopg.Connection[tuple[Any, ...]]
Snapshot = frozenset[tuple[int, int]]


@final
class TestDatabase:
    """The database of this process, and the connection that empties it."""

    __test__ = False  # pytest collects classes by this prefix

    def __init__(self, dsn: str, server_version: str, connection: Connection) -> None:
        self.dsn = dsn
        self.server_version = server_version
        self._connection = connection

    def snapshot(self) -> Snapshot:
        """The objects there are now; what is made later is dropped by `clean`."""
        return frozenset((row[0], row[1]) for row in self._rows(MADE_OBJECTS))

    def clean(self, before: Snapshot) -> None:
        """Drops what was made since `before`, empties the tables that were there, restarts their sequences.

        Raises:
            LeftOpenError: a session that the test left in a transaction stood in the way for `lock_timeout`. The
                database is clean nevertheless: that session was ended.
        """
        try:
            self._clean(before)
        except psycopg.errors.LockNotAvailable:
            ended = self._rows(END_OPEN_TRANSACTIONS)
            self._clean(before)
            raise LeftOpenError([row[0] for row in ended]) from None

    def _clean(self, before: Snapshot) -> None:
        for class_oid, object_oid in sorted(self.snapshot() - before):
            # An earlier DROP ... CASCADE may have taken this one along: then there is no name any more.
            for kind, identity in self._rows(
                "SELECT type, identity FROM pg_identify_object(%s, %s, 0) WHERE identity IS NOT NULL",
                class_oid,
                object_oid,
            ):
                self._run(f"DROP {kind} IF EXISTS {identity} CASCADE")
        checks = [check for (check,) in self._rows(TABLES)]
        written = [name for name, has_rows in self._rows(" UNION ALL ".join(checks)) if has_rows] if checks else []
        if written:
            self._run(f"TRUNCATE {', '.join(written)} RESTART IDENTITY CASCADE")
        for (sequence,) in self._rows(USED_SEQUENCES):
            self._run(f"ALTER SEQUENCE {sequence} RESTART")

    # Statements go out as bytes: names in them are quoted by the server's own format() and pg_identify_object().
    def _rows(self, statement: str, *parameters: int) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), parameters or None).fetchall()

    def _run(self, statement: str) -> None:
        self._connection.execute(statement.encode())


@contextmanager
def test_database(server_dsn: str, process_name: str, lock_timeout: float) -> Iterator[TestDatabase]:
    """Makes the database of this process and drops it at the end; drops those that killed processes left first.

    Every live process holds an advisory lock on its database's name, on the server: a name whose lock is free
    has no owner any more. That works for processes on other machines too, where a pid would say nothing.
    Cleaning the database waits `lock_timeout` seconds for what a test left open.
    """
    name = f"{PREFIX}{process_name}_{secrets.token_hex(2)}"
    dsn = with_database(server_dsn, name)
    with psycopg.connect(server_dsn, autocommit=True, application_name=name) as owner:
        owner.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        _drop_abandoned(owner, name)
        owner.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            with psycopg.connect(dsn, autocommit=True, application_name="service_fixtures") as connection:
                connection.execute(f"SET lock_timeout = {round(lock_timeout * 1000)}".encode())
                yield TestDatabase(dsn, _version(connection), connection)
        finally:
            _drop(owner, name)


test_database.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it where it is imported


def with_database(dsn: str, name: str) -> str:
    """The same URL with another database."""
    parts = urlsplit(dsn)
    # Not urlunsplit: it drops the empty host of a URL that names a socket folder in its query.
    return f"{parts.scheme}://{parts.netloc}/{name}{'?' + parts.query if parts.query else ''}"


def _drop_abandoned(owner: Connection, own: str) -> None:
    found = owner.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND datname <> %s", [PREFIX, own]
    )
    for (name,) in found.fetchall():
        if not re.fullmatch(rf"{PREFIX}[a-z0-9]+_\d+_[0-9a-f]{{4}}", name):
            continue  # not one of ours, whatever its first letters are
        locked = owner.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [name]).fetchone()
        if locked == (True,):
            _drop(owner, name)
            owner.execute("SELECT pg_advisory_unlock(hashtext(%s))", [name])


def _drop(owner: Connection, name: str) -> None:
    owner.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def _version(connection: Connection) -> str:
    row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]).split()[0] if row else "unknown"
