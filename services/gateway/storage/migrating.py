"""Brings a database to the tables of today with Alembic, and says where it stands."""

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, select

from gateway.errors import StorageError
from gateway.ids import IdGenerator
from gateway.storage.database import Database
from gateway.storage.schema import log

_LOCK: Final = 0x73747265616D
"""Advisory lock of PostgreSQL: two instances that start together migrate one after the other."""


async def migrate(database: Database, revision: str = "head") -> None:
    """Make or change what is missing, up to `revision`. Safe to repeat, also from several processes.

    Raises:
        StorageError: the database cannot be reached or changed.
    """

    def work(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        command.upgrade(_config(connection), revision)

    await database.run(work)


async def check_revision(database: Database) -> str:
    """The revision of the database.

    Raises:
        StorageError: it is not the one that this gateway needs, or the database cannot be reached.
    """

    def work(connection: Connection) -> str:
        wanted = ScriptDirectory.from_config(_config(connection)).get_current_head()
        found = MigrationContext.configure(connection).get_current_revision()
        if found is None or found != wanted:
            raise StorageError(
                f"the database is at revision {found or 'none'}, this gateway needs {wanted}; run `gateway migrate`"
            )
        return found

    return await database.run(work)


async def open_log(database: Database, ids: IdGenerator) -> str:
    """The epoch of the event log; a database without one gets it now. Raises StorageError."""

    def work(connection: Connection) -> str:
        epoch = connection.execute(select(log.c.epoch)).scalar()
        if epoch is None:
            epoch = ids.epoch()
            connection.execute(log.insert().values(name="events", epoch=epoch))
        return epoch

    return await database.run(work)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "gateway.storage:migrations")
    config.attributes["connection"] = connection
    return config
