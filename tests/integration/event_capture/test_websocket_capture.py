"""What a captured WebSocket records, and what it never does, on both event loops."""

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
from event_capture.recording import Recorder, read_recording
from event_capture.records import Direction, Kind, Record
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


async def until_closed(recorder: Recorder) -> None:
    """Wait for the CLOSE record."""
    closed = anyio.Event()

    def look(record: Record) -> None:
        if record.kind is Kind.CLOSE:
            closed.set()

    unsubscribe = recorder.subscribe(look)
    if any(record.kind is Kind.CLOSE for record in recorder.records()):
        closed.set()
    with anyio.fail_after(60):
        await closed.wait()
    unsubscribe()


async def capture(*frames: bytes, limits: ConnectionLimits | None = None) -> list[Record]:
    """Everything recorded while a server sends these bytes after its handshake and a close frame after them."""

    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        for frame in frames:
            await stream.send(frame)
        await stream.send(close_frame(1000, "done"))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, connect(url, recorder=recorder, limits=limits):
        await until_closed(recorder)
    return list(recorder.records())


async def test_a_connection_is_recorded_from_open_to_close() -> None:
    opened, event, closed = await capture(text_frame(WELCOME))
    assert opened.kind is Kind.OPEN
    assert event.kind is Kind.EVENT
    assert event.direction is Direction.RECEIVED
    assert event.data == {"type": "welcome"}
    assert event.size == len(WELCOME)
    assert closed.kind is Kind.CLOSE
    assert closed.data == {"code": 1000, "reason": "done"}
    assert closed.note == "closed by the server"


async def test_times_of_records_never_go_back() -> None:
    records = await capture(*[text_frame(WELCOME)] * 20)
    times = [record.monotonic_ns for record in records]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("frame", "note"),
    [
        pytest.param(text_frame(b""), "an empty frame", id="empty"),
        pytest.param(text_frame("hello"), "not JSON", id="not-json"),
        pytest.param(text_frame("[1, 2]"), "not a JSON object but an array", id="array"),
        pytest.param(text_frame("null"), "not a JSON object but null", id="null"),
        pytest.param(text_frame(b"\x00\xff", opcode=0x2), "binary frame of 2 bytes", id="binary"),
        pytest.param(text_frame('{"a":' * 5000), "nested deeper than 128 levels", id="deep"),
        pytest.param(text_frame('{"a":1,"a":2}'), "the key 'a' stands twice", id="duplicate-key"),
        pytest.param(text_frame('{"a":NaN}'), "not JSON", id="nan"),
        pytest.param(text_frame('{"a":"%s"}' % ("x" * 2000)), "2008 bytes, more than the limit of 1000", id="huge"),
    ],
)
async def test_a_frame_that_is_no_event_is_recorded_and_the_connection_lives_on(frame: bytes, note: str) -> None:
    limits = ConnectionLimits(max_event_bytes=1000) if b"xxx" in frame else None
    records = await capture(frame, text_frame(WELCOME), limits=limits)
    assert [record.kind for record in records] == [Kind.OPEN, Kind.MALFORMED, Kind.EVENT, Kind.CLOSE]
    assert note in records[1].note


async def test_invalid_utf8_is_recorded_and_closes_with_1007() -> None:
    records = await capture(text_frame(b'{"a":"\xff"}'))
    assert [record.kind for record in records] == [Kind.OPEN, Kind.MALFORMED, Kind.CLOSE]
    assert "invalid UTF-8" in records[1].note
    assert records[2].data["code"] == 1007
    assert records[2].note.startswith("closed by the client")


async def test_a_message_over_the_hard_limit_is_recorded_and_closes_with_1009() -> None:
    limits = ConnectionLimits(max_message_bytes=1000)
    records = await capture(text_frame("x" * 2000), limits=limits)
    assert [record.kind for record in records] == [Kind.OPEN, Kind.MALFORMED, Kind.CLOSE]
    assert "larger than the limit" in records[1].note
    assert records[2].data["code"] == 1009


async def test_a_message_in_fragments_is_one_record() -> None:
    first, last = text_frame('{"type":', fin=False), text_frame('"welcome"}', opcode=0x0)
    records = await capture(first, last)
    assert records[1].data == {"type": "welcome"}
    assert records[1].size == len(WELCOME)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000, 1_000_000])
