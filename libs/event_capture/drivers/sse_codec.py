"""Server-sent events: bytes to events. Sans-I/O, bounded, total.

WHATWG HTML, section 9.2.6: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import msgspec

from event_capture.drivers.frames import EXCERPT_CHARACTERS, decode_text
from event_capture.records import Kind

DEFAULT_MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
_READ: Final = frozenset({"data", "event", "id"})
_FIELDS: Final = _READ | {"retry"}
_BOM: Final = "\ufeff"


@final
@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event of the stream."""

    name: str
    """From its `event:` line; empty when it has none, which means `message`."""
    data: str
    """Its `data:` lines, joined by line feeds."""
    id: str
    """The last `id:` of the stream so far."""
    size: int
    """Bytes of its lines, line ends included."""
    broken: str = ""
    """What is wrong with it; its data is cut short then."""


@final
class SseParser:
    """Takes the body of a response in any pieces and yields its events.

    Args:
        max_event_bytes: largest event, in bytes. What is larger is dropped and reported as broken.
    """

    def __init__(self, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        if max_event_bytes < 1:
            raise ValueError(f"max_event_bytes: {max_event_bytes} is less than 1")
        self._max = max_event_bytes
        # Bytes that are no UTF-8 become half surrogates, which no UTF-8 has: they show, and keep their size.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._line: list[str] = []
        self._line_size = 0
        self._after_cr = False
        self._first = True
        self.fields = 0
        """Lines so far that only a stream of server-sent events has."""
        self._id = ""
        self._size = 0
        self._reset()

    def feed(self, chunk: bytes) -> Iterator[SseEvent]:
        """Events that this piece completes."""
        yield from self._text(self._decoder.decode(chunk))

    def finish(self) -> SseEvent | None:
        """The stream has ended. An event that no blank line ended is dropped, as the specification says; it is
        returned as broken, so that a recording shows it."""
        for _ in self._text(self._decoder.decode(b"", final=True)):
            pass
        if not (self._line or self._data or self._name or self._oversize):
            return None
        rest = "\n".join([*self._data, _shown("".join(self._line))])
        size = self._size + self._line_size
        event = SseEvent(self._name, rest[:EXCERPT_CHARACTERS], self._id, size, "the stream ended inside an event")
        self._line, self._line_size = [], 0
        self._reset()
        return event

    def _text(self, text: str) -> Iterator[SseEvent]:
        if self._first and text:
            self._first = False
            text = text.removeprefix(_BOM)
        if self._after_cr and text:
            self._after_cr = False
            if text[0] == "\n":
                text = text[1:]
                self._size += 1
        start = 0
        end = len(text)
        while start < end:
            stop = _line_end(text, start)
            if stop < 0:
                self._grow(text[start:])
                return
            self._grow(text[start:stop])
            skip = 1
            if text[stop] == "\r":
                if stop + 1 == end:
                    self._after_cr = True
                elif text[stop + 1] == "\n":
                    skip = 2
            event = self._end_line(skip)
            if event is not None:
                yield event
            start = stop + skip

    def _grow(self, piece: str) -> None:
        if not piece:
            return
        self._line_size += len(piece.encode("utf-8", "surrogateescape"))
        if self._size + self._line_size > self._max:
            self._oversize = True
        if not self._oversize:
            self._line.append(piece)

    def _end_line(self, line_end: int) -> SseEvent | None:
        line = "".join(self._line)
        empty = self._line_size == 0
        self._size += self._line_size + line_end
        self._line, self._line_size = [], 0
        if empty:
            return self._dispatch()
        if self._oversize or line.startswith(":"):
            return None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self.fields += field in _FIELDS
        if field in _READ and (shown := _shown(value)) != value:
            self._invalid, value = True, shown
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> SseEvent | None:
        event: SseEvent | None = None
        if self._oversize:
            excerpt = "\n".join(self._data)[:EXCERPT_CHARACTERS]
            note = f"{self._size} bytes, more than the limit of {self._max}"
            event = SseEvent(self._name, excerpt, self._id, self._size, note)
        elif self._data and self._invalid:
            excerpt = "\n".join(self._data)[:EXCERPT_CHARACTERS]
            event = SseEvent(self._name, excerpt, self._id, self._size, "invalid UTF-8")
        elif self._data:
            event = SseEvent(self._name, "\n".join(self._data), self._id, self._size)
        self._reset()
        return event

    def _reset(self) -> None:
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._oversize = False
        self._invalid = False


def record_of(event: SseEvent, *, max_depth: int = 128) -> tuple[Kind, Any, str]:
    """Kind, data and note of an event's record.

    An object that names itself (has a `type`, or came without an `event:` line) is recorded as it is; anything else as
    `{"event": name, "data": JSON or text, "id": ...}`. Text that is no JSON is data like any other.
    """
    if event.broken:
        return Kind.MALFORMED, event.data, event.broken
    payload = event.data.encode("utf-8")
    kind, data, note = decode_text(payload, max_bytes=len(payload), max_depth=max_depth)
    if kind is Kind.EVENT and ("type" in data or not event.name):
        return Kind.EVENT, data, ""
    if kind is Kind.MALFORMED and (note.startswith("nested") or "stands twice" in note):
        return kind, data, note
    value = data if kind is Kind.EVENT else _json_or_text(event.data)
    wrapped: dict[str, Any] = {"event": event.name or "message", "data": value}
    if event.id:
        wrapped["id"] = event.id
    return Kind.EVENT, wrapped, ""


def _shown(text: str) -> str:
    """A text whose bytes that are no UTF-8 are written out, like `\\xff`: itself when there are none."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return text


def _line_end(text: str, start: int) -> int:
    feed = text.find("\n", start)
    carriage = text.find("\r", start, feed if feed >= 0 else len(text))
    return carriage if carriage >= 0 else feed
