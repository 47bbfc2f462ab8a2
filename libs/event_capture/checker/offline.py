"""Checks a file, fast, in bounded memory: piece by piece, decoding only what the contract looks at.

The file is a recording, or bare events: one JSON object per line, as a server streamed them or as it logged them.
Pieces that the fast decoder refuses take the ordinary way, record by record, so that both ways see the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import msgspec

from event_capture.checker.chunk_decoding import Decoder, EventDecoder, RecordDecoder
from event_capture.checker.completeness import Completeness
from event_capture.checker.engine import Checker
from event_capture.checker.verdict import Report
from event_capture.contract.model import Contract
from event_capture.errors import RecordingError
from event_capture.recording import decode_record, open_recording
from event_capture.recording.bare import REFUSALS, bare_event, frame_of, holds_bare_events
from event_capture.recording.jsonl import not_a_record, refuse_foreign
from event_capture.records import Record

CHUNK_BYTES: Final = 128 * 1024
"""How much is read and decoded at a time: few enough that it stays in the cache of the processor."""
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest line that is taken, in bytes."""
_decode_records = msgspec.json.Decoder(Record).decode_lines

Progress = Callable[[int], None]


def check_recording(
    path: Path,
    contract: Contract,
    *,
    complete: bool | None = None,
    progress: Progress | None = None,
    on_truncated: Callable[[int], None] | None = None,
) -> Report:
    """Check a recording on disk in bounded memory.

    Args:
        path: a recording, compressed or not. Bare events will do, too: they are taken for one stream, in the order in
            which they stand, and clauses about time say nothing of them.
        contract: what to check.
        complete: the stream was seen to its end. None: find out from its close records and from its last line.
        progress: called now and then with the bytes read since the last call.
        on_truncated: called with the number of the last line when it was cut off, as a crash leaves it.

    Raises:
        RecordingError: the file cannot be read, or one of its lines is no record.
    """
    refuse_foreign(path)
    try:
        check = _Events(path, contract) if holds_bare_events(path) else _Recording(path, contract)
        with open_recording(path) as stream:
            check.run(stream, progress)
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None
    if check.cut and on_truncated is not None:
        on_truncated(check.cut)
    seen_whole = check.following.complete and not check.cut
    return check.checker.finish(complete=seen_whole if complete is None else complete)


class _Check(ABC):
    """One pass over one file."""

    decoder: Decoder | None
    """Decodes most pieces; None when clauses look at whole messages."""

    def __init__(self, path: Path, checker: Checker) -> None:
        self.path = path
        self.checker = checker
        self.checker.following = self.following = Completeness()
        self.offset = 0
        """Bytes before the piece at hand."""
        self.cut = 0
        """Number of the line that was cut off; 0: none was."""

    def run(self, stream: IO[bytes], progress: Progress | None) -> None:
        for chunk in _chunks(stream, self.path):
            if self.decoder is None or not self.quick(chunk, self.decoder):
                self.ordinary(chunk)
            self.checker.ledger.take()
            self.offset += len(chunk)
            if progress is not None:
                progress(len(chunk))

    def quick(self, chunk: memoryview, decoder: Decoder) -> bool:
        """Check only what the contract looks at. False, and nothing is checked: there is a line that does not fit."""
        lines: list[tuple[int, bytes]] = []

        def read_line(place: int) -> Record:
            if not lines:
                lines.extend((number, line) for number, line in enumerate(_lines(chunk)) if line.strip())
            number, line = lines[place]
            return self.record(line, number)

        try:
            batch = decoder.decode(chunk, read_line)
        except REFUSALS:
            return False
        if batch is not None:
            self.checker.check(batch)
        return True

    @abstractmethod
    def ordinary(self, chunk: memoryview) -> None:
        """Check whole records."""

    @abstractmethod
    def record(self, line: bytes, number: int) -> Record:
        """The record of one line, the n-th of its piece.

        Raises:
            RecordingError: it is none.
        """

    def line_by_line(self, chunk: memoryview) -> None:
        """Check record by record. Only the last line of a file may be cut off."""
        lines = _lines(chunk)
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                record = self.record(line, number)
            except RecordingError:
                if number < len(lines) - 1:
                    raise
                self.cut = self.number(number)
            else:
                self.checker.feed(record)

    def number(self, number: int) -> int:
        """Number, from 1, of the n-th line of the piece at hand."""
        return number + 1 + _newlines(self.path, self.offset)


class _Recording(_Check):
    """A pass over a recording."""

    def __init__(self, path: Path, contract: Contract) -> None:
        super().__init__(path, Checker(contract))
        fields = self.checker.fields
        self.decoder = RecordDecoder(fields) if fields is not None else None

    def ordinary(self, chunk: memoryview) -> None:
        try:
            records = _decode_records(chunk)
        except REFUSALS:
            self.line_by_line(chunk)
        else:
            self.checker.feed_all(records)

    def record(self, line: bytes, number: int) -> Record:
        try:
            return decode_record(line)
        except ValueError as error:
            raise not_a_record(self.path, self.number(number), str(error)) from None


class _Events(_Check):
    """A pass over bare events: received one after the other on one connection, nobody knows when."""

    def __init__(self, path: Path, contract: Contract) -> None:
        super().__init__(path, Checker(contract, timeless=True))
        self.frame = frame_of(path)
        fields = self.checker.fields
        self.decoder = EventDecoder(fields, self.frame) if fields is not None else None

    def ordinary(self, chunk: memoryview) -> None:
        self.line_by_line(chunk)

    def record(self, line: bytes, number: int) -> Record:
        return bare_event(self.frame, line, self.path, self.number(number))


def _chunks(stream: IO[bytes], path: Path) -> Iterator[memoryview]:
    """Pieces of whole lines, each valid until the next is asked for; what comes after the last newline comes last."""
    buffer = bytearray(CHUNK_BYTES)
    filled = 0
    while True:
        if filled == len(buffer):
            if filled > MAX_LINE_BYTES:
                raise RecordingError(f"a line is longer than {MAX_LINE_BYTES} bytes", source=str(path))
            buffer = buffer + bytes(filled)
        view = memoryview(buffer)
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]  # every binary stream has it, IO lacks it
        if not count:
            break
        before, filled = filled, filled + count
        end = buffer.rfind(b"\n", before, filled) + 1
        if end:
            yield view[:end]
            rest = buffer[end:filled]
            filled = len(rest)
            buffer[:filled] = rest
    if filled:
        yield view[:filled]


def _lines(chunk: memoryview) -> list[bytes]:
    return bytes(chunk).split(b"\n")


def _newlines(path: Path, end: int) -> int:
    """Newlines in the first bytes of a recording. Read anew: nobody needs them unless there is an error to tell."""
    count = 0
    with open_recording(path) as stream:
        while end > 0 and (piece := stream.read(min(end, CHUNK_BYTES))):
            count += piece.count(b"\n")
            end -= len(piece)
    return count
