"""Takes requests in on asyncio: notes when each came, and keeps the turns of the loop short while many come at once."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, final

from mock_llm.clock import ControlledClock

MAX_PER_TURN: Final = 8


@final
class Intake:
    """Hands out turns.

    A stream's deadlines count from when its request came. The loop learns of a request only when it polls, so while it
    decides two hundred answers in one turn, requests that come meanwhile would seem to come when that turn ends. Here a
    turn decides a few, polls again, which takes the time of what has come, and goes on with the rest in order.
    """

    __slots__ = ("_arrival", "_clock", "_scheduled", "_served", "_waiting")

    def __init__(self, clock: ControlledClock) -> None:
        self._clock = clock
        self._arrival: float | None = None
        self._scheduled = False
        self._served = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def arrival(self, loop: asyncio.AbstractEventLoop) -> float:
        """When the requests of this turn of the loop came, on the model's clock.

        All that one turn reads was there when the turn began; the last of them does not count from when it was read.
        """
        if self._arrival is None:
            self._arrival = self._clock.now()
            self._schedule(loop)
        return self._arrival

    def offer(self, loop: asyncio.AbstractEventLoop, serve: Callable[[], None]) -> None:
        """Have a request answered, now or in one of the next turns.

        A connection that waits for its turn does not ask again, so what waits is bounded by the connections.
        """
        if self._served < MAX_PER_TURN and not self._waiting:
            self._served += 1
            serve()
        else:
            self._waiting.append(serve)
            self._schedule(loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        self._arrival = None
        self._served = min(MAX_PER_TURN, len(self._waiting))
        if self._served < len(self._waiting):
            self._schedule(loop)
        for _ in range(self._served):
            self._waiting.popleft()()
