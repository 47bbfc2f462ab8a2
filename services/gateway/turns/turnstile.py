"""Keeps the event loop's rounds short when hundreds of turns have something to do at once.

A step of a turn is its beginning, a question to the model, or a piece of an answer that has come. Whoever accepts
messages, sends events or answers pings has to wait for all steps in the same round of the event loop. So one step is
made in each round, and the others stand in line: under load, turns take as long as they would anyway, and what is short
stays short. New messages are accepted and told of at once, however many turns are under way.
"""

from collections import deque
from typing import final

import anyio
from anyio import Event
from anyio.lowlevel import checkpoint


@final
class Turnstile:
    """Lets one task pass in each round of the event loop, in the order in which they came."""

    def __init__(self) -> None:
        self._line: deque[Event] = deque()

    @property
    def waiting(self) -> int:
        """Tasks in the line. There are never more than turns that run."""
        return len(self._line)

    async def enter(self) -> None:
        """Wait for this task's round, at least for the next one. Cancellation leaves the line."""
        place = anyio.Event()
        self._line.append(place)
        try:
            if len(self._line) > 1:
                await place.wait()
            else:
                await checkpoint()
        finally:
            self._line.remove(place)
            if self._line:
                # Whoever is woken runs in the next round, not in this one.
                self._line[0].set()
