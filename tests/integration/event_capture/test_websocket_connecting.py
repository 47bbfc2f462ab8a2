"""How a WebSocket comes to be, what is sent over it, and why it does not come to be, on both event loops."""

import ssl
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from event_capture.drivers import Connection, ConnectionLimits, connect
from event_capture.errors import (
    BadInputError,
    ConnectionEndedError,
    ConnectionFailedError,
    HandshakeRejectedError,
    SendTimeoutError,
)
from event_capture.recording import Recorder
from event_capture.records import Direction, Kind
from integration.event_capture.awaiting import until_closed
from integration.event_capture.certificate import client_context, server_context
from integration.event_capture.raw_server import (
    close_frame,
    raw_server,
    read_request,
    read_until_end,
    shake_hands,
    stalled_server,
    text_frame,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def tls_server(tmp_path: Path) -> ssl.SSLContext:
    return server_context(tmp_path)


WELCOME = '{"type":"welcome"}'


async def test_headers_token_and_subprotocols_reach_the_server() -> None:
    requests: list[bytes] = []

    async def script(stream: anyio.abc.ByteStream) -> None:
        requests.append(await shake_hands(stream, subprotocol="chat.v2"))
        await stream.receive()
        await stream.send(close_frame(1000))

    recorder = Recorder()
    async with (
        raw_server(script) as url,
        connect(
            f"{url}?token=hidden",
            recorder=recorder,
            token="secret",
            headers={"X-Team": "blue"},
            subprotocols=["chat.v1", "chat.v2"],
        ),
    ):
        pass
    request = requests[0].decode().lower()
    assert "authorization: bearer secret" in request
    assert "x-team: blue" in request
    assert "sec-websocket-protocol: chat.v1, chat.v2" in request
    opened = next(recorder.records())
    assert opened.data["subprotocol"] == "chat.v2"
    assert "hidden" not in opened.data["url"]


async def test_what_is_sent_is_recorded_before_its_answer_and_without_its_token() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.receive()
        await stream.send(text_frame(WELCOME) + close_frame(1000))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, connect(url, recorder=recorder) as connection:
        await connection.send({"type": "auth", "token": "secret"})
        await until_closed(recorder)
    _, sent, answer, _ = recorder.records()
    assert sent.direction is Direction.SENT
    assert sent.data == {"type": "auth", "token": "[redacted]"}
    assert answer.data == {"type": "welcome"}


async def test_sending_on_an_ended_connection_says_how_it_ended() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.send(close_frame(4503, "draining"))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, connect(url, recorder=recorder) as connection:
        await until_closed(recorder)
        with pytest.raises(ConnectionEndedError, match="code 4503 'draining', closed by the server"):
            await connection.send({"type": "ping"})


async def test_a_server_that_does_not_read_times_out_the_sender() -> None:
    async def send_for_ever(connection: Connection) -> None:
        while True:
            await connection.send({"type": "user_message", "content": "x" * 1_000_000})

    async with stalled_server() as url, connect(url, limits=ConnectionLimits(send_timeout=0.2)) as connection:
        with pytest.raises(SendTimeoutError, match=r"did not take the message within 0\.2 s"):
            await send_for_ever(connection)


async def test_a_refused_handshake_says_status_and_body() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 8\r\n\r\nno token")

    async with raw_server(script) as url:
        with pytest.raises(HandshakeRejectedError, match="HTTP 401, saying 'no token'"):
            async with connect(url):
                pass


async def test_a_refusal_that_repeats_the_token_is_shown_without_it() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_request(stream)
        await stream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 14\r\n\r\nbad top-secret")

    async with raw_server(script) as url:
        with pytest.raises(HandshakeRejectedError, match=r"saying 'bad \[redacted\]'"):
            async with connect(url, token="top-secret"):
                pass


async def test_a_server_that_never_answers_the_handshake_is_an_error_in_time() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await read_until_end(stream)

    async with raw_server(script) as url:
        with anyio.fail_after(60), pytest.raises(ConnectionFailedError, match=r"no answer within 0\.1 s"):
            async with connect(url, limits=ConnectionLimits(connect_timeout=0.1)):
                pass


async def test_a_server_that_closes_at_once_is_an_error_at_once() -> None:
    async with raw_server(read_request) as url:
        with anyio.fail_after(60), pytest.raises(ConnectionFailedError, match="without answering the handshake"):
            async with connect(url):
                pass


async def test_nobody_listening_is_an_error_that_says_so() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  anyio's method, not Django's
    with pytest.raises(ConnectionFailedError, match="connection refused"):
        async with connect(f"ws://127.0.0.1:{port}/"):
            pass


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/ws", "write ws:// for a WebSocket"),
        ("https://127.0.0.1/ws", "write wss:// for a WebSocket"),
        ("127.0.0.1:80", "looks like ws://host:port/path"),
        ("ws:///path", "looks like ws://host:port/path"),
        ("ws://127.0.0.1:99999/", "[Pp]ort"),
        ("ws://[::1/", "Invalid IPv6 URL"),
        ("ws://me:pw@[::1/?token=hidden", r"connect to ws://\[::1/: Invalid"),
        ("ws://127.0.0.1/\udcff", "the address is not UTF-8"),
    ],
)
async def test_a_wrong_address_says_what_is_wrong(url: str, reason: str) -> None:
    with pytest.raises(ConnectionFailedError, match=reason):
        async with connect(url):
            pass


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("/é ü?x=ß&y=%20", "/%C3%A9%20%C3%BC?x=%C3%9F&y=%20"),
        ("?a=b#fragment", "/ws?a=b"),
    ],
)
async def test_an_address_is_quoted_alike_on_both_event_loops(url: str, resource: str) -> None:
    requests: list[bytes] = []

    async def script(stream: anyio.abc.ByteStream) -> None:
        requests.append(await shake_hands(stream))
        await stream.send(close_frame(1000))
        await read_until_end(stream)

    async with raw_server(script) as base:
        wanted = base.removesuffix("/ws") + url if url.startswith("/") else base + url
        async with connect(wanted):
            pass
    assert requests[0].partition(b"\r\n")[0] == f"GET {resource} HTTP/1.1".encode()


