"""The migrations make what the code expects, on SQLite and on PostgreSQL."""

from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, select

from gateway.errors import StorageError
from gateway.ids import IdGenerator
from gateway.storage.database import Database
from gateway.storage.migrating import check_revision, migrate, open_log
from gateway.storage.schema import metadata, sessions, threads, users

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


async def test_the_migrated_database_is_the_one_that_the_code_describes(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with Database.open(database_url, threads=2) as database:
        await migrate(database)
        assert await database.run(differences) == []


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    async with Database.open(database_url, threads=2) as database:
        await migrate(database)
        epoch = await open_log(database, IdGenerator())
        await migrate(database)
        assert await open_log(database, IdGenerator()) == epoch


async def test_a_database_of_the_first_revision_keeps_its_rows(database_url: str) -> None:
    thread = {"thread_key": "t", "user_key": "u", "thread_id": "talk", "last_seq": 7, "created_at": "then"}
    user = {"user_key": "u", "tenant_id": "acme", "user_id": "alice", "created_at": "then"}

    def fill(connection: Connection) -> None:
        connection.execute(users.insert(), user)
        connection.execute(threads.insert(), thread)

    async with Database.open(database_url, threads=2) as database:
        await migrate(database, "0001")
        await database.run(fill)
        await migrate(database)
        kept = await database.run(lambda connection: connection.execute(select(threads)).mappings().one())
        assert await database.run(lambda connection: connection.execute(select(sessions)).all()) == []
    assert {name: kept[name] for name in thread} == thread


async def test_instances_that_start_together_migrate_one_after_the_other(postgres_url: str) -> None:
    async with Database.open(postgres_url, threads=4) as database:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(migrate, database)
        assert await check_revision(database) == "0003"


async def test_an_empty_database_is_refused_with_the_command_that_helps(database_url: str) -> None:
    async with Database.open(database_url, threads=2) as database:
        with pytest.raises(StorageError, match="run `gateway migrate`"):
            await check_revision(database)
