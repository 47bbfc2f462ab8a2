"""What a turn leaves in the database, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from gateway.storage.database import Database
from gateway.storage.history import History
from gateway.storage.schema import ThreadAddress
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM

pytestmark = pytest.mark.anyio

QUESTION = "Analyse my system performance"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('stored') / 'gateway.sqlite3'}"
    return str(request.getfixturevalue("module_postgres_url"))


@pytest.fixture(scope="module")
async def module_gateway(llm: RunningMockLLM, database_url: str) -> AsyncIterator[RunningGateway]:
    async with running_gateway(make_settings(database_url, llm.openai_url)) as running:
        yield running


@pytest.fixture
def talk(gateway: RunningGateway) -> ThreadAddress:
    return ThreadAddress(gateway.tenant_id, "alice", "talk")


@pytest.fixture
async def history(gateway: RunningGateway) -> AsyncIterator[History]:
    async with Database.open(gateway.settings.database_url, threads=2) as database:
        yield History(database)


async def test_question_and_answer_are_in_the_history(
    gateway: RunningGateway, history: History, talk: ThreadAddress
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk")
    messages = await history.get_history(talk)
    assert [(message.role, message.content) for message in messages] == [
        ("user", QUESTION),
        ("assistant", events[-1]["payload"]["text"]),
    ]


async def test_the_log_holds_every_event_to_the_byte(
    gateway: RunningGateway, history: History, talk: ThreadAddress
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk")
    frames = await history.get_frames(talk.thread_key, after_seq=0, limit=1000)
    assert [seq for seq, _ in frames] == [event["seq"] for event in events]
    assert all(event["id"] in frame for event, (_, frame) in zip(events, frames, strict=True))


async def test_the_thread_is_made_on_first_use(gateway: RunningGateway, history: History, talk: ThreadAddress) -> None:
    assert await history.get(talk) is None
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk")
    thread = await history.get(talk)
    assert thread is not None
    assert thread.last_seq == events[-1]["seq"]


async def test_a_history_pages_backwards(gateway: RunningGateway, history: History, talk: ThreadAddress) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        for number in range(3):
            await client.chat(f"Question {number}", thread_id="talk")
    newest = await history.get_history(talk, limit=4)
    older = await history.get_history(talk, before_seq=newest[0].seq, limit=4)
    assert [message.role for message in older + newest] == ["user", "assistant"] * 3


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("'; DROP TABLE messages; --", id="SQL"),
        pytest.param("x' OR '1'='1", id="SQL condition"),
        pytest.param("%s %(name)s :name ? $1 {0} ${jndi:x}", id="placeholders"),
        pytest.param("\u2028 \U0001f600 \u202e\ufeff", id="unusual characters"),
        pytest.param("a\x00b", id="NUL, which PostgreSQL has no place for"),
        pytest.param('\r\n{"event": "forged"}\r\n', id="line ends"),
    ],
)
async def test_words_of_a_user_are_stored_as_words(
    gateway: RunningGateway, history: History, talk: ThreadAddress, content: str
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": content, "thread_id": "talk"})
        await client.receive_until("agent_completed", timeout=10)
    messages = await history.get_history(talk)
    assert messages[0].content == content.replace("\x00", "\ufffd")


async def test_a_thread_name_of_another_user_is_another_thread(gateway: RunningGateway, history: History) -> None:
    for user in ("alice", "bob"):
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(user)) as client:
            await client.receive()
            await client.chat(f"I am {user}", thread_id="talk")
    messages = await history.get_history(ThreadAddress(gateway.tenant_id, "bob", "talk"))
    assert [message.content for message in messages if message.role == "user"] == ["I am bob"]


async def test_tenants_with_the_same_user_never_meet(
    gateway: RunningGateway, history: History, talk: ThreadAddress
) -> None:
    headers = gateway.headers(tenant_id="other")
    async with ChatClient.connect(gateway.ws_url, headers=headers) as client:
        await client.receive()
        await client.chat(QUESTION, thread_id="talk")
    assert await history.get_history(talk) == []


async def test_a_message_id_of_another_thread_is_refused_and_the_thread_loses_nothing(
    gateway: RunningGateway, history: History, talk: ThreadAddress
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        for number in range(3):
            await client.chat("hi", thread_id="talk", message_id=f"a{number}")
        await client.send({"type": "user_message", "content": "x", "thread_id": "b", "message_id": "a2", "id": "r"})
        refused = await client.receive()
        events = await client.chat("new", thread_id="b", message_id="b1")
    assert await history.get_history(talk._replace(thread_id="b")) != []
    assert refused["type"] == "error_event"
    assert (refused["payload"]["code"], refused["payload"]["field"]) == ("invalid_field", "message_id")
    assert refused["payload"]["request_id"] == "r"
    assert "'talk'" in refused["payload"]["text"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "agent_completed"


async def test_a_known_message_id_without_a_thread_is_answered_in_the_thread_of_its_first_arrival(
    gateway: RunningGateway,
) -> None:
    message = {"type": "user_message", "content": "hi", "message_id": "m"}
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send(message)
        first = await client.receive_until("agent_completed")
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send(message)
        answer = await client.receive()
        again = await client.receive_until("agent_completed")
    assert answer["payload"] == {"message_id": "m", "duplicate": True}
    assert (answer["thread_id"], answer["run_id"]) == (first[0]["thread_id"], first[0]["run_id"])
    assert again == first


async def test_a_message_with_a_nul_is_stored_and_answered(
    gateway: RunningGateway, history: History, talk: ThreadAddress
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat("before\0after", thread_id="talk")
    messages = await history.get_history(talk)
    assert events[-1]["type"] == "agent_completed"
    assert messages[0].content == "before\N{REPLACEMENT CHARACTER}after"
