"""The queue between the event loop, which puts, and one thread, which takes in batches.

Large batches cost least, and whoever comes while one is being written waits for all of it. So while urgent items come,
the batches are short; without them each may be twice as large as the one before.
"""

import math
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Final, Generic, TypeVar, final

T = TypeVar("T")

_SHORT: Final = 8
"""Items of the ordinary line in a batch that comes with urgent ones, or right after such a batch."""


@final
class Lanes(Generic[T]):
    """Two lines: the urgent one is taken whole, from the other one at most `batch_size` at a time."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._limit = batch_size
        self._urgent: deque[T] = deque()
        self._ordinary: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._deadline = math.inf

    def put(self, item: T, *, urgent: bool) -> bool:
        """Add an item at the end of its line. Never waits. False: closed, and not taken."""
        with self._changed:
            if self._closed:
                return False
            (self._urgent if urgent else self._ordinary).append(item)
            self._changed.notify()
            return True

    def take(self) -> list[T]:
        """Wait for items and take them, the urgent ones first. Empty: closed, and everything is taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._urgent or self._ordinary or self._closed)
            batch = list(self._urgent)
            self._urgent.clear()
            self._limit = min(_SHORT if batch else 2 * self._limit, self._batch_size)
            batch += [self._ordinary.popleft() for _ in range(min(self._limit, len(self._ordinary)))]
            return batch

    def withdraw(self, item: T) -> bool:
        """Take back an item. False: it was taken already."""
        with self._changed:
            for line in (self._urgent, self._ordinary):
                # Whoever takes back takes back the oldest: it is found at once.
                with suppress(ValueError):
                    line.remove(item)
                    return True
            return False

    def pause(self, seconds: float) -> bool:
        """Wait for so long, or until the time that `give_up_at` gives. False: that is over."""
        end = time.monotonic() + seconds
        with self._changed:
            while (left := min(end, self._deadline) - time.monotonic()) > 0:
                self._changed.wait(left)
            return time.monotonic() < self._deadline

    def give_up_at(self, deadline: float) -> None:
        """Have pauses end at a time of the monotonic clock, or at an earlier one that was given before."""
        with self._changed:
            self._deadline = min(self._deadline, deadline)
            self._changed.notify()

    def close(self) -> None:
        """Take nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
