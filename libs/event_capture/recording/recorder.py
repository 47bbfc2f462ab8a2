"""Takes every record of a capture, keeps the newest in memory and all of them on disk, and tells who listens."""

import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

import anyio
import anyio.to_thread

from event_capture.clock import Clock, SystemClock
from event_capture.recording.jsonl import decode_record, encode_record, read_recording
from event_capture.recording.redaction import Redaction
from event_capture.recording.writer_thread import DEFAULT_MAX_UNWRITTEN_BYTES, WriterThread
from event_capture.records import Record

DEFAULT_MAX_RECORDS: Final = 100_000
DEFAULT_MAX_BYTES: Final = 64 * 1024 * 1024

MAX_BATCH_RECORDS: Final = 4096
"""Most records that wait for the end of a read before they are handed to who listens for batches."""

Listener = Callable[[Record], None]
BatchListener = Callable[[Sequence[Record]], object]


@dataclass(frozen=True, slots=True)
class RecorderStatistics:
    """How much a recorder has taken, and where it is."""

    records: int
    """All records so far."""
    bytes: int
    """Their size as JSON lines, in bytes."""
    in_memory: int
    """Records kept in memory."""
    memory_bytes: int
    """Their size as JSON lines, in bytes."""
    spilled: int
    """Records that are on disk only."""


