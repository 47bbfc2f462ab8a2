"""A captured Socket.IO session, against python-socketio's own server."""

import threading
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
import socketio  # type: ignore[import-untyped]  # it ships no types
import uvicorn

from event_capture.dialect import Dialect
from event_capture.drivers import Connection, ConnectionLimits
from event_capture.drivers.socketio import connect_socketio
from event_capture.errors import BadInputError, ConnectionFailedError
from event_capture.recording import Recorder
from event_capture.records import Direction, Kind, Record
from event_capture.tester import ChatTester
from integration.event_capture.raw_server import (
    close_frame,
    raw_server,
    read_text,
    read_until_end,
    shake_hands,
    text_frame,
)

pytestmark = pytest.mark.anyio

CHAT = Dialect(
    message={"event": "chat_message", "data": {"content": "{content}", "session_id": "{thread_id}"}},
    ready=None,
    ends_turn=("chat_complete", "error"),
    name="event",
    resume=None,
)


def chat_app() -> Any:
    server = socketio.AsyncServer(async_mode="asgi", ping_interval=0.02, ping_timeout=5)

    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:  # noqa: ARG001  the server passes three
        if auth == {"token": "wrong"}:
            raise socketio.exceptions.ConnectionRefusedError("bad token")

    async def chat_message(sid: str, data: dict[str, Any]) -> None:
        for word in data["content"].split():
            await server.emit("chat_chunk", {"content": word}, to=sid)
        await server.emit("chat_complete", {"session_id": data["session_id"]}, to=sid)

    async def whoami(sid: str) -> None:
        said = server.get_environ(sid).get("HTTP_AUTHORIZATION")
        await server.emit("you_are", {"said": said, "letters": len(said)}, to=sid)

    async def blob(sid: str) -> None:
        await server.emit("blob", {"bytes": b"\x00\x01"}, to=sid)

    async def ask(sid: str) -> None:
        await server.emit("question", ("a", "b"), to=sid, callback=lambda *_: None)

    async def leave(sid: str) -> None:
        await server.disconnect(sid)

    for handler in (connect, chat_message, whoami, blob, ask, leave):
        server.on(handler.__name__, handler)
    return socketio.ASGIApp(server)


@pytest.fixture(scope="module")
def socketio_url() -> Iterator[str]:
    """A real server, in a thread with an event loop of its own: it runs on asyncio alone."""
    config = uvicorn.Config(chat_app(), host="127.0.0.1", port=0, log_level="error", ws="websockets-sansio")
    server = uvicorn.Server(config)
    started = threading.Event()
    main = server.startup

    async def startup(*args: Any, **kwargs: Any) -> None:
        await main(*args, **kwargs)
        started.set()

    server.startup = startup  # type: ignore[method-assign]  # uvicorn has no other signal for it
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(20)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


async def until(recorder: Recorder, name: str) -> Record:
    found: list[Record] = []
    came = anyio.Event()

    def look(record: Record) -> None:
        if (
            record.direction is Direction.RECEIVED
            and isinstance(record.data, dict)
            and record.data.get("event") == name
        ):
            found.append(record)
            came.set()

    unsubscribe = recorder.subscribe(look)
    with anyio.fail_after(60):
        await came.wait()
    unsubscribe()
    return found[0]


async def ask_for(connection: Connection, message: dict[str, Any], answer: str) -> Record:
    found: list[Record] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.send, message)
        found.append(await until(connection.recorder, answer))
    return found[0]


async def test_a_tester_chats_over_socketio(socketio_url: str) -> None:
    async with ChatTester(socketio_url, dialect=CHAT, open_connection=connect_socketio) as tester:
        await tester.send("one two", thread_id="s1")
        await tester.wait_for_completion(30)
        assert list(tester.events) == [
            {"event": "chat_chunk", "data": {"content": "one"}},
            {"event": "chat_chunk", "data": {"content": "two"}},
            {"event": "chat_complete", "data": {"session_id": "s1"}},
        ]
        sent = [record.data for record in tester.records if record.direction is Direction.SENT]
        assert sent == [{"event": "chat_message", "data": {"content": "one two", "session_id": "s1"}}]


async def test_a_token_travels_in_the_header_and_its_echo_is_redacted(socketio_url: str) -> None:
    recorder = Recorder()
    async with connect_socketio(socketio_url, recorder=recorder, token="secret") as connection:
        answer = await ask_for(connection, {"event": "whoami"}, "you_are")
    assert answer.data["data"] == {"said": "Bearer [redacted]", "letters": len("Bearer secret")}


