"""Events that came and that nobody has waited for yet. Sans-I/O.

Events are taken by name: each wait takes the next event of its name, so waits may come in any order. When a turn ends,
what came before its end is gone, so that the next turn does not find the leavings of this one.
"""

from collections import deque
from collections.abc import Collection
from typing import Final, final

from event_capture.records import Record

DEFAULT_CAPACITY: Final = 10_000


@final
class Inbox:
    """Pending events by name, bounded: the oldest are forgotten first, and counted.

    Args:
        capacity: most pending events.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: {capacity} is less than 1")
        self._capacity = capacity
        self._pending: dict[str, deque[tuple[int, Record]]] = {}
        self._arrived = 0
        self._size = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return self._size

    def put(self, name: str, record: Record) -> None:
        """An event came."""
        self._arrived += 1
        self._pending.setdefault(name, deque()).append((self._arrived, record))
        self._size += 1
        if self._size > self._capacity:
            self._take_oldest(self._pending)
            self.forgotten += 1

    def take(self, names: Collection[str]) -> Record | None:
        """The oldest pending event of one of these names, which is then no longer pending."""
        found = self._take_oldest(names)
        return found[1] if found is not None else None

    def take_and_end_turn(self, names: Collection[str]) -> Record | None:
        """Like `take`; everything that came before the event is dropped with it."""
        found = self._take_oldest(names)
        if found is None:
            return None
        for name, queue in list(self._pending.items()):
            while queue and queue[0][0] < found[0]:
                queue.popleft()
                self._size -= 1
            if not queue:
                del self._pending[name]
        return found[1]

    def _take_oldest(self, names: Collection[str]) -> tuple[int, Record] | None:
        oldest = min((name for name in names if name in self._pending), key=self._age, default=None)
        if oldest is None:
            return None
        queue = self._pending[oldest]
        found = queue.popleft()
        if not queue:
            del self._pending[oldest]
        self._size -= 1
        return found

    def _age(self, name: str) -> int:
        return self._pending[name][0][0]
