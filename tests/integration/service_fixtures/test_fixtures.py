"""The fixtures as a team's tests see them. Tests come in pairs: the first writes, the second finds nothing of it."""

from collections.abc import Iterator
from dataclasses import replace

import coredis
import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import create_engine, text

from service_fixtures.errors import LeftOpenError
from service_fixtures.provision import Provision
from service_fixtures.services import Postgres, RealServices


@pytest.fixture(scope="module")
def schema(postgres_server: Postgres) -> Iterator[sql.Identifier]:
    """A schema that outlives single tests, with names that need quotes."""
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "Odd; ""name"')
        connection.execute('CREATE TABLE "Odd; ""name"."it\'s" (id serial PRIMARY KEY, word text)')
        yield sql.Identifier('Odd; "name', "it's")
        connection.execute('DROP SCHEMA "Odd; ""name" CASCADE')


@pytest.mark.parametrize("round_", [1, 2])
def test_rows_of_one_test_are_gone_in_the_next_and_ids_start_again(
    schema: sql.Identifier, postgres: Postgres, round_: int
) -> None:
    del round_
    with psycopg.connect(postgres.dsn) as connection:
        rows = connection.execute(sql.SQL("INSERT INTO {} (word) VALUES ('a') RETURNING id").format(schema)).fetchall()
        assert rows == [(1,)]
        assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(schema)).fetchone() == (1,)


@pytest.mark.parametrize("round_", [1, 2])
def test_what_a_test_makes_is_gone_in_the_next(postgres: Postgres, round_: int) -> None:
    del round_
    with psycopg.connect(postgres.dsn) as connection:
        for statement in (
            "CREATE TYPE mood AS ENUM ('calm')",
            "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
            "CREATE TABLE parent (id serial PRIMARY KEY, mood mood) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF parent FOR VALUES FROM (1) TO (10)",
            "CREATE VIEW seen AS SELECT * FROM parent",
            "CREATE MATERIALIZED VIEW kept AS SELECT * FROM seen",
            "CREATE SEQUENCE counter",
            "CREATE FUNCTION one(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE SCHEMA extra",
            "CREATE TABLE extra.t (id int)",
        ):
            connection.execute(statement.encode())


def test_a_transaction_left_open_fails_and_the_database_is_clean_all_the_same(
    real_service_provision: Provision,
) -> None:
    with Provision(replace(real_service_provision.settings, lock_timeout=0.2)) as provision:
        postgres = provision.postgres
        with psycopg.connect(postgres.dsn) as connection:
            connection.execute("CREATE TABLE words (word text)")
        left = psycopg.connect(postgres.dsn, application_name="the culprit")
        left.execute("INSERT INTO words VALUES ('a')")
        left.commit()
        left.execute("SELECT * FROM words")
        cleaning = provision.clean_postgres()
        cleaning.__enter__()
        with pytest.raises(LeftOpenError, match="the culprit: idle in transaction"):
            cleaning.__exit__(None, None, None)
        left.close()
        with psycopg.connect(postgres.dsn) as connection:
            assert connection.execute("SELECT count(*) FROM words").fetchone() == (0,)


def test_the_sqlalchemy_url_connects_with_psycopg(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    try:
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
    finally:
        engine.dispose()


@pytest.mark.parametrize("round_", [1, 2])
def test_keys_of_one_test_are_gone_in_the_next(redis_url: str, round_: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("round", round_)


@pytest.mark.anyio
@pytest.mark.parametrize("round_", [1, 2])
async def test_async_tests_get_clean_services_on_both_backends(real_services: RealServices, round_: int) -> None:
    async with coredis.Redis.from_url(real_services.redis.url) as client:
        assert await client.dbsize() == 0
        await client.set("round", str(round_))
    assert real_services.postgres.dsn.startswith("postgresql://")
