"""What a crash left at the end of a recording, put right before anything is appended. No record that can be read is
lost: a half line goes, a whole one stays."""

import os
import tempfile
from pathlib import Path
from typing import IO, Final

import zstandard

from event_capture.errors import RecordingError
from event_capture.recording.jsonl import MAX_LINE_BYTES, ZSTD_SUFFIX, decode_record, open_recording

_CHUNK: Final = 64 * 1024


def mend(path: Path) -> None:
    """Make a recording ready to be appended to. A file that is not there, or is whole, is left as it is.

    Raises:
        OSError: it cannot be read or written.
        RecordingError: it is no recording.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    if path.suffix == ZSTD_SUFFIX:
        if not _is_whole(path):
            _rewrite(path)
    else:
        _mend_plain(path)


def _mend_plain(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        kept = _end_of_last_line(file, size)
        if kept == size:
            return
        file.seek(kept)
        if size - kept <= MAX_LINE_BYTES and _is_record(file.read(size - kept)):
            file.write(b"\n")
        else:
            file.truncate(kept)


def _end_of_last_line(file: IO[bytes], size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _CHUNK)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _is_record(line: bytes) -> bool:
    try:
        decode_record(line)
    except ValueError:
        return False
    return True


def _is_whole(path: Path) -> bool:
    """Whether a compressed recording ends with a frame, and that with a line. Reads all of it."""
    ends_line = True
    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    begun = False
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            while chunk:
                begun = True
                try:
                    lines = frame.decompress(chunk)
                except zstandard.ZstdError as error:
                    raise RecordingError(f"not a zstd stream: {error}", source=str(path)) from None
                if lines:
                    ends_line = lines.endswith(b"\n")
                chunk = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame, begun = decompressor.decompressobj(), False
    return ends_line and not begun


def _rewrite(path: Path) -> None:
    """Copy what can be read into a new file of one whole frame, and put that in the place of the old one."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600, like every recording
    try:
        with os.fdopen(number, "wb") as new:
            with (
                zstandard.ZstdCompressor().stream_writer(new, closefd=False) as compressed,
                open_recording(path) as lines,
            ):
                _copy_lines(lines, compressed)
            new.flush()
            os.fsync(new.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _copy_lines(lines: IO[bytes], target: zstandard.ZstdCompressionWriter) -> None:
    while line := lines.readline(MAX_LINE_BYTES):
        if line.endswith(b"\n"):
            target.write(line)
        elif _is_record(line):
            target.write(line + b"\n")
        elif len(line) == MAX_LINE_BYTES:
            raise RecordingError(f"a line is longer than {MAX_LINE_BYTES} bytes")