async def test_how_the_bytes_are_cut_into_packets_changes_no_record(piece: int) -> None:
    large = '{"type":"large","text":"%s"}' % ("x" * 70_000 if piece >= 1000 else "x" * 200)
    stream = b"".join(
        [
            text_frame(WELCOME),
            text_frame("", opcode=0x9),
            text_frame('{"type":"b"}'),
            text_frame('{"type":', fin=False),
            text_frame("ping", opcode=0x9),
            text_frame('"c"}', opcode=0x0),
            text_frame(large),
            text_frame(b"\x00", opcode=0x2),
            text_frame("{broken"),
            text_frame('{"type":"d"}'),
        ]
    )
    records = await capture(*(stream[at : at + piece] for at in range(0, len(stream), piece)))
    names = [item.data["type"] if item.kind is Kind.EVENT else item.kind.value for item in records]
    assert names == ["open", "welcome", "b", "c", "large", "malformed", "malformed", "d", "close"]
    assert [item.size for item in records][1:-1] == [len(WELCOME), 12, 12, len(large), 1, 7, 12]


async def test_a_message_in_the_same_packet_as_the_handshake_is_recorded() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream, trailing=text_frame(WELCOME) + close_frame(4401, "no token"))
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url, connect(url, recorder=recorder):
        await until_closed(recorder)
    records = list(recorder.records())
    assert [record.kind for record in records] == [Kind.OPEN, Kind.EVENT, Kind.CLOSE]
    assert records[2].data == {"code": 4401, "reason": "no token"}


async def test_bytes_after_the_close_frame_are_recorded() -> None:
    arrived = anyio.Event()

    def look(record: Record) -> None:
        if "after the close frame" in record.note:
            arrived.set()

    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.send(close_frame(1000))
        await stream.receive()  # the client's close frame
        await stream.send(text_frame(WELCOME))
        await read_until_end(stream)

    recorder = Recorder()
    recorder.subscribe(look)
    async with raw_server(script) as url, connect(url, recorder=recorder):
        with anyio.fail_after(60):
            await arrived.wait()
    records = list(recorder.records())
    assert [record.kind for record in records] == [Kind.OPEN, Kind.CLOSE, Kind.MALFORMED]
    assert records[2].size == len(text_frame(WELCOME))


@pytest.mark.parametrize("piece", [1, 5, 1000])
async def test_bytes_after_the_close_frame_are_recorded_whatever_packet_they_come_in(piece: int) -> None:
    behind = text_frame('{"a":1}')
    stream = text_frame(WELCOME) + close_frame(1000, "bye") + behind
    counted = 0
    arrived = anyio.Event()

    def look(record: Record) -> None:
        nonlocal counted
        counted += record.size if record.note.endswith("bytes after the close frame") else 0
        if counted == len(behind):
            arrived.set()

    async def script(stream_of: anyio.abc.ByteStream) -> None:
        await shake_hands(stream_of)
        for at in range(0, len(stream), piece):
            await stream_of.send(stream[at : at + piece])
        await read_until_end(stream_of)

    recorder = Recorder()
    recorder.subscribe(look)
    async with raw_server(script) as url, connect(url, recorder=recorder):
        with anyio.fail_after(60):
            await arrived.wait()
    kinds = [record.kind for record in recorder.records()]
    assert kinds[:4] == [Kind.OPEN, Kind.EVENT, Kind.CLOSE, Kind.MALFORMED]


async def test_bytes_after_a_close_frame_in_the_packet_of_the_handshake_are_recorded() -> None:
    behind = text_frame('{"a":1}')

    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream, trailing=text_frame(WELCOME) + close_frame(1000) + behind)
        await read_until_end(stream)

    recorder = Recorder()
    arrived = anyio.Event()
    recorder.subscribe(lambda record: arrived.set() if record.size == len(behind) else None)
    async with raw_server(script) as url, connect(url, recorder=recorder):
        with anyio.fail_after(60):
            await arrived.wait()
    kinds = [record.kind for record in recorder.records()]
    assert kinds == [Kind.OPEN, Kind.EVENT, Kind.CLOSE, Kind.MALFORMED]


async def test_a_frame_that_announces_more_than_it_could_ever_hold_closes_with_1009() -> None:
    endless = b"\x81\x7f" + (2**62).to_bytes(8, "big")
    records = await capture(text_frame(WELCOME) + endless)
    assert [record.kind for record in records] == [Kind.OPEN, Kind.EVENT, Kind.MALFORMED, Kind.CLOSE]
    assert records[2].note == "a message larger than the limit of 16777216 bytes"
    assert records[3].data == {"code": 1009, "reason": "message too big"}


