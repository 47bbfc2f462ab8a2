"""The two clocks of a recording. A parameter everywhere, so that tests decide what time it is."""

import time
from typing import Protocol, final


class Clock(Protocol):
    """Where a record's times come from."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back. Only differences mean anything."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch. May jump when the machine's clock is set."""
        ...


@final
class SystemClock:
    """The clocks of this machine."""

    __slots__ = ()

    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_ns = staticmethod(time.time_ns)
