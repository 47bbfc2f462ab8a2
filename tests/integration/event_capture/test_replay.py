"""A recording, replayed to a client that records it, gives the recording back."""

import anyio
import pytest

from event_capture.dialect import Dialect
from event_capture.drivers import connect
from event_capture.drivers.socketio import connect_socketio
from event_capture.drivers.sse import connect_sse
from event_capture.errors import ConnectionFailedError
from event_capture.recording import Recorder
from event_capture.records import Direction, Kind, Record
from event_capture.replay import VIRTUAL, Pace, ReplayServer, replaying, scripts_of
from event_capture.tester import ChatTester
from event_capture.wire import Wire
from integration.event_capture.awaiting import until_closed

pytestmark = pytest.mark.anyio


def record(
    seconds: float,
    data: object = None,
    *,
    connection: str = "c",
    kind: Kind = Kind.EVENT,
    direction: Direction = Direction.RECEIVED,
    note: str = "",
) -> Record:
    ns = int(seconds * 1e9)
    return Record(
        monotonic_ns=ns, wall_ns=ns, connection=connection, kind=kind, direction=direction, data=data, note=note
    )


def a_turn(connection: str = "c", *, gap: float = 0.0, close: Record | None = None) -> list[Record]:
    steps = [
        record(0, {"url": "ws://x/", "subprotocol": None}, connection=connection, kind=Kind.OPEN),
        record(0, {"type": "welcome"}, connection=connection),
        record(0, {"type": "user_message", "content": "hi"}, connection=connection, direction=Direction.SENT),
        record(gap, {"type": "agent_started", "on": connection}, connection=connection),
        record(2 * gap, {"type": "agent_completed", "on": connection}, connection=connection),
    ]
    return [*steps, close] if close is not None else steps


async def test_a_tester_talks_to_a_recording_as_to_the_gateway() -> None:
    async with replaying(scripts_of(a_turn()), pace=VIRTUAL) as (url, server), ChatTester(url) as tester:
        await tester.send("anything")
        assert (await tester.wait_for_completion(30)).data == {"type": "agent_completed", "on": "c"}
        assert server.statistics.sent == 3


async def test_events_wait_for_the_message_that_brought_them_about() -> None:
    async with replaying(scripts_of(a_turn()), pace=VIRTUAL) as (url, server), ChatTester(url) as tester:
        await tester.send_raw({"type": "ping"})
        await tester.send_raw("not json")
        await tester.send("now")
        await tester.wait_for_completion(30)
        assert server.statistics.unexpected == 2


async def test_each_client_gets_the_next_recorded_connection() -> None:
    records = [*a_turn("first"), *a_turn("second")]
    async with replaying(scripts_of(records), pace=VIRTUAL) as (url, _):
        came = []
        for _ in range(3):
            async with ChatTester(url) as tester:
                await tester.send("hi")
                came.append((await tester.wait_for_completion(30)).data["on"])
    assert came == ["first", "second", "first"]


async def test_real_time_keeps_the_recorded_gaps() -> None:
    async with replaying(scripts_of(a_turn(gap=0.05))) as (url, _), ChatTester(url) as tester:
        await tester.send("hi")
        completed = await tester.wait_for_completion(30)
        # From the sent message on: what comes may be read late, never early.
        asked = next(record for record in tester.records if record.direction is Direction.SENT)
        assert completed.monotonic_ns - asked.monotonic_ns >= 0.04e9


async def test_virtual_time_has_no_gaps() -> None:
    async with replaying(scripts_of(a_turn(gap=1000)), pace=VIRTUAL) as (url, _), ChatTester(url) as tester:
        await tester.send("hi")
        assert (await tester.wait_for_completion(30)).data["type"] == "agent_completed"


async def test_a_faster_pace_shortens_the_gaps() -> None:
    async with replaying(scripts_of(a_turn(gap=1000)), pace=Pace(speed=1e6)) as (url, _), ChatTester(url) as tester:
        await tester.send("hi")
        assert (await tester.wait_for_completion(30)).data["type"] == "agent_completed"


async def test_a_recorded_close_is_replayed_with_code_and_reason() -> None:
    close = record(0, {"code": 4503, "reason": "draining"}, kind=Kind.CLOSE, note="closed by the server")
    async with replaying(scripts_of(a_turn(close=close)), pace=VIRTUAL) as (url, _), ChatTester(url) as tester:
        await tester.send("hi")
        assert (await tester.wait_until_closed(30)).data == {"code": 4503, "reason": "draining"}


