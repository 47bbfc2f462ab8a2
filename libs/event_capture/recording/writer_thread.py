"""A thread that owns a recording's file, so that no event loop ever waits for a disk."""

import queue
import tempfile
import threading
from pathlib import Path
from typing import Final, final

from event_capture.errors import EventCaptureError, RecordingWriteError
from event_capture.recording.jsonl import RecordingWriter, read_recording

DEFAULT_MAX_UNWRITTEN_BYTES: Final = 256 * 1024 * 1024
_BATCH_BYTES: Final = 64 * 1024


@final
class WriterThread:
    """Appends lines to a file from a thread of its own. Opened by the thread too: `wait_open` tells how that went.

    Args:
        path: the file; None makes a temporary one that `close` deletes.
        spill_folder: where the temporary file goes; the system's folder by default.
        max_unwritten_bytes: most bytes that may wait for the disk.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        spill_folder: Path | str | None = None,
        max_unwritten_bytes: int = DEFAULT_MAX_UNWRITTEN_BYTES,
    ) -> None:
        self.path = path
        self.found = 0
        """Records that stood in the file before; known once it is open."""
        self._spill_folder = spill_folder
        self._max_unwritten = max_unwritten_bytes
        self._batch = bytearray()
        self._queue: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._handed_over = 0
        self._written = 0
        self._opened = threading.Event()
        self._error: EventCaptureError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="recording-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take one line, newline excluded. Raises RecordingWriteError: the disk is full, or far too slow."""
        self._batch += line
        self._batch += b"\n"
        if len(self._batch) >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the thread. Does not wait for it. Raises like `write`."""
        if self._error is not None:
            raise self._error
        if not self._batch or self._closed:
            return
        if self._handed_over - self._written > self._max_unwritten:
            raise RecordingWriteError(
                f"{self.path}: the disk is slower than the stream, {self._handed_over - self._written} bytes wait;"
                " record to a faster disk or less"
            )
        batch = bytes(self._batch)
        self._batch.clear()
        self._handed_over += len(batch)
        self._queue.put(batch)

    def wait_open(self) -> None:
        """Block until the file is open. Raises RecordingWriteError or RecordingError when it cannot be opened."""
        self._opened.wait()
        if self._error is not None:
            raise self._error

    def sync(self) -> None:
        """Block until everything written so far is in the file. Raises like `write`."""
        self.flush()
        if not self._closed:
            done = threading.Event()
            self._queue.put(done)
            done.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Block until everything is written, then release the file. Closing twice is fine. Raises like `write`."""
        if self._closed:
            return
        self._closed = True
        if self._batch:
            self._queue.put(bytes(self._batch))
            self._batch.clear()
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def discard(self) -> None:
        """Let the thread finish on its own, without waiting for it. For finalizers."""
        self._closed = True
        self._queue.put(None)

    def _run(self) -> None:
        if self.path is not None:
            self._write_to(self.path)
            return
        try:
            with tempfile.TemporaryDirectory(prefix="event-capture-", dir=self._spill_folder) as folder:
                self.path = Path(folder) / "spilled.jsonl"
                self._write_to(self.path)
        except OSError as error:
            self._error = RecordingWriteError(f"no room to spill the recording: {error.strerror or error}")
            self._opened.set()
            self._drain()

    def _write_to(self, path: Path) -> None:
        try:
            writer = RecordingWriter(path)
            if path.is_file():
                self.found = sum(1 for _ in read_recording(path))
        except EventCaptureError as error:
            self._error = error
            self._opened.set()
            self._drain()
            return
        self._opened.set()
        try:
            with writer:
                while (item := self._queue.get()) is not None:
                    if isinstance(item, threading.Event):
                        item.set()
                        continue
                    writer.write_block(item)
                    self._written += len(item)
        except RecordingWriteError as error:
            self._error = error
            self._drain()

    def _drain(self) -> None:
        """Nothing more can be written; let nobody wait for it."""
        while not self._closed or not self._queue.empty():
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, threading.Event):
                item.set()
