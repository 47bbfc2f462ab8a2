"""The SQLAlchemy engine: synchronous, in worker threads with a limiter of their own.

Asynchronous drivers exist for asyncio only; a thread serves both backends.
"""

import os
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, Self, TypeVar, final

import anyio
import psycopg
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, StatementError

from gateway.errors import SettingsError, StorageError

T = TypeVar("T")

_PATIENCE: Final = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that is gone without a word is given up after some ten seconds; TCP alone would wait for hours.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS, seconds but for the last: milliseconds.
"""
_SQLITE_NAMES: Final = frozenset({"sqlite", "sqlite+pysqlite"})
_POSTGRESQL_NAMES: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_TRUSTED_SECONDS: Final = 1.0
"""A connection that was used this lately is used again without asking whether it still stands."""


@final
class Database:
    """A pool of connections, reached from async code through `run`.

    Make one with `Database.open`.
    """

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._limiter = CapacityLimiter(threads)
        self._check_limiter = CapacityLimiter(1)
        self._in_use: set[Any] = set()
        event.listen(engine, "checkout", lambda connection, _record, _proxy: self._in_use.add(connection))
        event.listen(engine, "checkin", lambda connection, _record: self._in_use.discard(connection))

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, threads: int, connect_timeout: int = 5) -> AsyncIterator[Self]:
        """Connect to `url` and close every connection on the way out.

        Args:
            url: where it is.
            threads: most transactions at a time.
            connect_timeout: seconds that connecting to PostgreSQL may take, two or more.

        Raises:
            SettingsError: the URL is not one of SQLite or PostgreSQL.
        """
        engine = await to_thread.run_sync(_make_engine, url, threads, connect_timeout)
        try:
            yield cls(engine, threads)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(engine.dispose)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction in a worker thread.

        Cancellation waits for the thread, so that no transaction is left behind.

        Raises:
            StorageError: the database refused or could not be reached; nothing was committed.
        """
        return await to_thread.run_sync(self.transact, work, limiter=self._limiter)

    async def check(self, timeout: float) -> None:
        """Reach the database once. Raises StorageError when that fails, or takes more than `timeout` seconds.

        Cancellation leaves the thread behind: it ends with what the database says, or does not.
        """
        with anyio.move_on_after(timeout):
            await to_thread.run_sync(self.transact, _ask, abandon_on_cancel=True, limiter=self._check_limiter)
            return
        raise StorageError("the database does not answer")

    def break_off(self) -> None:
        """Break the connections in use: who waits for a server that has fallen silent gets a StorageError now."""
        for connection in tuple(self._in_use):
            if isinstance(connection, psycopg.Connection):
                # It may be closed by its own thread at this very moment.
                with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
                    same.shutdown(socket.SHUT_RDWR)

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction in this thread. Raises as `run` does."""
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except StorageError:
            raise
        except Exception as error:
            cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
            # Only the kind of error: its text holds the parameters, which are what users wrote.
            raise StorageError(f"the database failed ({type(cause).__name__})", refused=_is_refusal(cause)) from error


def _is_refusal(error: BaseException) -> bool:
    """Whether it is about what was to be written, and not about whether the database can be reached."""
    if isinstance(error, psycopg.Error):
        return isinstance(error, psycopg.DataError | psycopg.IntegrityError)
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.DataError | sqlite3.IntegrityError)
    # A value that the driver or an encoder has no form for never gets as far as the database.
    return isinstance(error, ArithmeticError | LookupError | TypeError | ValueError | RecursionError)


def _ask(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT 1").scalar_one()


def _make_engine(url: str, threads: int, connect_timeout: int) -> Engine:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("GATEWAY_DATABASE_URL", "is not a database URL, such as sqlite:///file.sqlite3") from None
    options: dict[str, Any] = {}
    if parsed.drivername in _SQLITE_NAMES:
        if parsed.database in {None, "", ":memory:"}:
            raise SettingsError("GATEWAY_DATABASE_URL", "SQLite needs a file here, such as sqlite:///file.sqlite3")
        if not (folder := Path(parsed.database or "").absolute().parent).is_dir():
            raise SettingsError("GATEWAY_DATABASE_URL", f"the folder {folder} does not exist; make it first")
    elif parsed.drivername in _POSTGRESQL_NAMES:
        parsed = parsed.set(drivername="postgresql+psycopg")
        options = {"connect_args": {**_PATIENCE, "connect_timeout": connect_timeout}}
    else:
        raise SettingsError("GATEWAY_DATABASE_URL", f"{parsed.drivername} is not supported; use sqlite or postgresql")
    # Besides those of the threads, one for the thread of the journal and one for the check.
    engine = create_engine(parsed, pool_size=threads + 2, max_overflow=0, hide_parameters=True, **options)
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    else:
        _ask_after_idling(engine)
        event.listen(engine, "checkin", _restore_autocommit)
    return engine


def _ask_after_idling(engine: Engine) -> None:
    """Replace connections that were closed while nobody used them, without a round trip for those in steady use."""

    def note_use(_connection: Any, record: Any) -> None:
        record.info["used_at"] = monotonic()

    def ask(connection: Any, record: Any, _proxy: Any) -> None:
        if monotonic() - record.info.get("used_at", monotonic()) < _TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise DisconnectionError(type(error).__name__) from error

    event.listen(engine, "checkin", note_use)
    event.listen(engine, "checkout", ask)


def _restore_autocommit(connection: "psycopg.Connection[Any] | None", _record: Any) -> None:
    # A user of the connection that begins its transactions itself leaves it so.
    if connection is not None and not connection.closed and connection.autocommit:
        connection.autocommit = False


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL: readers never wait for the writer. NORMAL: a commit survives the end of the process, however sudden, and
    # costs no fsync; only a loss of power may take the last ones. https://www.sqlite.org/pragma.html#pragma_synchronous
    for statement in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {statement}")
    cursor.close()
