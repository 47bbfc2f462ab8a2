"""Time as the streams see it. A test can freeze it and move it by hand."""

import asyncio
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, final

import anyio

SLACK: Final = (
    0.0005  # a loop's timers are good to a millisecond, so what is due within half of one leaves with the rest
)
_MANY: Final = 64  # alarms called off that are worth a sweep


@final
class Alarm:
    """A callback that a clock owes; see ControlledClock.call_at."""

    __slots__ = ("_clock", "callback", "moment")

    def __init__(self, clock: "ControlledClock", moment: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.moment = moment
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Call it off; harmless when it rang."""
        self._clock.forget(self)


@final
class ControlledClock:
    """Runs with the loop's clock until it is frozen; then it moves only by `advance`.

    All alarms hang on one timer of the loop, set for the earliest: two hundred streams that are due together cost one
    wake-up, not two hundred.
    """

    __slots__ = ("_alarms", "_cancelled", "_changed", "_count", "_frozen_at", "_loop", "_ringing", "_shift", "_timer")

    def __init__(self) -> None:
        self._frozen_at: float | None = None
        self._shift = 0.0
        self._alarms: list[tuple[float, int, Alarm]] = []  # a heap; the number keeps equal moments in order
        self._cancelled = 0
        self._count = 0
        self._ringing = False
        self._changed: anyio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: tuple[float, asyncio.TimerHandle] | None = None

    @property
    def frozen(self) -> bool:
        """Whether time stands still."""
        return self._frozen_at is not None

    @property
    def pending(self) -> int:
        """How many alarms are set."""
        return len(self._alarms) - self._cancelled

    @property
    def sleepers(self) -> int:
        """How many streams wait for a frozen clock."""
        return 0 if self._frozen_at is None else self.pending

    def now(self) -> float:
        """Seconds on this clock."""
        if self._frozen_at is not None:
            return self._frozen_at
        if self._loop is not None:
            # The same clock as the loop's, which on uvloop shows milliseconds, and the ones of when its turn began.
            return time.monotonic() + self._shift
        self._loop = running_loop()
        return anyio.current_time() + self._shift

    def due(self) -> float:
        """What is set for this moment or an earlier one leaves now."""
        return self._frozen_at if self._frozen_at is not None else self.now() + SLACK

    def freeze(self) -> None:
        """Stop the clock. Streams that sleep already notice it at once."""
        if self._frozen_at is None:
            self._frozen_at = self.now()
            self._unwind()
            self._notify()

    def thaw(self) -> None:
        """Let the clock run on from where it stands."""
        if self._frozen_at is not None:
            frozen_at, self._frozen_at = self._frozen_at, None
            self._shift = 0.0
            self._shift = frozen_at - self.now()
            self._wind()
            self._notify()

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
        self._ring()

    def call_at(self, moment: float, callback: Callable[[], None]) -> Alarm:
        """Call back when this clock shows the moment, from the event loop; asyncio alone has such a thing.

        On other backends only a frozen clock rings; `sleep_until` serves both.
        """
        self._count += 1
        alarm = Alarm(self, moment, callback)
        heappush(self._alarms, (moment, self._count, alarm))
        if self._timer is None or moment < self._timer[0]:
            self._wind()
        return alarm

    def forget(self, alarm: Alarm) -> None:
        """Take an alarm off the clock."""
        if alarm.callback is None:
            return
        alarm.callback = None
        self._cancelled += 1
        # Clients that come and vanish before a deadline an hour away must not leave their alarms until then.
        if self._cancelled > _MANY and self._cancelled * 2 > len(self._alarms):
            self._alarms = [entry for entry in self._alarms if entry[2].callback is not None]
            heapify(self._alarms)
            self._cancelled = 0

    async def sleep_until(self, moment: float) -> None:
        """Wait until this clock shows the moment, whether it runs, stands or is moved by hand."""
        while (now := self.due()) < moment:
            rung = anyio.Event()
            alarm = self.call_at(moment, rung.set)
            try:
                if self._loop is not None:
                    await rung.wait()
                else:
                    await self._wait(rung, moment - now)
            finally:
                alarm.cancel()

    async def _wait(self, rung: anyio.Event, seconds: float) -> None:
        # Without timers of the loop: sleep while the clock runs, wait for the alarm while it stands.
        if self._frozen_at is not None:
            self._changed = self._changed or anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_first_of, rung, tasks.cancel_scope)
                tasks.start_soon(_first_of, self._changed, tasks.cancel_scope)
            return
        self._changed = self._changed or anyio.Event()
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    def _ring(self) -> None:
        """Ring every alarm that is due, the earliest first."""
        self._timer = None
        due = self.due()
        self._ringing = True
        try:
            while self._alarms and self._alarms[0][0] <= due:
                alarm = heappop(self._alarms)[2]
                callback, alarm.callback = alarm.callback, None
                if callback is None:
                    self._cancelled -= 1
                else:
                    callback()
        finally:
            # A callback that fails must not take the alarms of the others with it.
            self._ringing = False
            self._wind()

    def _wind(self) -> None:
        """Set the timer for the earliest alarm."""
        if self._ringing or self._frozen_at is not None or self._loop is None:
            return
        self._unwind()
        if self._alarms:
            moment = self._alarms[0][0]
            self._timer = (moment, self._loop.call_at(moment - self._shift, self._ring))

    def _unwind(self) -> None:
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of asyncio that runs here, or None when another backend does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _first_of(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
