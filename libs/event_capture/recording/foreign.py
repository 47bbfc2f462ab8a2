"""What other tools captured: server-sent events as text, and JSON lines of any shape."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import msgspec

from event_capture.drivers.frames import decode_text
from event_capture.drivers.sse_codec import SseEvent, SseParser, record_of
from event_capture.errors import RecordingError
from event_capture.recording.jsonl import MAX_LINE_BYTES, open_recording
from event_capture.recording.moments import moment_ns
from event_capture.recording.redaction import Redaction
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.pointer import parse_pointer, read

_CHUNK: Final = 64 * 1024
_SENT: Final = frozenset({"sent", "send", "out", "outgoing", "client", "->", ">", "up", "request"})
_HTTP_HEAD: Final = b"HTTP/"


def read_sse_text(source: Path | str, *, redaction: Redaction | None = None) -> Iterator[Record]:
    """Records of a stream of server-sent events that was saved as text, as `curl -N` or `curl -iN` writes it.

    Such a file has no times: events are one nanosecond apart, so that they have an order, and budgets say nothing.

    Raises:
        RecordingError: the file cannot be read, or holds no event.
    """
    path = Path(source)
    redaction = redaction if redaction is not None else Redaction()
    parser = SseParser()
    count = 0
    try:
        with open_recording(path) as stream:
            first = True
            while chunk := stream.read(_CHUNK):
                body = _body(chunk) if first else chunk
                first = False
                for event in parser.feed(body):
                    count += 1
                    yield _sse_record(event, count, path.stem, redaction)
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None
    rest = parser.finish()
    if rest is not None and parser.fields:
        count += 1
        yield _sse_record(rest, count, path.stem, redaction)
    if not count:
        raise RecordingError("no server-sent event in it", source=str(path), fix="save the body with `curl -N`")


def _body(chunk: bytes) -> bytes:
    """What comes after the head of a response, when there is one."""
    if not chunk.startswith(_HTTP_HEAD):
        return chunk
    for end in (b"\r\n\r\n", b"\n\n"):
        _, found, body = chunk.partition(end)
        if found:
            return body
    return chunk


def _sse_record(event: SseEvent, count: int, name: str, redaction: Redaction) -> Record:
    kind, data, note = record_of(event)
    record = Record(monotonic_ns=count, wall_ns=0, connection=name, kind=kind, size=event.size, data=data, note=note)
    return redaction.apply(record, msgspec.json.encode(record))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LineShape:
    """Where things stand in the lines of another tool. Paths are dotted or JSON pointers; the first that leads to
    something counts. Without any `data` path that does, the line itself is the event."""

    time: tuple[str, ...] = ("timestamp", "time", "ts", "at", "wallTime")
    direction: tuple[str, ...] = ("direction", "dir")
    data: tuple[str, ...] = ()
    connection: tuple[str, ...] = ("connection", "connection_id", "connectionId", "socket")
    user: tuple[str, ...] = ()


@final
@dataclass(slots=True)
class _Clock:
    """Monotonic time made of wall times that may be missing or go back."""

    start: int | None = None
    now: int = field(default=0)

    def advance(self, wall: int | None) -> int:
        if wall is not None:
            self.start = wall if self.start is None else self.start
            self.now = max(self.now + 1, wall - self.start)
        else:
            self.now += 1
        return self.now


def read_lines(
    source: Path | str, shape: LineShape | None = None, *, redaction: Redaction | None = None
) -> Iterator[Record]:
    """Records of a file with one JSON object per line, as other tools write it. Lines of ours are taken as they are.

    Lines without a time are one nanosecond apart. A line that is no object becomes a malformed record.

    Raises:
        RecordingError: the file cannot be read, or holds no line.
    """
    path = Path(source)
    shape = shape if shape is not None else LineShape()
    redaction = redaction if redaction is not None else Redaction()
    clock = _Clock()
    count = 0
    try:
        with open_recording(path) as stream:
            first = True
            while line := stream.readline(MAX_LINE_BYTES + 1):
                if first:
                    first, line = False, line.removeprefix(codecs.BOM_UTF8)
                if len(line) > MAX_LINE_BYTES:
                    raise RecordingError(
                        f"the line is longer than {MAX_LINE_BYTES} bytes", source=str(path), line=count + 1
                    )
                if line.strip():
                    count += 1
                    record = _line_record(line.strip(), shape, clock, path.stem)
                    yield redaction.apply(record, msgspec.json.encode(record))
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None
    if not count:
        raise RecordingError("no line in it", source=str(path))


def _line_record(line: bytes, shape: LineShape, clock: _Clock, name: str) -> Record:
    kind, data, note = decode_text(line, max_bytes=MAX_LINE_BYTES)
    if kind is Kind.MALFORMED:
        return Record(
            monotonic_ns=clock.advance(None),
            wall_ns=0,
            connection=name,
            kind=kind,
            size=len(line),
            data=data,
            note=note,
        )
    if {"monotonic_ns", "wall_ns", "connection"} <= data.keys():
        try:
            return msgspec.convert(data, Record)
        except msgspec.ValidationError:
            pass  # looks like ours and is not: then it is an event like any other
    wall = moment_ns(_first(data, shape.time))
    direction = _first(data, shape.direction)
    inner = _first(data, shape.data)
    connection = _first(data, shape.connection)
    user = _first(data, shape.user)
    kind, event, note, size = _event(data, inner, len(line))
    return Record(
        monotonic_ns=clock.advance(wall),
        wall_ns=wall or 0,
        connection=str(connection) if connection is not None else name,
        kind=kind,
        direction=Direction.SENT if str(direction).lower() in _SENT else Direction.RECEIVED,
        size=size,
        data=event,
        note=note,
        user=str(user) if user is not None else "",
    )


def _event(line: dict[str, Any], inner: Any, size: int) -> tuple[Kind, Any, str, int]:
    if inner is None:
        return Kind.EVENT, line, "", size
    if isinstance(inner, str):
        payload = inner.encode("utf-8", "surrogatepass")
        return *decode_text(payload, max_bytes=MAX_LINE_BYTES), len(payload)
    if isinstance(inner, dict):
        return Kind.EVENT, inner, "", size
    return Kind.MALFORMED, inner, "not a JSON object", size


def _first(data: dict[str, Any], paths: tuple[str, ...]) -> Any:
    for path in paths:
        value = read(data, parse_pointer(path))
        if value is not None:
            return value
    return None
