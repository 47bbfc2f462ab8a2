"""Time as the streams see it. A test can freeze it and move it by hand."""

import asyncio
import heapq
from typing import Protocol, final

import anyio
import sniffio


class Clock(Protocol):
    """What paces a stream."""

    def now(self) -> float:
        """Seconds on this clock."""

    async def sleep_until(self, moment: float) -> None:
        """Wait until the clock shows `moment`. Cancellation leaves nothing behind."""


@final
class SystemClock:
    """The event loop's own clock."""

    __slots__ = ()

    def now(self) -> float:
        """Seconds on the loop's clock."""
        return anyio.current_time()

    async def sleep_until(self, moment: float) -> None:
        """Wait for the moment; returns after one scheduling point when it is past."""
        await anyio.sleep_until(moment)


@final
class ControlledClock:
    """Runs with the loop's clock until it is frozen; then it moves only by `advance`."""

    __slots__ = ("_dozing", "_frozen_at", "_loop", "_sequence", "_shift", "_sleepers", "_thawed")

    def __init__(self) -> None:
        self._frozen_at: float | None = None
        self._shift = 0.0
        self._sleepers: list[tuple[float, int, anyio.Event]] = []
        self._sequence = 0
        self._thawed: anyio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dozing: set[asyncio.Future[None]] = set()

    @property
    def frozen(self) -> bool:
        """Whether time stands still."""
        return self._frozen_at is not None

    @property
    def sleepers(self) -> int:
        """How many streams wait for a frozen clock."""
        return sum(not event.is_set() for _, _, event in self._sleepers)

    def now(self) -> float:
        """Seconds on this clock."""
        if self._frozen_at is not None:
            return self._frozen_at
        if self._loop is not None:
            return self._loop.time() + self._shift
        if sniffio.current_async_library() == "asyncio":
            self._loop = asyncio.get_running_loop()
        return anyio.current_time() + self._shift

    def freeze(self) -> None:
        """Stop the clock. Streams that sleep already notice it at once."""
        if self._frozen_at is None:
            self._frozen_at = self.now()
            for future in self._dozing:
                _wake(future)
            if self._thawed is not None:
                self._thawed.set()
                self._thawed = None

    def thaw(self) -> None:
        """Let the clock run on from where it stands."""
        if self._frozen_at is not None:
            self._shift = self._frozen_at - anyio.current_time()
            self._frozen_at = None
            for _, _, event in self._sleepers:
                event.set()
            self._sleepers.clear()

    def advance(self, seconds: float) -> None:
        """Move a frozen clock on and wake what is due, in the order of the deadlines.

        Raises:
            ValueError: the clock runs, or `seconds` is negative.
        """
        if self._frozen_at is None:
            raise ValueError("the clock runs; freeze it before you advance it")
        if seconds < 0:
            raise ValueError(f"a clock does not go back; {seconds} is negative")
        self._frozen_at += seconds
        while self._sleepers and self._sleepers[0][0] <= self._frozen_at:
            heapq.heappop(self._sleepers)[2].set()

    async def sleep_until(self, moment: float) -> None:
        """Wait until this clock shows the moment, whether it runs, stands or is moved by hand."""
        while self.now() < moment:
            if self._frozen_at is None:
                await self._sleep_running(moment)
            else:
                await self._sleep_frozen(moment)

    async def _sleep_running(self, moment: float) -> None:
        loop = self._loop
        if loop is not None:
            # A future and a timer cost a fifth of a scope and an event; thousands of pieces per second pass here.
            future = loop.create_future()
            timer = loop.call_at(moment - self._shift, _wake, future)
            self._dozing.add(future)
            try:
                await future
            finally:
                timer.cancel()
                self._dozing.discard(future)
            return
        changed = self._thawed = self._thawed or anyio.Event()
        with anyio.CancelScope(deadline=moment - self._shift):
            await changed.wait()

    async def _sleep_frozen(self, moment: float) -> None:
        self._sequence += 1
        sleeper = (moment, self._sequence, anyio.Event())
        heapq.heappush(self._sleepers, sleeper)
        try:
            await sleeper[2].wait()
        except BaseException:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            raise


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
