"""Files of other tools: what they say becomes records, what they lack is told."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.errors import BadInputError, RecordingError
from event_capture.recording import read_recording
from event_capture.recording.foreign import LineShape, read_lines, read_sse_text
from event_capture.recording.formats import Source, guess, read_foreign, write_recording
from event_capture.recording.har import read_har, render_har
from event_capture.recording.moments import format_moment, moment_ns
from event_capture.records import Direction, Kind, Record

CHROME_TIME = 1_795_000_000.123456
PLAYWRIGHT_TIME = 1_795_000_000_123.5


def har(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"log": {"version": "1.2", "entries": list(entries)}}).encode()


def websocket(*messages: dict[str, Any], url: str = "wss://host/ws?token=abc") -> dict[str, Any]:
    return {
        "_resourceType": "websocket",
        "startedDateTime": "2026-11-18T17:46:40.000Z",
        "request": {"url": url},
        "_webSocketMessages": list(messages),
    }


def message(data: str, *, time: float = CHROME_TIME, kind: str = "receive", opcode: int = 1) -> dict[str, Any]:
    return {"type": kind, "time": time, "opcode": opcode, "data": data}


@pytest.mark.parametrize(
    ("time", "nanoseconds"),
    [(CHROME_TIME, 1_795_000_000_123_456_001), (PLAYWRIGHT_TIME, 1_795_000_000_123_500_000)],
    ids=["chrome-seconds", "playwright-milliseconds"],
)
def test_messages_of_both_browsers_have_their_times(tmp_path: Path, time: float, nanoseconds: int) -> None:
    path = tmp_path / "x.har"
    path.write_bytes(har(websocket(message('{"type":"a"}', time=time))))
    opened, event = read_har(path)
    assert opened.data["url"] == "wss://host/ws?token=[redacted]"
    assert event.data == {"type": "a"}
    assert abs(event.wall_ns - nanoseconds) < 1000


def test_sent_binary_and_broken_messages_keep_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.har"
    sent, binary = message('{"type":"x","token":"abc"}', kind="send"), message("AAE=", opcode=2)
    path.write_bytes(har(websocket(sent, binary, message("{oops"))))
    _, first, second, third = read_har(path)
    assert (first.direction, first.data) == (Direction.SENT, {"type": "x", "token": "[redacted]"})
    assert (second.kind, second.size) == (Kind.MALFORMED, 2)
    assert (third.kind, third.data) == (Kind.MALFORMED, "{oops")


def test_each_websocket_of_an_archive_is_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "x.har"
    path.write_bytes(har(websocket(message("{}")), {"request": {"url": "http://x"}}, websocket(message("{}"))))
    assert sorted(record.connection for record in read_har(path)) == ["har#1", "har#1", "har#3", "har#3"]


def test_messages_of_several_websockets_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    path = tmp_path / "x.har"
    later = CHROME_TIME + 100_000
    first = websocket(*(message("{}", time=later + second) for second in (0, 2, 4)))
    second = websocket(*(message("{}", time=later + second) for second in (1, 3, 5)))
    path.write_bytes(har(first, second))
    times = [record.monotonic_ns for record in read_har(path)]
    assert times == sorted(times)
    assert [record.connection for record in read_har(path)][2:] == ["har#1", "har#2"] * 3


def test_an_archive_of_ours_whose_places_do_not_fit_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "x.har"
    record = Record(monotonic_ns=0, wall_ns=0, connection="c", data={"type": "a"})
    path.write_bytes(render_har([record]).replace(b'"places": [\n      0\n     ]', b'"places": [0, 1]'))
    with pytest.raises(RecordingError, match="1 records and 2 places"):
        list(read_har(path))


def test_a_wall_clock_beyond_the_calendar_is_exported_at_its_end() -> None:
    record = Record(monotonic_ns=0, wall_ns=10**30, connection="c", data={"type": "a"})
    entry = msgspec.json.decode(render_har([record]))["log"]["entries"][0]
    assert entry["startedDateTime"] == "9999-12-31T23:59:59.999Z"


def test_messages_that_playwright_put_into_a_file_of_their_own_are_found(tmp_path: Path) -> None:
    entry = websocket()
    del entry["_webSocketMessages"]
    entry["response"] = {"content": {"_file": "../../messages.jsonl"}}
    (tmp_path / "messages.jsonl").write_text(json.dumps(message('{"type":"a"}')) + "\n")
    path = tmp_path / "x.har"
    path.write_bytes(har(entry))
    assert [record.data for record in read_har(path)][1:] == [{"type": "a"}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "no HAR file"),
        (b'{"log":{}}', "no HAR file"),
        (b'{"log":{"entries":[]}}', "no WebSocket messages"),
        (har({"request": {"url": "http://x"}}), "no WebSocket messages"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_an_archive_without_messages_is_a_clear_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.har"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=reason):
        list(read_har(path))


def test_an_archive_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.har"
    path.write_bytes(har(websocket(message("{}"))))
    with pytest.raises(RecordingError, match="larger than 10 bytes"):
        list(read_har(path, max_bytes=10))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["_webSocketMessages", "request", "url", "type", "time", "opcode", "data", "_eventCapture", "records"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(anything, max_size=4))
def test_no_archive_raises_anything_but_a_recording_error(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.har"
    path.write_text(json.dumps({"log": {"entries": entries}}))
    try:
        assert all(isinstance(record, Record) for record in read_har(path))
    except RecordingError as error:
        assert "any.har" in str(error) or "_eventCapture" in str(error)  # noqa: PT017  either outcome is right


records = st.lists(
    st.builds(
        Record,
        monotonic_ns=st.integers(0, 2**62),
        wall_ns=st.integers(0, 4 * 10**18),
        connection=st.sampled_from(["a", "b"]),
        kind=st.sampled_from(Kind),
        direction=st.sampled_from(Direction),
        size=st.integers(0, 2**40),
        data=st.dictionaries(st.sampled_from(["x", "url", "base64"]), st.text(max_size=5), max_size=3),
        note=st.text(max_size=5),
        user=st.text(max_size=5),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=50)
@given(records)
def test_a_recording_exported_as_har_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, written: list[Record]
) -> None:
    path = tmp_path_factory.getbasetemp() / "trip.har"
    path.write_bytes(render_har(written))
    assert list(read_har(path)) == written


def test_an_exported_archive_has_the_fields_that_browsers_write() -> None:
    record = Record(monotonic_ns=0, wall_ns=1_795_000_000_500_000_000, connection="c", data={"type": "a"})
    entry = msgspec.json.decode(render_har([record]))["log"]["entries"][0]
    assert entry["_webSocketMessages"] == [
        {"type": "receive", "time": 1_795_000_000.5, "opcode": 1, "data": '{"type":"a"}'}
    ]
    assert entry["response"]["status"] == 101


def test_saved_server_sent_events_are_records_with_an_order_and_no_times(tmp_path: Path) -> None:
    path = tmp_path / "x.sse"
    path.write_text('HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\ndata: {"type":"a"}\n\nevent: e\ndata: x\n\n')
    first, second = read_sse_text(path)
    assert first.data == {"type": "a"}
    assert second.data == {"event": "e", "data": "x"}
    assert (first.monotonic_ns, second.monotonic_ns, first.wall_ns) == (1, 2, 0)


@pytest.mark.parametrize("content", ["", "nothing of the kind", ": only a comment\n\n"])
def test_a_file_without_server_sent_events_is_a_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.sse"
    path.write_text(content)
    with pytest.raises(RecordingError, match="no server-sent event"):
        list(read_sse_text(path))


def test_lines_that_are_events_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_text(
        '{"type":"RUN_STARTED","timestamp":1795000000000}\n\n{"type":"RUN_FINISHED","timestamp":1795000000250}\n'
    )
    first, second = read_lines(path)
    assert first.data == {"type": "RUN_STARTED", "timestamp": 1795000000000}
    assert second.monotonic_ns - first.monotonic_ns == pytest.approx(250_000_000, abs=10)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"type":"a"}\n{"type":"b"}\n')
    assert [record.data for record in read_lines(path)] == [{"type": "a"}, {"type": "b"}]


def test_lines_that_wrap_events_are_unwrapped_by_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    line = {"ts": "2026-11-20T12:00:00.5Z", "dir": "out", "msg": {"raw": '{"type":"ping"}'}, "socket": 7}
    path.write_text(json.dumps(line) + "\n")
    (record,) = read_lines(path, LineShape(data=("msg.raw",)))
    assert (record.direction, record.data, record.connection) == (Direction.SENT, {"type": "ping"}, "7")
    assert record.wall_ns == 1_795_176_000_500_000_000


def test_a_line_that_is_no_object_is_a_malformed_record(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"type":"a"}\n[1]\n{broken\n')
    assert [record.kind for record in read_lines(path)] == [Kind.EVENT, Kind.MALFORMED, Kind.MALFORMED]


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_recording_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    for source in (Source.LINES, Source.SSE, Source.HAR):
        try:
            count = sum(1 for _ in read_foreign(path, source))
        except RecordingError:
            continue
        assert count


@pytest.mark.parametrize(
    ("name", "content", "source"),
    [
        ("a.har", b"", Source.HAR),
        ("a.jsonl.zst", b"", Source.LINES),
        ("a.txt", b"data: x\n\n", Source.SSE),
        ("a.txt", b'{"log": {}}', Source.HAR),
        ("a.txt", b'{"type": "a"}', Source.LINES),
    ],
)
def test_a_file_is_known_by_its_suffix_or_its_beginning(
    tmp_path: Path, name: str, content: bytes, source: Source
) -> None:
    (tmp_path / name).write_bytes(content)
    assert guess(tmp_path / name) is source


def test_a_file_of_no_known_kind_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"<html>")
    with pytest.raises(RecordingError, match="neither HAR"):
        guess(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.zst", "out.har"])
def test_a_recording_is_written_in_the_form_that_its_suffix_says(tmp_path: Path, name: str) -> None:
    written = [Record(monotonic_ns=n, wall_ns=n, connection="c", data={"n": n}) for n in range(3)]
    assert write_recording(written, tmp_path / name) == 3
    reader = read_har if name.endswith(".har") else read_recording
    assert list(reader(tmp_path / name)) == written


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("precious")
    with pytest.raises(BadInputError, match="exists"):
        write_recording([], tmp_path / "out.jsonl")


def test_a_suffix_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"name it \.jsonl"):
        write_recording([], tmp_path / "out.txt")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 4 * 10**12))
def test_a_moment_survives_its_text(milliseconds: int) -> None:
    assert moment_ns(format_moment(milliseconds * 1_000_000)) == milliseconds * 1_000_000


@pytest.mark.parametrize("value", [None, True, "yesterday", -1, 0, [], {}, 1e30])
def test_what_is_no_moment_is_none(value: object) -> None:
    assert moment_ns(value) is None