async def test_user_info_in_an_address_is_a_header_and_in_no_record() -> None:
    requests: list[bytes] = []

    async def script(stream: anyio.abc.ByteStream) -> None:
        requests.append(await shake_hands(stream))
        await stream.send(close_frame(1000))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, connect(url.replace("//", "//me:p%40w@"), recorder=recorder):
        await until_closed(recorder)
    assert b": Basic bWU6cEB3" in requests[0]
    assert "p%40w" not in next(recorder.records()).data["url"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"subprotocols": ["a b"]}, "'a b' is no name of a subprotocol"),
        ({"subprotocols": ["bearer.SEK RIT"]}, r"'bearer\.\[redacted\]' is no name of a subprotocol"),
        ({"token": "SEK\nRIT"}, "the value of header Authorization holds what no header may"),
        ({"token": "SEKRIT\ud800"}, "the value of header Authorization holds what no header may"),
        ({"headers": {"X": "SEKRIT\u20ac"}}, "the value of header X holds what no header may"),
        ({"headers": {"a b": "c"}}, "'a b' is no name of a header"),
    ],
)
async def test_a_handshake_that_cannot_be_said_is_refused_without_its_secret(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConnectionFailedError, match=reason) as caught:
        async with connect("ws://127.0.0.1:1/", **settings):
            pass
    assert "SEK" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("bad\ud800", "character 3 is half of a surrogate pair"),
        ({"x": "\ud800"}, "cannot be written as JSON"),
        ({"x": object()}, "cannot be written as JSON"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is_recorded(message: Any, reason: str) -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.receive()
        await stream.send(close_frame(1000))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, connect(url, recorder=recorder) as connection:
        with pytest.raises(BadInputError, match=reason):
            await connection.send(message)
        await connection.send({"type": "fine"})
        await until_closed(recorder)
    sent = [record.data for record in recorder.records() if record.direction is Direction.SENT]
    assert sent == [{"type": "fine"}]


async def one_turn(stream: anyio.abc.ByteStream) -> None:
    await shake_hands(stream)
    await stream.send(text_frame(WELCOME) + close_frame(1000))
    await read_until_end(stream)


async def test_a_connection_over_tls_is_recorded_like_any_other(tls_server: ssl.SSLContext) -> None:
    recorder = Recorder()
    async with raw_server(one_turn, tls=tls_server) as url, connect(url, recorder=recorder, tls=client_context()):
        await until_closed(recorder)
    assert [record.kind for record in recorder.records()] == [Kind.OPEN, Kind.EVENT, Kind.CLOSE]


async def test_a_certificate_nobody_trusts_is_a_clear_error(tls_server: ssl.SSLContext) -> None:
    async with raw_server(one_turn, tls=tls_server) as url:
        with pytest.raises(ConnectionFailedError, match=r"(?i)certificate"):
            async with connect(url):
                pass


async def test_tls_on_a_plain_port_is_a_clear_error() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(script) as url:
        with pytest.raises(ConnectionFailedError, match=r"(?i)ssl|tls|version"):
            async with connect(url.replace("ws:", "wss:"), tls=ssl.create_default_context()):
                pass