async def test_a_recorded_break_is_replayed_as_a_break() -> None:
    close = record(0, {"code": 1006, "reason": ""}, kind=Kind.CLOSE, note="the connection was lost")
    async with replaying(scripts_of(a_turn(close=close)), pace=VIRTUAL) as (url, _), ChatTester(url) as tester:
        await tester.send("hi")
        assert (await tester.wait_until_closed(30)).data["code"] == 1006


async def test_broken_frames_are_replayed_broken() -> None:
    records = [
        record(0, "{broken", kind=Kind.MALFORMED, note="not JSON"),
        record(0, {"base64": "AAE="}, kind=Kind.MALFORMED, note="binary frame of 2 bytes"),
        record(0, {"type": "last"}),
    ]
    recorder = Recorder()
    last = anyio.Event()
    recorder.subscribe(lambda item: last.set() if item.data == {"type": "last"} else None)
    async with replaying(scripts_of(records), pace=VIRTUAL) as (url, _), connect(url, recorder=recorder):
        with anyio.fail_after(60):
            await last.wait()
    came = [item for item in recorder.records() if item.kind in (Kind.EVENT, Kind.MALFORMED)]
    assert [(item.kind, item.data) for item in came] == [(item.kind, item.data) for item in records]


async def test_a_capture_of_a_replay_equals_the_recording() -> None:
    close = record(0, {"code": 1000, "reason": ""}, kind=Kind.CLOSE, note="closed by the server")
    original = a_turn(close=close)
    async with replaying(scripts_of(original), pace=VIRTUAL) as (url, _), ChatTester(url) as tester:
        await tester.send_raw({"type": "user_message", "content": "hi"})
        await tester.wait_until_closed(30)
        captured = list(tester.records)
    assert [(r.kind, r.direction, r.data) for r in captured[1:]] == [
        (r.kind, r.direction, r.data) for r in original[1:]
    ]


async def test_a_client_that_is_no_websocket_is_answered_and_harms_nobody() -> None:
    async with replaying(scripts_of(a_turn()), pace=VIRTUAL) as (url, _):
        port = int(url.rpartition(":")[2].partition("/")[0])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.1 426")
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"\x00\x01\x02nonsense\r\n\r\n")
        async with ChatTester(url) as tester:
            await tester.send("hi")
            await tester.wait_for_completion(30)


async def test_another_dialect_names_the_messages_to_wait_for() -> None:
    records = [
        record(0, {"kind": "ask"}, direction=Direction.SENT),
        record(0, {"kind": "answer"}),
    ]
    dialect = Dialect(name="kind", message={"kind": "ask"}, ready=None, ends_turn=("answer",))
    scripts = scripts_of(records, name_of=dialect.name_of)
    async with (
        replaying(scripts, pace=VIRTUAL, name_of=dialect.name_of) as (url, _),
        ChatTester(url, dialect=dialect) as tester,
    ):
        await tester.send_raw({"kind": "something else"})
        await tester.send("")
        assert (await tester.wait_for_completion(30)).data == {"kind": "answer"}


SOCKETIO_OPEN = {"url": "ws://x/socket.io/?EIO=4&transport=websocket", "subprotocol": None}


def a_session(*, namespace: dict[str, str] | None = None) -> list[Record]:
    """A recorded Socket.IO session with everything that its events may hold."""
    asked: dict[str, object] = {"event": "chat_message", "data": {"content": "hi"}, **(namespace or {})}
    came: list[dict[str, object]] = [
        {"event": "chat_chunk", "data": {"content": "one"}},
        {"event": "pair", "data": ["a", {"b": 1}]},
        {"event": "list_of_one", "data": [["a"]]},
        {"event": "nothing", "data": None},
        {"event": "chat_complete", "data": "ä"},
    ]
    return [
        record(0, SOCKETIO_OPEN, kind=Kind.OPEN),
        record(0, asked, direction=Direction.SENT),
        *(record(0, {**data, **(namespace or {})}) for data in came),
        record(0, '42["broken', kind=Kind.MALFORMED, note="not a Socket.IO packet"),
        record(
            0,
            {"code": 1000, "reason": "the server disconnected namespace /"},
            kind=Kind.CLOSE,
            note="closed by the server",
        ),
    ]


