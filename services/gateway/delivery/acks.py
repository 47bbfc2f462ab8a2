"""What a client that acknowledges has not acknowledged in time is sent again.

Per thread, from the client's first `ack` on:

    SETTLED --(an event goes out)--> WAITING
    WAITING --(an ack of the newest event)--> SETTLED
    WAITING --(no ack for the timeout)--> WAITING, and everything after the last ack goes out again
    WAITING --(no ack for the timeout after the last try)--> the connection is closed, to be resumed

A client that never sends `ack` is not waited for: TCP delivers, and `resume` mends what a broken connection lost. An
event that comes again is the same to the byte, with the same place in the log, by which the client knows it.
"""

import time
from collections.abc import Callable
from enum import Enum, auto
from typing import final

import anyio

from gateway.delivery.hub import Hub


class Due(Enum):
    """What is to be done about a thread now."""

    NOTHING = auto()
    AGAIN = auto()
    GIVE_UP = auto()


@final
class Acknowledgements:
    """How far one client has acknowledged one thread. Pure: it is told what happened and when.

    Args:
        seq: the place of the first ack.
    """

    __slots__ = ("_since", "_tries", "seq")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        """Everything up to here has arrived."""
        self._since: float | None = None
        self._tries = 0

    def arrived(self, seq: int) -> None:
        """The client has acknowledged this place, and with it everything before."""
        if seq > self.seq:
            self.seq = seq
            self._settle()

    def due(self, sent: int, now: float, *, timeout: float, tries: int) -> Due:
        """What to do at the time `now`, when events up to `sent` were sent. Asked from time to time.

        Args:
            sent: the newest event that went out.
            now: a monotonic clock, in seconds.
            timeout: seconds without progress after which events go out again.
            tries: how often they do, before the client is given up.
        """
        if sent <= self.seq:
            self._settle()
            return Due.NOTHING
        if self._since is None:
            self._since = now
        if now < self._since + timeout:
            return Due.NOTHING
        if self._tries == tries:
            return Due.GIVE_UP
        self._tries += 1
        self._since = now
        return Due.AGAIN

    def _settle(self) -> None:
        self._since = None
        self._tries = 0


@final
class AckWatch:
    """Looks after the acks of all connections.

    Args:
        hub: the connections.
        timeout: seconds without progress after which events go out again.
        tries: how often they do.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, hub: Hub, *, timeout: float, tries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._timeout = timeout
        self._tries = tries
        self._clock = clock

    async def run(self) -> None:
        """Look from time to time until cancelled."""
        while True:
            await anyio.sleep(min(1.0, self._timeout / 4))
            self.look()

    def look(self) -> None:
        """Send again what is overdue, and close what was sent again too often."""
        now = self._clock()
        for connection in self._hub:
            connection.redeliver(now, timeout=self._timeout, tries=self._tries)
