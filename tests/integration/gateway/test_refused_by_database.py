"""A database that is there and refuses something: one turn ends badly, and nobody else notices."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from gateway.storage.database import Database
from gateway.storage.schema import runs
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

COUNTING = """
name: counting
rules:
  - name: held
    match: {user: "wait", tool_result: true}
    reply: [{text: ["Done."]}]
    hold: [{barrier: never, after_event: 1}]
  - name: told
    match: {tool_result: true}
    reply: [{text: ["Done."]}]
    usage: {prompt: 3000000000, completion: 3000000000}
  - name: asked
    match: {}
    reply: [{tool_call: {name: calculator, arguments: {expression: "1 + 1"}}}]
    usage: {prompt: 3000000000, completion: 3000000000}
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def counting_llm() -> AsyncIterator[RunningMockLLM]:
    async with running_mock_llm(COUNTING) as running:
        yield running


@pytest.fixture
async def gateway(counting_llm: RunningMockLLM, database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(make_settings(database_url, counting_llm.openai_url)) as running:
        yield running


async def refuse(database_url: str, table: str, column: str, value: str) -> None:
    """Have the database refuse rows of the thread `odd` in which a column has a value."""

    def add(connection: Connection) -> None:
        owner = f"thread_key IN (SELECT thread_key FROM threads WHERE thread_id = '{thread}')"  # noqa: S608
        if connection.dialect.name == "sqlite":
            for moment in ("INSERT", "UPDATE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER refuse_{moment} BEFORE {moment} ON {table} WHEN NEW.{column} = '{value}'"
                    f" AND NEW.{owner} BEGIN SELECT RAISE(ABORT, 'no'); END"
                )
            return
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF NEW.{column} = '{value}' AND NEW.{owner} THEN"
            " RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END IF; RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
        )

    thread = "odd"
    async with Database.open(database_url, threads=1) as database:
        await database.run(add)


async def test_counts_of_tokens_beyond_32_bits_are_stored(gateway: RunningGateway, database_url: str) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat("go")
    async with Database.open(database_url, threads=1) as database:
        query = select(runs.c.input_tokens, runs.c.output_tokens)
        stored = await database.run(lambda connection: connection.execute(query).one())
    assert events[-1]["payload"]["usage"] == {"input_tokens": 6_000_000_000, "output_tokens": 6_000_000_000}
    assert tuple(stored) == (6_000_000_000, 6_000_000_000)


@pytest.mark.parametrize(
    ("table", "column", "value", "content"),
    [
        pytest.param("runs", "status", "completed", "go", id="the end of the run"),
        pytest.param("events", "type", "tool_executing", "wait", id="an event in the middle"),
    ],
)
async def test_what_the_database_refuses_ends_that_turn_and_no_other(
    gateway: RunningGateway, database_url: str, table: str, column: str, value: str, content: str
) -> None:
    await refuse(database_url, table, column, value)
    async with (
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as odd,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers("bob")) as other,
    ):
        await odd.receive()
        await other.receive()
        await odd.send({"type": "user_message", "content": content, "thread_id": "odd"})
        whole = await other.chat("go", thread_id="even")
        events = await odd.receive_until("agent_completed", "error_event")
        after = await odd.chat("go", thread_id="even")
    async with Database.open(database_url, threads=1) as database:
        query = select(runs.c.status).where(runs.c.run_id == events[-1]["run_id"])
        status = await database.run(lambda connection: connection.execute(query).scalar_one())
    assert (events[-1]["type"], events[-1]["payload"]["code"]) == ("error_event", "internal_error")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (whole[-1]["type"], after[-1]["type"]) == ("agent_completed", "agent_completed")
    assert status == "failed"


async def test_a_message_that_the_database_refuses_is_answered_and_the_queue_keeps_its_places(
    gateway: RunningGateway, database_url: str
) -> None:
    await refuse(database_url, "messages", "role", "user")
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.chat("go", thread_id="even")
        answers = []
        for _ in range(gateway.settings.queue_size + gateway.settings.runs_per_user + 1):
            await client.send({"type": "user_message", "content": "go", "thread_id": "odd", "id": "r"})
            answers.append((await client.receive())["payload"])
        events = await client.chat("go", thread_id="even")
    assert {(answer["code"], answer["request_id"]) for answer in answers} == {("internal_error", "r")}
    assert events[-1]["type"] == "agent_completed"
