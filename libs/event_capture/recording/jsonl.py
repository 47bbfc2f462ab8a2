"""A recording on disk: one JSON object per line, one line per record, appended and never rewritten.

A process that dies leaves at most one unfinished line, the last; everything before it reads as usual. The same holds
for the compressed form, a zstd stream (RFC 8878) that is flushed block by block.
"""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, final

import msgspec
import zstandard

from event_capture.errors import RecordingError, RecordingWriteError
from event_capture.records import Record

ZSTD_SUFFIX: Final = ".zst"
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest line that is read, in bytes. A longer one is no record of ours and would only fill the memory."""
_BUFFER_BYTES: Final = 64 * 1024
_FOREIGN_SUFFIXES: Final = (".har", ".sse")
_IMPORT: Final = "run `streamproof import`"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def encode_record(record: Record) -> bytes:
    """Write one record as a line of JSON, newline excluded. Whatever is written can be read again.

    Half of a surrogate pair, which UTF-8 has no bytes for, is written out as the text of its escape (`\\ud800`).
    """
    try:
        return _encode(record)
    except UnicodeEncodeError:
        return _encode(_writable(msgspec.to_builtins(record)))


def _writable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {_writable(key): _writable(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_writable(inner) for inner in value]
        case _:
            return value


def decode_record(line: bytes | str) -> Record:
    """Read one line.

    Raises:
        ValueError: the line is not a record; the message says why.
    """
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_recording(
    source: Path | str,
    *,
    on_truncated: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Record]:
    """Read a recording record by record, in bounded memory.

    Args:
        source: file to read; a name that ends in `.zst` is decompressed.
        on_truncated: called with the number of the last line when it was cut off, as a crash leaves it. The lines
            before it are good, so this is a fact about the recording and not an error.
        progress: called with the bytes of each line.
        max_line_bytes: longest line that is taken, in bytes.

    Raises:
        RecordingError: the file cannot be opened or read, or a line that is not the last is no record.
    """
    path = Path(source)
    refuse_foreign(path)
    try:
        with open_recording(path) as stream:
            yield from _records(path, stream, on_truncated, progress, max_line_bytes)
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None


def refuse_foreign(path: Path) -> None:
    """Raise RecordingError for a file whose name says that another tool wrote it."""
    name = path.name.removesuffix(ZSTD_SUFFIX)
    if Path(name).suffix.lower() in _FOREIGN_SUFFIXES and path.is_file():
        raise RecordingError("not a recording of this tool", source=str(path), fix=f"{_IMPORT} first: {path.name}")


def not_a_record(path: Path, line: int, reason: str) -> RecordingError:
    """The error of a line that is no record."""
    fix = f"if another tool wrote the file, {_IMPORT} first" if line == 1 else ""
    return RecordingError(f"not a record: {reason}", source=str(path), line=line, fix=fix)


def open_recording(path: Path) -> IO[bytes]:
    """Open a file for reading line by line, decompressed when its name ends in `.zst`. A cut end reads as the end."""
    raw = path.open("rb")
    if path.suffix != ZSTD_SUFFIX:
        return raw
    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=True)
    return io.BufferedReader(_Decompressed(reader, path), _BUFFER_BYTES)


def _records(
    path: Path,
    stream: IO[bytes],
    on_truncated: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
    max_line_bytes: int,
) -> Iterator[Record]:
    number = 0
    while line := stream.readline(max_line_bytes + 1):
        number += 1
        if progress is not None:
            progress(len(line))
        if len(line) > max_line_bytes:
            raise RecordingError(f"the line is longer than {max_line_bytes} bytes", source=str(path), line=number)
        if not line.strip():
            continue
        try:
            record = _decode(line)
        except (ValueError, RecursionError):
            if not line.endswith(b"\n"):
                if on_truncated is not None:
                    on_truncated(number)
                return
            raise not_a_record(path, number, _reason(line)) from None
        yield record


def _reason(line: bytes) -> str:
    try:
        decode_record(line)
    except ValueError as error:
        return str(error)
    return "unreadable"


class _Decompressed(io.RawIOBase):
    """Bytes of a zstd stream, ending quietly where the stream was cut off."""

    def __init__(self, reader: zstandard.ZstdDecompressionReader, path: Path) -> None:
        self._reader = reader
        self._path = path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._reader.read(len(buffer))
        except zstandard.ZstdError as error:
            raise RecordingError(f"not a zstd stream: {error}", source=str(self._path)) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._reader.close()  # type: ignore[no-untyped-call]  # zstandard ships no annotation for it
        super().close()


@final
class RecordingWriter:
    """Appends lines to a file. `flush` hands everything written so far to the operating system.

    It blocks, so it has no place on an event loop; `WriterThread` runs it there.

    Args:
        path: file to append to, made with mode 0600 because recordings hold what users said. A name that ends in
            `.zst` is compressed.

    Raises:
        RecordingWriteError: the file cannot be opened, or a write fails (a full disk).
        RecordingError: the file exists and is no recording.
    """

    def __init__(self, path: Path | str) -> None:
        from event_capture.recording.mending import mend  # which reads and writes recordings

        self.path = Path(path)
        self.compressed = self.path.suffix == ZSTD_SUFFIX
        self._buffer = bytearray()
        self._compressor = zstandard.ZstdCompressor().compressobj() if self.compressed else None
        try:
            mend(self.path)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RecordingWriteError(f"{self.path}: cannot be opened: {error.strerror or error}") from None
        self._closed = False

    def write(self, line: bytes) -> None:
        """Append one line, newline excluded."""
        self._buffer += line
        self._buffer += b"\n"
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()

    def write_block(self, lines: bytes) -> None:
        """Append whole lines, newlines included, and flush."""
        self._buffer += lines
        self.flush()

    def flush(self) -> None:
        """Make everything written so far readable to others."""
        if not self._buffer or self._closed:
            return
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._compressor is not None:
            data = self._compressor.compress(data) + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        self._write_all(data)

    def close(self) -> None:
        """Flush and close. Closing twice is fine."""
        if self._closed:
            return
        try:
            self.flush()
            if self._compressor is not None:
                self._write_all(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH))
        finally:
            self._closed = True
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise RecordingWriteError(f"{self.path}: cannot be written: {error.strerror or error}") from None
