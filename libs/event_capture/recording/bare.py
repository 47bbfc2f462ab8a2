"""Bare events: one JSON object per line, as a server streamed or logged them, without a word about when they came."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from event_capture.errors import RecordingError
from event_capture.recording.jsonl import MAX_LINE_BYTES, open_recording, read_recording
from event_capture.records import Record

REFUSALS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What is raised for a line that is no JSON object, or none that can be held."""
_OUR_KEYS: Final = ("monotonic_ns", "wall_ns")
"""What every record of ours has, and hardly an event."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def holds_bare_events(path: Path) -> bool:
    """The first line of a file is a JSON object, and no record of ours, not even a broken one.

    Raises:
        OSError: the file cannot be read.
    """
    with open_recording(path) as stream:
        head = b"\n"
        while head.isspace():
            head = stream.readline(MAX_LINE_BYTES)
    try:
        return _decode(head).keys().isdisjoint(_OUR_KEYS)
    except REFUSALS:
        return False


def frame_of(path: Path) -> Record:
    """What every bare event of a file has around it: it was received, on one connection, at no time."""
    return Record(monotonic_ns=0, wall_ns=0, connection=path.stem)


def bare_event(frame: Record, line: bytes, path: Path, number: int) -> Record:
    """The record of a line, the n-th of the file.

    Raises:
        RecordingError: it is no JSON object.
    """
    try:
        return msgspec.structs.replace(frame, data=_decode(line), size=len(line.strip()))
    except REFUSALS as error:
        raise RecordingError(f"not an event: {error}", source=str(path), line=number) from None


def read_recorded_or_bare(path: Path) -> Iterator[Record]:
    """Read a recording, or bare events, record by record. A last line that is cut off is left out.

    Raises:
        RecordingError: the file cannot be read, or one of its lines is neither.
    """
    try:
        bare = holds_bare_events(path)
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None
    if not bare:
        yield from read_recording(path)
        return
    frame = frame_of(path)
    with open_recording(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                record = bare_event(frame, line, path, number)
            except RecordingError:
                if line.endswith(b"\n"):
                    raise
                return
            yield record
