"""HAR archives: WebSocket messages of Chrome and Playwright in, and recordings out.

HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/) has no WebSockets. Both browsers put them into the custom
field `_webSocketMessages`: `type` (send or receive), `time` (seconds in Chrome, milliseconds in Playwright), `opcode`
(1 text, 2 binary), `data` (text, or base64).
"""

import base64
import binascii
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from event_capture.drivers.frames import decode_binary, decode_text
from event_capture.errors import RecordingError
from event_capture.recording.moments import format_moment, moment_ns
from event_capture.recording.redaction import Redaction
from event_capture.records import Direction, Kind, Record

DEFAULT_MAX_BYTES: Final = 512 * 1024 * 1024
_EXTRA: Final = "_eventCapture"
"""Custom field with what HAR has no place for, so that an exported recording comes back as it was."""
_Placed = tuple[int | None, Record]
"""A record, and its place in the recording where that is known."""
_TEXT: Final = 1
_BINARY: Final = 2


def read_har(
    source: Path | str, *, redaction: Redaction | None = None, max_bytes: int = DEFAULT_MAX_BYTES
) -> Iterator[Record]:
    """Records of all WebSockets in a HAR file, in the order in which they came: a file of ours knows it, another tool's
    messages have times.

    Args:
        source: the file.
        redaction: which fields are secrets.
        max_bytes: largest file that is read; it is held in memory.

    Raises:
        RecordingError: no HAR file, or none with WebSocket messages.
    """
    path = Path(source)
    redaction = redaction if redaction is not None else Redaction()
    connections = []
    for number, entry in enumerate(_entries(path, max_bytes), start=1):
        messages = _messages(path, entry)
        if messages or _EXTRA in entry:
            connections.append(list(_connection(entry, messages, f"har#{number}", redaction)))
    if not connections:
        raise RecordingError(
            "no WebSocket messages in it",
            source=str(path),
            fix="save it with content: in Chrome `Save all as HAR with content`, in Playwright `record_har_content`",
        )
    ordered = all(place is not None for connection in connections for place, _ in connection)
    for _, record in heapq.merge(*connections, key=_place if ordered else _time):
        yield redaction.apply(record, msgspec.json.encode(record))


def _place(placed: _Placed) -> int:
    return placed[0] or 0


def _time(placed: _Placed) -> int:
    return placed[1].monotonic_ns


def render_har(records: Iterable[Record]) -> bytes:
    """A recording as a HAR file: one entry per connection, readable by browsers' developer tools."""
    entries: dict[str, dict[str, Any]] = {}
    for place, record in enumerate(records):
        entry = entries.get(record.connection)
        if entry is None:
            entry = entries[record.connection] = _new_entry(record)
        _add(entry, record, place)
    log = {
        "version": "1.2",
        "creator": {"name": "streamproof", "version": "1"},
        "pages": [],
        "entries": list(entries.values()),
    }
    return msgspec.json.format(msgspec.json.encode({"log": log}), indent=1)


