"""Looks after the open connections: one whose token has ended is closed, whatever it is doing."""

import time
from collections.abc import Callable
from typing import final

import anyio

from chat_protocol.close_codes import CloseCode
from gateway.delivery.hub import Hub


@final
class ExpiryWatch:
    """Closes connections when their tokens end.

    Args:
        hub: the connections.
        interval: seconds between two looks.
        wall: the wall clock, in seconds since the Unix epoch.
    """

    def __init__(self, hub: Hub, *, interval: float, wall: Callable[[], float] = time.time) -> None:
        self._hub = hub
        self._interval = interval
        self._wall = wall

    async def run(self) -> None:
        """Look from time to time until cancelled."""
        while True:
            await anyio.sleep(self._interval)
            self.look()

    def look(self) -> None:
        """Close what has ended by now."""
        now = self._wall()
        for connection in self._hub:
            if connection.principal.expires_at <= now:
                connection.close(CloseCode.UNAUTHENTICATED, "the token has expired; get a new one")
