"""An unmodified python-socketio client against the gateway on PostgreSQL.

Nine things that a chat over Socket.IO must do, each in a test of its own:

 1. the handshake: polling first, then the upgrade
 2. a message is answered in chunks and completed
 3. messages are stored
 4. chunks come in order
 5. a session is made on first use
 6. a model's error reaches the client
 7. sessions at the same time are apart
 8. a client that comes back finds its session
 9. thinking comes before the answer

After them, what goes wrong. The client exists for asyncio only; the wire itself is tested on both backends elsewhere.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import socketio  # type: ignore[import-untyped]  # it ships no types

from gateway.storage.database import Database
from gateway.storage.history import History
from gateway.storage.schema import ThreadAddress
from gateway.testing import RunningGateway, make_settings, running_gateway
from mock_llm.testing import running_mock_llm

pytestmark = pytest.mark.anyio

SCENARIO = """
name: socketio
rules:
  - name: fails
    match: {user: "will fail"}
    fault: {kind: http_error, status: 503, message: LLM unavailable}
  - name: alphabet
    match: {user: "alphabet"}
    reply: [{text: ["AB", "CD", "EF", "GH", "IJ"]}]
  - name: thinks
    match: {user: "meaning"}
    reply: [{reasoning: ["Let me think..."]}, {text: ["The answer is 42."]}]
  - name: hello
    match: {}
    reply: [{text: ["Hello! ", "I am ", "here."]}]
"""


HELD = """
name: held
rules:
  - name: held
    match: {}
    reply: [{text: ["one ", "two"]}]
    hold: [{barrier: middle, after_event: 2}]
"""


class Client:
    """What a user of python-socketio would write, with something to wait on."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.received: list[tuple[str, dict[str, Any]]] = []
        self._changed = anyio.Event()
        for name in ("chat_chunk", "chat_thinking", "chat_response", "chat_complete", "error"):
            client.on(name, self._handler(name))

    def _handler(self, name: str) -> Any:
        async def handle(data: dict[str, Any]) -> None:
            self.received.append((name, data))
            self._changed.set()

        return handle

    async def say(self, content: str, session_id: str, **fields: Any) -> None:
        await self.client.emit("chat_message", {"content": content, "session_id": session_id, **fields})

    async def wait_for(self, name: str) -> dict[str, Any]:
        with anyio.fail_after(20):
            while True:
                for received, data in self.received:
                    if received == name:
                        return data
                self._changed = anyio.Event()
                await self._changed.wait()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.received]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def module_gateway(anyio_backend: str, module_postgres_url: str) -> AsyncIterator[RunningGateway]:
    assert anyio_backend == "asyncio"
    async with (
        running_mock_llm(SCENARIO) as llm,
        running_gateway(make_settings(module_postgres_url, llm.openai_url)) as running,
    ):
        yield running


@pytest.fixture
async def history(gateway: RunningGateway) -> AsyncIterator[History]:
    async with Database.open(gateway.settings.database_url, threads=2) as database:
        yield History(database)


@asynccontextmanager
async def connected(gateway: RunningGateway, user: str = "aria", **options: Any) -> AsyncIterator[Client]:
    client = Client(socketio.AsyncClient(reconnection=False))
    await client.client.connect(gateway.url, auth={"token": gateway.token(user)}, **options)
    try:
        yield client
    finally:
        await client.client.disconnect()


