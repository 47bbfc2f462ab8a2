"""What a captured WebSocket records, and what it never does, on both event loops."""

from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import pytest

from event_capture.drivers import ConnectionLimits, connect
from event_capture.recording import Recorder, read_recording
from event_capture.records import Direction, Kind, Record
from integration.event_capture.awaiting import until_closed
from integration.event_capture.raw_server import (
    close_frame,
    raw_server,
    read_until_end,
    shake_hands,
    text_frame,
)

pytestmark = pytest.mark.anyio


WELCOME = '{"type":"welcome"}'


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
