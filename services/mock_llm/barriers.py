"""Barriers: a stream waits at one until a test lets it go on."""

from collections import deque
from dataclasses import dataclass, field
from typing import final

import anyio

from mock_llm.errors import BarrierError


@final
@dataclass(slots=True)
class _Barrier:
    waiting: deque[anyio.Event] = field(default_factory=deque)
    arrived: int = 0
    open: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)


@final
class Barriers:
    """The barriers that a scenario names."""

    def __init__(self, names: frozenset[str]) -> None:
        self._barriers = {name: _Barrier() for name in sorted(names)}

    @property
    def names(self) -> tuple[str, ...]:
        """All barriers, sorted."""
        return tuple(self._barriers)

    def waiting(self, name: str) -> int:
        """How many streams wait at a barrier.

        Raises:
            BarrierError: the scenario has no such barrier.
        """
        return len(self._find(name).waiting)

    async def wait_at(self, name: str) -> None:
        """Called by a stream: wait until it is let go."""
        barrier = self._find(name)
        barrier.arrived += 1
        if barrier.open:
            return
        released = anyio.Event()
        barrier.waiting.append(released)
        barrier.changed.set()
        barrier.changed = anyio.Event()
        try:
            await released.wait()
        except BaseException:
            if released in barrier.waiting:
                barrier.waiting.remove(released)
            raise

    async def reached(self, name: str, streams: int = 1) -> None:
        """Called by a test: wait until so many streams wait at the barrier."""
        barrier = self._find(name)
        while len(barrier.waiting) < streams:
            await barrier.changed.wait()

    def release(self, name: str, streams: int | None = None) -> int:
        """Let streams go on, the longest waiting first; None lets all go and leaves the barrier open.

        Returns how many went on.

        Raises:
            BarrierError: the scenario has no such barrier.
        """
        barrier = self._find(name)
        if streams is None:
            barrier.open = True
        count = len(barrier.waiting) if streams is None else min(streams, len(barrier.waiting))
        for _ in range(count):
            barrier.waiting.popleft().set()
        return count

    def close(self, name: str) -> None:
        """Make an open barrier hold streams again."""
        self._find(name).open = False

    def _find(self, name: str) -> _Barrier:
        barrier = self._barriers.get(name)
        if barrier is None:
            known = ", ".join(self._barriers) or "none"
            raise BarrierError(f"the scenario has no barrier {name!r}; it has {known}")
        return barrier