@pytest.mark.parametrize("namespace", ["/", "/chat"])
async def test_a_socketio_session_is_replayed_to_a_socketio_client(namespace: str) -> None:
    original = a_session(namespace={"namespace": namespace} if namespace != "/" else None)
    recorder = Recorder()
    async with (
        replaying(scripts_of(original), pace=VIRTUAL) as (url, server),
        connect_socketio(url, recorder=recorder, namespace=namespace) as connection,
    ):
        assert url.startswith("http://")
        await connection.send({"event": "another"})
        await connection.send({"event": "chat_message", "data": {"content": "hi"}})
        await until_closed(recorder)
    assert server.statistics.unexpected == 1
    came = [
        (item.kind, item.data)
        for item in recorder.records()
        if item.direction is Direction.RECEIVED and item.kind is not Kind.OPEN
    ]
    expected = [(item.kind, item.data) for item in original[2:]]
    if namespace != "/":  # the packet that ends a session says of which namespace
        expected[-1] = (Kind.CLOSE, {"code": 1000, "reason": "the server disconnected namespace /chat"})
    assert came == expected


def a_stream(*, close: Record | None = None) -> list[Record]:
    """A recorded stream of server-sent events with everything that its events may hold."""
    came: list[object] = [
        {"type": "response.created", "id": 1},
        {"event": "chunk", "data": {"text": "a"}, "id": "7"},
        {"event": "message", "data": "[DONE]", "id": "7"},
        {"event": "message", "data": "two\nlines", "id": "7"},
        {"event": "message", "data": "42", "id": "7"},
        {"event": "message", "data": 42, "id": "7"},
        {"choices": []},
        {"event": "x"},
    ]
    return [
        record(0, {"url": "http://x/", "subprotocol": None, "protocol": "sse", "status": 200}, kind=Kind.OPEN),
        record(0, {"prompt": "hi"}, direction=Direction.SENT),
        *(record(0, data) for data in came),
        record(0, '{"a":1,"a":2}', kind=Kind.MALFORMED, note="the key 'a' stands twice in one object"),
        close or record(0, {"code": 1000, "reason": ""}, kind=Kind.CLOSE, note="closed by the server"),
    ]


async def played_over_sse(original: list[Record]) -> list[Record]:
    recorder = Recorder()
    async with (
        replaying(scripts_of(original), pace=VIRTUAL) as (url, _),
        connect_sse(url, recorder=recorder, body={"prompt": "hi"}),
    ):
        await until_closed(recorder)
    return [item for item in recorder.records() if item.direction is Direction.RECEIVED]


async def test_a_stream_of_server_sent_events_is_replayed_over_http() -> None:
    original = [item for item in a_stream() if item.direction is Direction.RECEIVED]
    came = await played_over_sse(a_stream())
    assert [(item.kind, item.data) for item in came[1:]] == [(item.kind, item.data) for item in original[1:]]


async def test_a_stream_that_broke_off_breaks_off_again() -> None:
    close = record(0, {"code": 1006, "reason": ""}, kind=Kind.CLOSE, note="the connection was lost")
    assert (await played_over_sse(a_stream(close=close)))[-1].data["code"] == 1006


async def test_a_client_that_speaks_another_wire_is_told_which_one_it_is() -> None:
    async with replaying(scripts_of(a_session()), pace=VIRTUAL) as (url, _):
        with pytest.raises(ConnectionFailedError, match="this replay speaks socketio, not websocket"):
            async with connect(url.replace("http:", "ws:")):
                pass
        with pytest.raises(ConnectionFailedError, match="this replay speaks socketio, not sse"):
            async with connect_sse(url):
                pass


async def test_a_recording_is_replayed_over_another_wire_when_asked() -> None:
    scripts = scripts_of(a_stream(), wire=Wire.WEBSOCKET)
    recorder = Recorder()
    async with replaying(scripts, pace=VIRTUAL) as (url, _), connect(url, recorder=recorder) as connection:
        await connection.send({"prompt": "hi"})
        await until_closed(recorder)
    assert {"choices": []} in [item.data for item in recorder.records()]


async def test_nothing_to_replay_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to replay"):
        ReplayServer([])