async def test_the_default_transports_end_in_an_upgrade(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        assert client.client.transport() == "websocket"


async def test_a_message_is_answered_in_chunks_and_completed(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        await client.say("Hello Aria!", "test-session-001")
        await client.wait_for("chat_complete")
    assert client.names == ["chat_chunk", "chat_chunk", "chat_chunk", "chat_response", "chat_complete"]


async def test_messages_are_stored(gateway: RunningGateway, history: History) -> None:
    async with connected(gateway) as client:
        await client.say("Test persistence", "test-persist-001")
        await client.wait_for("chat_complete")
    messages = await history.get_history(ThreadAddress(gateway.tenant_id, "aria", "test-persist-001"))
    assert [(message.role, message.content) for message in messages] == [
        ("user", "Test persistence"),
        ("assistant", "Hello! I am here."),
    ]


async def test_chunks_come_in_order(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        await client.say("Say the alphabet", "test-order-001")
        await client.wait_for("chat_complete")
    chunks = [data["content"] for name, data in client.received if name == "chat_chunk"]
    assert "".join(chunks) == "ABCDEFGHIJ"


async def test_a_session_is_made_on_first_use(gateway: RunningGateway, history: History) -> None:
    assert await history.get_session(gateway.tenant_id, "aria", "auto-session") is None
    async with connected(gateway) as client:
        await client.say("Hello from a new session", "auto-session")
        await client.wait_for("chat_complete")
    session = await history.get_session(gateway.tenant_id, "aria", "auto-session")
    assert session is not None
    thread = await history.get(ThreadAddress(gateway.tenant_id, "aria", session.thread_id))
    assert thread is not None
    assert session.created_at == session.last_used_at == thread.created_at


async def test_a_model_error_reaches_the_client(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        await client.say("This will fail", "test-error-001")
        error = await client.wait_for("error")
    assert (error["code"], error["session_id"]) == ("model_refused", "test-error-001")
    assert "unavailable" in error["message"]
    assert "chat_complete" not in client.names


async def test_sessions_at_the_same_time_are_apart(gateway: RunningGateway) -> None:
    async with (
        connected(gateway, "one") as one,
        connected(gateway, "two") as two,
        connected(gateway, "three") as three,
    ):
        clients = {"one": one, "two": two, "three": three}
        for name, client in clients.items():
            await client.say(f"Message from {name}", f"concurrent-{name}")
        for client in clients.values():
            await client.wait_for("chat_complete")
    assert all(client.names.count("chat_complete") == 1 for client in clients.values())
    sessions = {name: {data["session_id"] for _, data in client.received} for name, client in clients.items()}
    assert sessions == {name: {f"concurrent-{name}"} for name in clients}


async def test_a_client_comes_back_to_its_session(gateway: RunningGateway, history: History) -> None:
    for words in ("First message", "Second message"):
        async with connected(gateway) as client:
            await client.say(words, "reconnect-001")
            await client.wait_for("chat_complete")
    messages = await history.get_history(ThreadAddress(gateway.tenant_id, "aria", "reconnect-001"))
    session = await history.get_session(gateway.tenant_id, "aria", "reconnect-001")
    questions = [message for message in messages if message.role == "user"]
    assert [message.content for message in questions] == ["First message", "Second message"]
    assert session is not None
    assert [session.created_at, session.last_used_at] == [message.created_at for message in questions]


async def test_thinking_comes_before_the_answer(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        await client.say("What is the meaning of life?", "test-thinking-001", enable_thinking=True)
        await client.wait_for("chat_complete")
    assert client.names.index("chat_thinking") < client.names.index("chat_chunk")


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]])
async def test_either_transport_alone_carries_a_turn(gateway: RunningGateway, transports: list[str]) -> None:
    async with connected(gateway, transports=transports) as client:
        await client.say("Hello", "one-transport")
        await client.wait_for("chat_complete")
    assert "chat_chunk" in client.names


async def test_a_bad_token_is_refused_at_connect(gateway: RunningGateway) -> None:
    client = socketio.AsyncClient(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(gateway.url, auth={"token": "wrong"})
    await client.disconnect()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param({"session_id": "s"}, "missing_field", id="no content"),
        pytest.param({"content": None, "session_id": "s"}, "invalid_field", id="null content"),
        pytest.param({"content": "x" * 9000, "session_id": "s"}, "message_too_large", id="oversize"),
        pytest.param("just text", "invalid_message", id="no object"),
    ],
)
async def test_a_bad_message_is_answered_and_the_session_lives_on(
    gateway: RunningGateway, data: Any, code: str
) -> None:
    async with connected(gateway) as client:
        await client.client.emit("chat_message", data)
        error = await client.wait_for("error")
        await client.say("Hello", "after-the-error")
        await client.wait_for("chat_complete")
    assert error["code"] == code


async def test_an_event_with_a_callback_is_acknowledged(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        answer = await client.client.call("chat_message", {"content": "Hello", "session_id": "call"}, timeout=10)
    assert answer is None


async def test_a_client_that_comes_back_while_its_turn_runs_resumes_it(tmp_path: Path) -> None:
    async with (
        running_mock_llm(HELD) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url)) as gateway,
    ):
        async with connected(gateway) as client:
            await client.say("Hello", "talk")
            chunk = await client.wait_for("chat_chunk")
        async with connected(gateway) as client:
            place = {"session_id": "talk", "epoch": chunk["epoch"], "seq": chunk["seq"]}
            await client.client.emit("resume", place)
            await client.client.emit("ack", place)
            llm.barriers.release("middle")
            response = await client.wait_for("chat_response")
            await client.wait_for("chat_complete")
    assert client.names == ["chat_chunk", "chat_response", "chat_complete"]
    assert (chunk["content"], response["content"]) == ("one ", "one two")
    assert response["seq"] == chunk["seq"] + 2
