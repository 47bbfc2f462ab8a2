"""Time as the streams see it. A test can freeze it and move it by hand."""

import asyncio
from collections.abc import Callable
from typing import final

import anyio


@final
class Alarm:
    """A callback that a clock owes; see ControlledClock.call_at."""

    __slots__ = ("_clock", "callback", "handle", "moment", "number")

    def __init__(self, clock: "ControlledClock", moment: float, number: int, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.moment = moment
        self.number = number
        self.callback = callback
        self.handle: asyncio.TimerHandle | None = None

    def __lt__(self, other: "Alarm") -> bool:
        return (self.moment, self.number) < (other.moment, other.number)

    def cancel(self) -> None:
        """Call it off; harmless when it rang."""
        self._clock.forget(self)

    def ring(self) -> None:
        """Called by the clock when the moment has come."""
        self._clock.forget(self)
        self.callback()


@final
class ControlledClock:
    """Runs with the loop's clock until it is frozen; then it moves only by `advance`."""

    __slots__ = ("_alarms", "_changed", "_count", "_frozen_at", "_loop", "_shift")

    def __init__(self) -> None:
        self._frozen_at: float | None = None
        self._shift = 0.0
        self._alarms: set[Alarm] = set()
        self._count = 0
        self._changed: anyio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def frozen(self) -> bool:
        """Whether time stands still."""
        return self._frozen_at is not None

    @property
    def sleepers(self) -> int:
        """How many streams wait for a frozen clock."""
        return 0 if self._frozen_at is None else len(self._alarms)

    def now(self) -> float:
        """Seconds on this clock."""
        if self._frozen_at is not None:
            return self._frozen_at
        if self._loop is not None:
            return self._loop.time() + self._shift
        self._loop = running_loop()
        return anyio.current_time() + self._shift

    def freeze(self) -> None:
        """Stop the clock. Streams that sleep already notice it at once."""
        if self._frozen_at is None:
            self._frozen_at = self.now()
            for alarm in self._alarms:
                if alarm.handle is not None:
                    alarm.handle.cancel()
                    alarm.handle = None
            self._notify()

    def thaw(self) -> None:
        """Let the clock run on from where it stands."""
        if self._frozen_at is not None:
            frozen_at, self._frozen_at = self._frozen_at, None
            self._shift = 0.0
            self._shift = frozen_at - self.now()
            for alarm in self._alarms:
                self._wind(alarm)
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
        for alarm in sorted(alarm for alarm in self._alarms if alarm.moment <= self._frozen_at):
            alarm.ring()

    def call_at(self, moment: float, callback: Callable[[], None]) -> Alarm:
        """Call back when this clock shows the moment, from the event loop; asyncio alone has such a thing.

        On other backends only a frozen clock rings; `sleep_until` serves both.
        """
        self._count += 1
        alarm = Alarm(self, moment, self._count, callback)
        self._alarms.add(alarm)
        if self._frozen_at is None:
            self._wind(alarm)
        return alarm

    def forget(self, alarm: Alarm) -> None:
        """Take an alarm off the clock."""
        self._alarms.discard(alarm)
        if alarm.handle is not None:
            alarm.handle.cancel()
            alarm.handle = None

    async def sleep_until(self, moment: float) -> None:
        """Wait until this clock shows the moment, whether it runs, stands or is moved by hand."""
        while (now := self.now()) < moment:
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

    def _wind(self, alarm: Alarm) -> None:
        if self._loop is not None:
            alarm.handle = self._loop.call_at(alarm.moment - self._shift, alarm.ring)

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