def _entries(path: Path, max_bytes: int) -> list[Any]:
    try:
        if path.stat().st_size > max_bytes:
            raise RecordingError(f"larger than {max_bytes} bytes", source=str(path), fix="record less at once")
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None
    try:
        document = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(f"not JSON: {error}", source=str(path)) from None
    log = document.get("log") if isinstance(document, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise RecordingError("no HAR file: it has no log.entries", source=str(path))
    return [entry for entry in entries if isinstance(entry, dict)]


def _messages(path: Path, entry: dict[str, Any]) -> list[Any]:
    messages = entry.get("_webSocketMessages")
    if isinstance(messages, list):
        return messages
    # Playwright can keep the messages in a file of their own, beside the HAR file.
    response = entry.get("response")
    content = response.get("content") if isinstance(response, dict) else None
    name = content.get("_file") if isinstance(content, dict) else None
    if entry.get("_resourceType") != "websocket" or not isinstance(name, str):
        return []
    beside = path.parent / Path(name).name
    try:
        return [msgspec.json.decode(line) for line in beside.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise RecordingError(f"its messages cannot be read: {error.strerror or error}", source=str(beside)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(f"not JSON lines: {error}", source=str(beside)) from None


def _connection(
    entry: dict[str, Any], messages: list[Any], default_name: str, redaction: Redaction
) -> Iterator[_Placed]:
    extra = entry.get(_EXTRA)
    if isinstance(extra, dict) and isinstance(extra.get("records"), list):
        yield from _own(extra["records"], extra.get("places"))
    else:
        for record in _foreign(entry, messages, default_name, redaction):
            yield None, record


def _foreign(entry: dict[str, Any], messages: list[Any], default_name: str, redaction: Redaction) -> Iterator[Record]:
    start = moment_ns(entry.get("startedDateTime")) or 0
    request = entry.get("request")
    url = request.get("url") if isinstance(request, dict) else None
    shown = redaction.url(url) if isinstance(url, str) else ""
    now = start
    yield Record(
        monotonic_ns=now,
        wall_ns=now,
        connection=default_name,
        kind=Kind.OPEN,
        data={"url": shown, "subprotocol": None},
    )
    for message in messages:
        if not isinstance(message, dict):
            continue
        moment = moment_ns(message.get("time"))
        wall = moment if moment is not None else now
        now = max(now, wall)
        yield _message(message, default_name, now, wall)


def _message(message: dict[str, Any], connection: str, monotonic: int, wall: int) -> Record:
    text = message.get("data")
    text = text if isinstance(text, str) else ""
    if message.get("opcode") == _BINARY:
        try:
            payload = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            payload = text.encode("utf-8", "surrogatepass")
        kind, data, note = decode_binary(payload)
    else:
        payload = text.encode("utf-8", "surrogatepass")
        kind, data, note = decode_text(payload)
    return Record(
        monotonic_ns=monotonic,
        wall_ns=wall,
        connection=connection,
        kind=kind,
        direction=Direction.SENT if message.get("type") == "send" else Direction.RECEIVED,
        size=len(payload),
        data=data,
        note=note,
    )


def _own(records: list[Any], places: Any) -> Iterator[_Placed]:
    try:
        own = msgspec.convert(records, list[Record])
        known = msgspec.convert(places, list[int] | None)
    except msgspec.ValidationError as error:
        raise RecordingError(f"{_EXTRA}: not records: {error}") from None
    if known is not None and len(known) != len(own):
        raise RecordingError(f"{_EXTRA}: {len(own)} records and {len(known)} places")
    yield from zip(known if known is not None else [None] * len(own), own, strict=True)


def _new_entry(record: Record) -> dict[str, Any]:
    url = record.data.get("url", "") if record.kind is Kind.OPEN and isinstance(record.data, dict) else ""
    http = {"httpVersion": "HTTP/1.1", "cookies": [], "headers": [], "headersSize": -1, "bodySize": -1}
    return {
        "startedDateTime": format_moment(record.wall_ns),
        "time": 0.0,
        "request": {"method": "GET", "url": url, "queryString": [], **http},
        "response": {
            "status": 101,
            "statusText": "Switching Protocols",
            "content": {"size": 0, "mimeType": "x-unknown"},
            "redirectURL": "",
            **http,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
        "_resourceType": "websocket",
        "_webSocketMessages": [],
        _EXTRA: {"start_ns": record.monotonic_ns, "records": [], "places": []},
    }


def _add(entry: dict[str, Any], record: Record, place: int) -> None:
    extra = entry[_EXTRA]
    extra["places"].append(place)
    extra["records"].append(msgspec.to_builtins(record))
    entry["time"] = (record.monotonic_ns - extra["start_ns"]) / 1e6
    if record.kind in (Kind.EVENT, Kind.MALFORMED):
        binary = record.data.get("base64") if isinstance(record.data, dict) else None
        is_binary = record.kind is Kind.MALFORMED and isinstance(binary, str)
        if is_binary:
            data = binary
        elif record.kind is Kind.MALFORMED:
            data = record.data if isinstance(record.data, str) else ""
        else:
            data = msgspec.json.encode(record.data).decode("utf-8")
        entry["_webSocketMessages"].append(
            {
                "type": "send" if record.direction is Direction.SENT else "receive",
                "time": record.wall_ns / 1e9,
                "opcode": _BINARY if is_binary else _TEXT,
                "data": data,
            }
        )
