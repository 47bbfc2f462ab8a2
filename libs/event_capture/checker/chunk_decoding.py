"""Decodes pieces of a file: only the fields that the contract looks at become objects.

A piece with a line that does not fit (ids that are no text, payloads that are no objects, frames that could not be
read) is refused as a whole, and takes the ordinary way.
"""

from collections.abc import Callable
from typing import Any, Protocol, final

import msgspec

from event_capture.checker.batch import Batch
from event_capture.checker.fields import Fields
from event_capture.records import Direction, Kind, Record

ReadLine = Callable[[int], Record]
"""Reads the record at a place the ordinary way."""


class Decoder(Protocol):
    """Decodes pieces of whole lines."""

    def decode(self, chunk: memoryview, read_line: ReadLine) -> Batch | None:
        """The records of a piece of a file; None when it holds none.

        Raises:
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: a line does not fit, or is no record.
        """


@final
class RecordDecoder:
    """Decodes pieces of a recording."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        # The fields of a record in the order in which they are written, so that msgspec finds each where it looks.
        row = msgspec.defstruct(
            "Row",
            [
                ("monotonic_ns", int),
                ("wall_ns", int),
                ("connection", str),
                ("kind", Kind, Kind.EVENT),
                ("direction", Direction, Direction.RECEIVED),
                ("size", int, 0),
                ("data", fields.message, msgspec.field(default_factory=fields.message)),
                ("note", str, ""),
                ("user", str, ""),
            ],
            frozen=True,
            gc=False,
            kw_only=True,
        )
        self._decode: Callable[[bytes | memoryview], list[Any]] = msgspec.json.Decoder(row).decode_lines

    def decode(self, chunk: memoryview, read_line: ReadLine) -> Batch | None:
        """See `Decoder`."""
        rows = self._decode(chunk)
        if not rows:
            return None
        fields = self._fields
        messages = fields.gather([row.data for row in rows])
        return Batch(rows, messages, fields.values, fields.sent_name, read_line)


@final
class EventDecoder:
    """Decodes pieces of a file of bare events.

    Args:
        fields: what the contract looks at.
        frame: a record like that of each event, without the event.
    """

    def __init__(self, fields: Fields, frame: Record) -> None:
        self._fields = fields
        self._frame = frame
        self._decode: Callable[[memoryview], list[Any]] = msgspec.json.Decoder(fields.message).decode_lines

    def decode(self, chunk: memoryview, read_line: ReadLine) -> Batch | None:
        """See `Decoder`."""
        fields = self._fields
        messages = fields.gather(self._decode(chunk))
        if not messages:
            return None
        return Batch([self._frame] * len(messages), messages, fields.values, fields.sent_name, read_line)
