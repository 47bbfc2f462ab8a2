"""A captured stream of server-sent events, from servers that behave and servers that do not."""

from typing import Any

import anyio
import anyio.abc
import pytest

from event_capture.dialect import Dialect
from event_capture.drivers import ConnectionLimits
from event_capture.drivers.sse import connect_sse
from event_capture.errors import BadInputError, ConnectionFailedError, HandshakeRejectedError
from event_capture.recording import Recorder
from event_capture.records import Direction, Kind, Record
from event_capture.tester import ChatTester
from integration.event_capture.raw_server import Script, raw_server, read_request, read_until_end

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def capture(script: Script, *, limits: ConnectionLimits | None = None) -> list[Record]:
    closed = anyio.Event()

    def look(record: Record) -> None:
        if record.kind is Kind.CLOSE:
            closed.set()

    recorder = Recorder()
    recorder.subscribe(look)
    async with raw_server(script) as url, connect_sse(url.replace("ws:", "http:"), recorder=recorder, limits=limits):
        with anyio.fail_after(60):
            await closed.wait()
    return list(recorder.records())


async def test_a_stream_is_recorded_from_open_to_its_end() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(HEAD + chunk(b'data: {"type":"a"}\n') + chunk(b"\nevent: done\ndata: x\n\n") + b"0\r\n\r\n")
        await read_until_end(stream)

    opened, first, second, closed = await capture(script)
    assert opened.data["protocol"] == "sse"
    assert first.data == {"type": "a"}
    assert second.data == {"event": "done", "data": "x"}
    assert closed.data["code"] == 1000


async def test_a_response_that_breaks_off_is_recorded_with_1006() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(HEAD + chunk(b'data: {"type":"a"}\n\ndata: {"ty'))

    _, event, broken, closed = await capture(script)
    assert event.data == {"type": "a"}
    assert broken.kind is Kind.MALFORMED
    assert broken.note == "the stream ended inside an event"
    assert closed.data["code"] == 1006
    assert closed.note.startswith("the connection was lost")


async def test_an_event_over_the_limit_is_recorded_as_malformed() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(HEAD + chunk(b"data: " + b"x" * 2000 + b"\n\n") + b"0\r\n\r\n")
        await read_until_end(stream)

    records = await capture(script, limits=ConnectionLimits(max_event_bytes=1000))
    assert [record.kind for record in records] == [Kind.OPEN, Kind.MALFORMED, Kind.CLOSE]


async def test_a_body_is_posted_and_recorded_as_sent() -> None:
    requests: list[bytes] = []

    async def script(stream: anyio.abc.ByteStream) -> None:
        requests.append(await stream.receive())
        await stream.send(HEAD + chunk(b"data: x\n\n") + b"0\r\n\r\n")
        await read_until_end(stream)

    recorder = Recorder()
    async with (
        raw_server(script) as url,
        connect_sse(url.replace("ws:", "http:"), recorder=recorder, body={"prompt": "hi"}, token="secret"),
    ):
        pass
    assert requests[0].startswith(b"POST /ws ")
    assert b"authorization: bearer secret" in requests[0].lower()
    sent = [record for record in recorder.records() if record.direction is Direction.SENT]
    assert [record.data for record in sent] == [{"prompt": "hi"}]


async def test_leaving_the_block_ends_the_request() -> None:
    ended = anyio.Event()

    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(HEAD)
        await read_until_end(stream)
        ended.set()

    recorder = Recorder()
    async with raw_server(script) as url:
        async with connect_sse(url.replace("ws:", "http:"), recorder=recorder):
            pass
        with anyio.fail_after(60):
            await ended.wait()
    closed = list(recorder.records())[-1]
    assert (closed.kind, closed.note) == (Kind.CLOSE, "closed by the client")


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 8\r\n\r\nno token",
            HandshakeRejectedError,
            "HTTP 401, saying 'no token'",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            ConnectionFailedError,
            "text/html, not text/event-stream",
        ),
        (b"nonsense\r\n\r\n", ConnectionFailedError, "cannot connect"),
        (b"", ConnectionFailedError, "cannot connect"),
    ],
)
async def test_an_answer_that_is_no_stream_is_a_clear_error(answer: bytes, error: type[Exception], reason: str) -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        if answer:
            await stream.send(answer)

    async with raw_server(script) as url:
        with anyio.fail_after(60), pytest.raises(error, match=reason):
            async with connect_sse(url.replace("ws:", "http:")):
                pass


async def test_a_server_that_never_answers_is_an_error_in_time() -> None:
    async with raw_server(read_until_end) as url:
        limits = ConnectionLimits(connect_timeout=0.1)
        with anyio.fail_after(60), pytest.raises(ConnectionFailedError, match=r"no answer within 0\.1 s"):
            async with connect_sse(url.replace("ws:", "http:"), limits=limits):
                pass


async def test_nobody_listening_is_an_error_that_says_so() -> None:
    with pytest.raises(ConnectionFailedError, match="connection refused"):
        async with connect_sse("http://127.0.0.1:1/"):
            pass


async def test_sending_on_a_stream_is_refused() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(HEAD)
        await read_until_end(stream)

    async with raw_server(script) as url, connect_sse(url.replace("ws:", "http:")) as connection:
        with pytest.raises(ValueError, match="goes one way"):
            await connection.send({"type": "ping"})


async def test_invalid_utf8_is_recorded_as_malformed_and_the_stream_goes_on() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(HEAD + chunk(b'data: {"type":"\xff"}\n\ndata: {"type":"b"}\n\n') + b"0\r\n\r\n")
        await read_until_end(stream)

    _, broken, event, _ = await capture(script)
    assert (broken.kind, broken.data, broken.note) == (Kind.MALFORMED, '{"type":"\\xff"}', "invalid UTF-8")
    assert event.data == {"type": "b"}


@pytest.mark.parametrize(
    ("url", "settings", "reason"),
    [
        ("http://[::1/", {}, "Invalid IPv6 URL"),
        ("http://127.0.0.1:1/", {"token": "SEK\nRIT"}, "the value of header Authorization holds what no header may"),
    ],
)
async def test_a_request_that_cannot_be_made_is_refused_without_its_secret(
    url: str, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConnectionFailedError, match=reason) as caught:
        async with connect_sse(url, **settings):
            pass
    assert "SEK" not in str(caught.value)


async def test_a_tester_waits_for_events_of_a_stream() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(HEAD + chunk(b'data: {"type":"agent_completed"}\n\n') + b"0\r\n\r\n")
        await read_until_end(stream)

    async with raw_server(script) as url:
        address = url.replace("ws:", "http:")
        async with ChatTester(address, dialect=Dialect(ready=None), open_connection=connect_sse) as tester:
            assert (await tester.wait_for_completion(30)).data == {"type": "agent_completed"}


async def test_subprotocols_are_refused_because_http_has_none() -> None:
    with pytest.raises(BadInputError, match="subprotocols: a stream of server-sent events has none"):
        async with connect_sse("http://127.0.0.1:1/", subprotocols=["a"]):
            pass
