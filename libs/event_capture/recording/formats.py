"""Which reader a file needs, and writing a recording in another form."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from event_capture.errors import BadInputError, RecordingError, RecordingWriteError
from event_capture.recording.foreign import LineShape, read_lines, read_sse_text
from event_capture.recording.har import read_har, render_har
from event_capture.recording.jsonl import RecordingWriter, encode_record, open_recording
from event_capture.recording.redaction import Redaction
from event_capture.records import Record


class Source(StrEnum):
    """What a file of another tool is."""

    AUTO = "auto"
    HAR = "har"
    SSE = "sse"
    LINES = "lines"


_SUFFIXES: Final = {".har": Source.HAR, ".sse": Source.SSE, ".jsonl": Source.LINES, ".ndjson": Source.LINES}


def read_foreign(
    source: Path | str,
    kind: Source = Source.AUTO,
    *,
    shape: LineShape | None = None,
    redaction: Redaction | None = None,
) -> Iterator[Record]:
    """Records of another tool's file.

    Args:
        source: the file.
        kind: what it is; by default its suffix and its first bytes tell.
        shape: where things stand in JSON lines.
        redaction: which fields are secrets.

    Raises:
        RecordingError: it cannot be read, or it is not what it should be.
    """
    path = Path(source)
    chosen = kind if kind is not Source.AUTO else guess(path)
    match chosen:
        case Source.HAR:
            return read_har(path, redaction=redaction)
        case Source.SSE:
            return read_sse_text(path, redaction=redaction)
        case _:
            return read_lines(path, shape, redaction=redaction)


def guess(path: Path) -> Source:
    """What a file is, by its suffix, else by how it begins. Raises RecordingError when neither tells."""
    suffix = Path(path.stem).suffix if path.suffix == ".zst" else path.suffix
    known = _SUFFIXES.get(suffix.lower())
    if known is not None:
        return known
    try:
        with open_recording(path) as stream:
            head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None
    if head.startswith((b"data:", b"event:", b"id:", b"retry:", b":", b"HTTP/")):
        return Source.SSE
    if head.startswith(b"{"):
        return Source.HAR if b'"log"' in head[:200] else Source.LINES
    raise RecordingError("neither HAR, nor server-sent events, nor JSON lines", source=str(path), fix="say --format")


def write_recording(records: Iterable[Record], target: Path | str) -> int:
    """Write records to a file whose suffix says the form: `.jsonl`, `.jsonl.zst` or `.har`. Returns their number.

    The file must not exist: a recording is evidence, and evidence is not overwritten.

    Raises:
        RecordingWriteError: it cannot be written.
        BadInputError: it exists, or its suffix says nothing.
    """
    path = Path(target)
    if path.exists():
        raise BadInputError(f"{path} exists; name another file or remove it")
    if path.suffix == ".har":
        return _write_har(records, path)
    if not path.name.endswith((".jsonl", ".jsonl.zst")):
        raise BadInputError(f"{path}: the suffix says no form; name it .jsonl, .jsonl.zst or .har")
    count = 0
    with RecordingWriter(path) as writer:
        for record in records:
            writer.write(encode_record(record))
            count += 1
    return count


def _write_har(records: Iterable[Record], path: Path) -> int:
    kept = list(records)
    try:
        path.write_bytes(render_har(kept))
        path.chmod(0o600)
    except OSError as error:
        raise RecordingWriteError(f"{path}: cannot be written: {error.strerror or error}") from None
    return len(kept)
