"""The queue between the event loop, which puts, and one thread, which takes in batches.

Large batches cost least, and whoever comes while one is being written waits for all of it. So a
batch is a part of what waits: short after a burst, and as large as need be for a line that grows because batches take
long.
"""

import threading
import time
from collections import deque
from typing import Final, Generic, TypeVar, final

T = TypeVar("T")

_PART: Final = 4
"""A batch takes one in so many from the ordinary line."""
_LEAST: Final = 12
"""But at least so many, when there are."""


@final
class Lanes(Generic[T]):
    """Two lines: the urgent one is taken whole, from the other one at most `batch_size` at a time."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._urgent: deque[T] = deque()
        self._ordinary: deque[T] = deque()
        self._changed = threading.Condition()
        self._deadline: float | None = None

    def put(self, item: T, *, urgent: bool) -> bool:
        """Add an item at the end of its line. Never waits. False: closed, and not taken."""
        with self._changed:
            if self._deadline is not None:
                return False
            (self._urgent if urgent else self._ordinary).append(item)
            self._changed.notify()
            return True

    def take(self) -> list[T]:
        """Wait for items and take them, the urgent ones first. Empty: closed, and everything is taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._urgent or self._ordinary or self._deadline is not None)
            batch = list(self._urgent)
            self._urgent.clear()
            waiting = len(self._ordinary)
            most = min(max(_LEAST, waiting // _PART), waiting, self._batch_size)
            batch += [self._ordinary.popleft() for _ in range(most)]
            return batch

    def pause(self, seconds: float) -> bool:
        """Wait for so long, or until the time that `close` gives. False: that is over."""
        end = time.monotonic() + seconds
        with self._changed:
            while (left := min(end, self._deadline or end) - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._deadline is None or time.monotonic() < self._deadline

    def close(self, deadline: float) -> None:
        """Take nothing more. Pauses end at `deadline`, a time of the monotonic clock."""
        with self._changed:
            self._deadline = deadline
            self._changed.notify()