async def test_fragments_that_add_up_to_more_than_the_limit_close_with_1009() -> None:
    first, second = text_frame("x" * 600, fin=False), text_frame("x" * 600, opcode=0x0)
    records = await capture(first, second, limits=ConnectionLimits(max_message_bytes=1000))
    assert [record.kind for record in records] == [Kind.OPEN, Kind.MALFORMED, Kind.CLOSE]
    assert records[2].data["code"] == 1009


async def test_a_close_frame_whose_reason_is_no_utf8_is_an_end_with_1007_and_no_message() -> None:
    records = await capture(text_frame((1000).to_bytes(2, "big") + b"\xff", opcode=0x8))
    assert [record.kind for record in records][:2] == [Kind.OPEN, Kind.CLOSE]
    assert records[1].data == {"code": 1007, "reason": "invalid UTF-8"}
    assert records[1].note == "closed by the client: the reason in the close frame is not UTF-8"


async def test_invalid_utf8_in_fragments_keeps_its_excerpt() -> None:
    fragments = text_frame(b'{"a":"\xff', fin=False) + text_frame(b'"}', opcode=0x0)
    records = await capture(text_frame(WELCOME) + fragments + text_frame(WELCOME))
    assert [record.kind for record in records] == [Kind.OPEN, Kind.EVENT, Kind.MALFORMED, Kind.CLOSE]
    assert (records[2].data, records[2].size) == ('{"a":"\\xff"}', 9)
    assert records[2].note == "invalid UTF-8: invalid start byte"


async def test_a_lost_connection_is_recorded_with_code_1006() -> None:
    recorder = Recorder()
    async with raw_server(shake_hands) as url, connect(url, recorder=recorder):
        await until_closed(recorder)
    closed = list(recorder.records())[-1]
    assert closed.data["code"] == 1006
    assert closed.note == "the connection was lost without a close frame"


async def test_leaving_the_block_closes_with_1000() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.receive()
        await stream.send(close_frame(1000))

    recorder = Recorder()
    async with raw_server(script) as url, connect(url, recorder=recorder):
        pass
    closed = list(recorder.records())[-1]
    assert closed.data["code"] == 1000
    assert closed.note == "closed by the client"


async def test_a_server_that_ignores_the_close_frame_holds_nobody_up() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await read_until_end(stream)

    recorder = Recorder()
    async with raw_server(script) as url:
        with anyio.fail_after(60):
            async with connect(url, recorder=recorder, limits=ConnectionLimits(close_timeout=0.1)):
                pass
    closed = list(recorder.records())[-1]
    assert closed.data["code"] == 1006
    assert "did not answer the close frame" in closed.note


async def test_an_error_in_the_block_comes_out_unwrapped() -> None:
    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.receive()
        await stream.send(close_frame(1000))

    async with raw_server(script) as url:
        with pytest.raises(LookupError, match="mine"):
            async with connect(url):
                raise LookupError("mine")


async def test_cancelling_the_block_drops_the_socket() -> None:
    ended = anyio.Event()

    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await read_until_end(stream)
        ended.set()

    recorder = Recorder()
    async with raw_server(script) as url:
        with anyio.CancelScope() as scope:
            async with connect(url, recorder=recorder):
                scope.cancel()
                await anyio.sleep_forever()
        with anyio.fail_after(60):
            await ended.wait()
    assert list(recorder.records())[-1].note == "cut off by the client"


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


def kinds_in(path: Path) -> list[Kind]:
    return [record.kind for record in read_recording(path)]


async def test_what_arrived_is_on_disk_while_the_connection_is_open(tmp_path: Path) -> None:
    path = tmp_path / "live.jsonl"
    arrived = anyio.Event()

    def look(record: Record) -> None:
        if record.kind is Kind.EVENT:
            arrived.set()

    async def script(stream: anyio.abc.ByteStream) -> None:
        await shake_hands(stream)
        await stream.send(text_frame(WELCOME))
        await stream.receive()
        await stream.send(close_frame(1000))

    async with Recorder(path) as recorder:
        recorder.subscribe(look)
        async with raw_server(script) as url, connect(url, recorder=recorder):
            with anyio.fail_after(60):
                await arrived.wait()
            with anyio.fail_after(60):
                while len(kinds := await anyio.to_thread.run_sync(kinds_in, path)) < 2:  # noqa: ASYNC110  files have no events
                    await anyio.sleep(0.01)
            assert kinds == [Kind.OPEN, Kind.EVENT]