@final
class Recorder:
    """The place every connection of a capture writes to.

    Secrets are replaced first; memory, disk and listeners see the same redacted record. Memory is bounded: what does
    not fit stays on disk, in `path` or else in a temporary file. A thread writes; `add` and `flush` never block.
    Not for use from several threads at once.

    A context manager, plain or async. Without `path` it may be used without one.

    Args:
        path: file to append the recording to (`.zst` at the end compresses it). None keeps it in memory, with a
            temporary file for what does not fit.
        max_records: most records in memory.
        max_bytes: most bytes of records in memory, measured as JSON lines.
        redaction: which fields are secrets.
        clock: where records get their times from.
        spill_folder: where the temporary file goes; the system's folder by default.
        max_unwritten_bytes: most bytes that may wait for the disk.

    Raises, on entering:
        RecordingWriteError: `path` cannot be opened. Later, from `add` and `flush`: the disk is full or too slow.
        RecordingError: `path` holds something that is no recording.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        max_records: int = DEFAULT_MAX_RECORDS,
        max_bytes: int = DEFAULT_MAX_BYTES,
        redaction: Redaction | None = None,
        clock: Clock | None = None,
        spill_folder: Path | str | None = None,
        max_unwritten_bytes: int = DEFAULT_MAX_UNWRITTEN_BYTES,
    ) -> None:
        if max_records < 1:
            raise ValueError(f"max_records: {max_records} is less than 1")
        if max_bytes < 1:
            raise ValueError(f"max_bytes: {max_bytes} is less than 1")
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.redaction = redaction if redaction is not None else Redaction()
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._spill_folder = spill_folder
        self._memory: deque[bytes] = deque()
        # Lines, not records: a quarter of the memory, and nothing for the garbage collector to walk through.
        self._memory_bytes = 0
        self._count = 0
        self._bytes = 0
        self._listeners: list[Listener] = []
        self._batch_listeners: list[BatchListener] = []
        self._batch: list[Record] = []
        """Records that listeners for batches have not heard of."""
        self._holding = False
        self._names = itertools.count(1)
        self._path = Path(path) if path is not None else None
        self._max_unwritten_bytes = max_unwritten_bytes
        self._writer: WriterThread | None = None

    @property
    def path(self) -> Path | None:
        """The file that the recording goes to; None when it stays in memory."""
        return self._path

    @property
    def statistics(self) -> RecorderStatistics:
        return RecorderStatistics(
            records=self._count,
            bytes=self._bytes,
            in_memory=len(self._memory),
            memory_bytes=self._memory_bytes,
            spilled=self._count - len(self._memory),
        )

    def connection_name(self, user: str = "") -> str:
        """A name for the next connection, unique in this recording."""
        number = next(self._names)
        return f"{user}#{number}" if user else f"connection#{number}"

    def hide(self, *secrets: str) -> None:
        """From now on, keep these values (tokens, keys) out of every record. See `Redaction`."""
        self.redaction = self.redaction.hiding(*secrets)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every record from now on, at once and in order. Returns what ends it.

        The listener must be quick and must not raise: it runs where the frame is read.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def subscribe_batches(self, listener: BatchListener) -> Callable[[], None]:
        """Call `listener` with all records of each read from the network together. Returns what ends it.

        For listeners to whom several at once are cheaper, such as `Checker.feed_all`. Records of a driver that does
        not say which belong together come one by one. The listener must be quick and must not raise.
        """
        self._hand_over()
        self._batch_listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._batch_listeners:
                self._hand_over()
                self._batch_listeners.remove(listener)

        return unsubscribe

    def hold(self) -> None:
        """A read from the network begins: what it brings belongs together, until `release`."""
        self._holding = True

    def release(self) -> None:
        """The read is done: hand over what it brought."""
        self._holding = False
        self._hand_over()

    def add(self, record: Record, line: bytes | None = None) -> Record:
        """Take one record. Returns it as it is kept: without secrets.

        Args:
            record: what happened.
            line: the record as JSON, when the caller has it already.
        """
        if line is None:
            line = encode_record(record)
        kept = self.redaction.apply(record, line)
        if kept is not record:
            line = encode_record(kept)
        size = len(line)
        self._count += 1
        self._bytes += size
        self._memory_bytes += size
        self._memory.append(line)
        if self._writer is not None or self._path is not None:
            self._open().write(line)
        if self._memory_bytes > self._max_bytes or len(self._memory) > self._max_records:
            self._spill()
        for listener in self._listeners:
            listener(kept)
        if self._batch_listeners:
            self._batch.append(kept)
            if not self._holding or len(self._batch) >= MAX_BATCH_RECORDS:
                self._hand_over()
        return kept

    def flush(self) -> None:
        """Hand everything to the operating system, so that it outlives this process."""
        if self._writer is not None:
            self._writer.flush()

    def records(self) -> Iterator[Record]:
        """All records of this capture, oldest first. Those that came while it was read are left out.

        Blocks when some are on disk only; on an event loop, read a large capture in a thread.

        Raises:
            RecordingError: what was spilled is gone, because the recorder is closed.
        """
        in_memory = tuple(self._memory)
        spilled = self._count - len(in_memory)
        if spilled and self._writer is not None:
            self._writer.sync()
            path, skipped = self._writer.path, self._writer.found
            if path is not None:
                yield from itertools.islice(read_recording(path), skipped, skipped + spilled)
        yield from map(decode_record, in_memory)

    def open(self) -> Self:
        """Open `path`, when there is one. Blocks. Raises as entering does."""
        if self._path is not None:
            self._open().wait_open()
        return self

    def close(self) -> None:
        """Write what is left and release the file; a temporary one is deleted. Blocks. Closing twice is fine."""
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.open)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):  # what was captured must reach the disk, cancelled or not
            await anyio.to_thread.run_sync(self.close)

    def _hand_over(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            for listener in self._batch_listeners:
                listener(batch)

    def _open(self) -> WriterThread:
        if self._writer is None:
            self._writer = WriterThread(
                self._path, spill_folder=self._spill_folder, max_unwritten_bytes=self._max_unwritten_bytes
            )
            weakref.finalize(self, self._writer.discard)
        return self._writer

    def _spill(self) -> None:
        if self._writer is None:
            writer = self._open()
            for line in self._memory:
                writer.write(line)
        while self._memory and (self._memory_bytes > self._max_bytes or len(self._memory) > self._max_records):
            self._memory_bytes -= len(self._memory.popleft())