async def test_every_heartbeat_of_the_server_is_answered() -> None:
    answers: list[bytes] = []

    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.send(text_frame('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'))
        await read_text(stream)
        await stream.send(text_frame('40{"sid":"y"}'))
        for _ in range(3):
            await stream.send(text_frame("2"))
            answers.append(await read_text(stream))
        await stream.send(text_frame('42["alive",{}]'))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, anyio.create_task_group() as tasks:

        async def capture() -> None:
            async with connect_socketio(url, recorder=recorder):
                await anyio.sleep_forever()

        tasks.start_soon(capture)
        await until(recorder, "alive")
        tasks.cancel_scope.cancel()
    assert answers == [b"3", b"3", b"3"]
    said = [record.data for record in recorder.records() if record.kind in (Kind.EVENT, Kind.MALFORMED)]
    assert said == [{"event": "alive", "data": {}}]


async def test_bytes_in_an_event_are_recorded_as_base64(socketio_url: str) -> None:
    recorder = Recorder()
    async with connect_socketio(socketio_url, recorder=recorder) as connection, anyio.create_task_group() as tasks:
        tasks.start_soon(connection.send, {"event": "blob"})
        answer = await until(recorder, "blob")
    assert answer.data["data"] == {"bytes": {"base64": "AAE="}}


async def test_several_arguments_are_a_list(socketio_url: str) -> None:
    recorder = Recorder()
    async with connect_socketio(socketio_url, recorder=recorder) as connection, anyio.create_task_group() as tasks:
        tasks.start_soon(connection.send, {"event": "ask"})
        answer = await until(recorder, "question")
    assert answer.data["data"] == ["a", "b"]


async def test_a_disconnect_by_the_server_is_recorded_as_the_end(socketio_url: str) -> None:
    async with ChatTester(socketio_url, dialect=CHAT, open_connection=connect_socketio) as tester:
        await tester.send_raw({"event": "leave"})
        closed = await tester.wait_until_closed(30)
    assert closed.note == "closed by the server"
    assert "disconnected namespace /" in closed.data["reason"]


async def test_a_refused_namespace_says_why(socketio_url: str) -> None:
    with pytest.raises(ConnectionFailedError, match="namespace / refused: bad token"):
        async with connect_socketio(socketio_url, auth={"token": "wrong"}):
            pass


async def test_a_namespace_nobody_serves_is_refused(socketio_url: str) -> None:
    with pytest.raises(ConnectionFailedError, match="namespace /nowhere refused"):
        async with connect_socketio(socketio_url, namespace="/nowhere"):
            pass


async def test_a_server_that_is_no_socketio_server_is_an_error_in_time() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await read_until_end(stream)

    async with raw_server(script) as url:
        limits = ConnectionLimits(connect_timeout=0.2, close_timeout=0.1)
        with anyio.fail_after(60), pytest.raises(ConnectionFailedError, match=r"no Socket\.IO session within 0\.2 s"):
            async with connect_socketio(url, limits=limits):
                pass


async def test_broken_packets_are_recorded_and_the_session_lives_on() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.send(text_frame('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'))
        await stream.receive()
        await stream.send(text_frame('40{"sid":"y"}'))
        unreadable = ('42["a","\\ud800"]', '42["\\ud800"]', '42["a",1e999]')
        for packet in ("x", "", '42{"not":"a list"}', '42["broken', '42["a",{"k":1,"k":2}]', "49", "42[]", *unreadable):
            await stream.send(text_frame(packet))
        await stream.send(text_frame(b"\x01", opcode=0x2))
        await stream.send(text_frame('42["fine",{"k":1}]') + close_frame(1000))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, anyio.create_task_group() as tasks:

        async def capture() -> None:
            async with connect_socketio(url, recorder=recorder):
                await anyio.sleep_forever()

        tasks.start_soon(capture)
        await until(recorder, "fine")
        tasks.cancel_scope.cancel()
    kinds = [record.kind for record in recorder.records() if record.kind in (Kind.EVENT, Kind.MALFORMED)]
    assert kinds == [Kind.MALFORMED] * 11 + [Kind.EVENT]


async def test_an_address_that_cannot_be_read_is_a_clear_error() -> None:
    with pytest.raises(ConnectionFailedError, match="Invalid IPv6 URL"):
        async with connect_socketio("http://[::1/"):
            pass


async def test_what_cannot_be_sent_is_refused_before_it_is_recorded(socketio_url: str) -> None:
    recorder = Recorder()
    async with connect_socketio(socketio_url, recorder=recorder) as connection:
        with pytest.raises(BadInputError, match="cannot be written as JSON"):
            await connection.send({"event": "chat_message", "data": "\ud800"})
    assert [record for record in recorder.records() if record.direction is Direction.SENT] == []
