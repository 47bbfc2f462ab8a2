"""The frames that wait to be written to one connection, bounded in bytes."""

from collections import deque
from typing import final

import anyio

from gateway.errors import OutboxFullError


@final
class Outbox:
    """A queue from the event loop's callbacks to one writer task.

    Args:
        max_bytes: most UTF-8 bytes that may wait.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = anyio.Event()
        self._drained = anyio.Event()

    @property
    def waiting_bytes(self) -> int:
        """UTF-8 bytes that wait."""
        return self._bytes

    def put(self, frame: str) -> None:
        """Add a frame. Never waits.

        Raises:
            OutboxFullError: the reader has fallen too far behind; the frame was not taken.
        """
        if self._closed:
            return
        size = len(frame) if frame.isascii() else len(frame.encode("utf-8", "surrogatepass"))
        # A single frame is always taken, or a large one could never be sent at all.
        if self._frames and self._bytes + size > self._max_bytes:
            raise OutboxFullError(f"{self._bytes} bytes are unread, the limit is {self._max_bytes}")
        self._frames.append((frame, size))
        self._bytes += size
        self._changed.set()

    async def wait_for_room(self) -> None:
        """Wait until less than half of the budget is used. For writers that can wait, such as a replay."""
        while not self._closed and self._bytes * 2 >= self._max_bytes:
            self._drained = anyio.Event()
            await self._drained.wait()

    def close(self) -> None:
        """Take nothing more; `get` still hands out what waits."""
        self._closed = True
        self._changed.set()
        self._drained.set()

    def discard(self) -> None:
        """Drop what waits and take nothing more."""
        self._frames.clear()
        self._bytes = 0
        self.close()

    async def get(self) -> str | None:
        """The next frame, waiting for it; None once closed and empty."""
        while not self._frames:
            if self._closed:
                return None
            self._changed = anyio.Event()
            await self._changed.wait()
        frame, size = self._frames.popleft()
        self._bytes -= size
        if self._bytes * 2 < self._max_bytes:
            self._drained.set()
        return frame
