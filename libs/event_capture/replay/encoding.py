"""What a server says of a record, per wire: the bytes or text that its client will record as the same record."""

import base64
import binascii
from typing import Any

import msgspec

from event_capture.drivers.socketio_codec import SocketIOCodec
from event_capture.drivers.sse_codec import SseEvent, record_of
from event_capture.records import Kind, Record
from event_capture.wire import Wire


def message_of(record: Record, wire: Wire) -> str | bytes | None:
    """The message that brings about a received record; None when there is none.

    Of a frame that was no event a recording holds the beginning, so that is what is sent.
    """
    if record.kind is Kind.EVENT:
        match wire:
            case Wire.SOCKETIO:
                return _socketio_event(record.data)
            case Wire.SSE:
                return _sse_event(record.data)
            case _:
                return msgspec.json.encode(record.data).decode("utf-8")
    if isinstance(record.data, str):
        return _sse_lines("data", record.data) + "\n" if wire is Wire.SSE else record.data
    if isinstance(record.data, dict) and isinstance(record.data.get("base64"), str) and wire is not Wire.SSE:
        try:
            return base64.b64decode(record.data["base64"], validate=True)
        except binascii.Error:
            return None
    return None


def _socketio_event(data: Any) -> str | None:
    if not isinstance(data, dict) or not isinstance(data.get("event"), str):
        return None
    namespace, argument = data.get("namespace"), data.get("data")
    codec = SocketIOCodec(namespace if isinstance(namespace, str) else "/")
    # A recording holds several arguments as a list; a list of one or none can only have been an argument itself.
    arguments: list[Any] = [] if argument is None else [argument]
    if isinstance(argument, list) and len(argument) > 1:
        arguments = argument
    return codec.emit(data["event"], *arguments)


def _sse_event(data: Any) -> str:
    if not _is_wrapped(data):
        return _sse_lines("data", msgspec.json.encode(data).decode("utf-8")) + "\n"
    value, name = data["data"], data["event"]
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8")
    if record_of(SseEvent(name, text, "", 0))[1].get("data") != value:
        text = msgspec.json.encode(value).decode("utf-8")  # a text that would be read as a number, or the like
    position = _sse_lines("id", str(data["id"])) if "id" in data else ""
    return position + _sse_lines("event", name) + _sse_lines("data", text) + "\n"


def _is_wrapped(data: Any) -> bool:
    """Whether a recording made the object of an event's lines; see `sse_codec.record_of`."""
    return isinstance(data, dict) and {"event", "data"} <= data.keys() <= {"event", "data", "id"} and _is_line(data)


def _is_line(data: dict[str, Any]) -> bool:
    return isinstance(data["event"], str) and bool(data["event"]) and not {"\r", "\n"} & set(data["event"])


def _sse_lines(field: str, text: str) -> str:
    return "".join(f"{field}: {line}\n" for line in text.split("\n"))
