"""A clock that moves when it is told to."""

from typing import final


@final
class ManualClock:
    """Both clocks of a recording, under the test's control. Times are nanoseconds."""

    def __init__(self, *, monotonic_ns: int = 0, wall_ns: int = 0) -> None:
        self._monotonic = monotonic_ns
        self._wall = wall_ns

    def monotonic_ns(self) -> int:
        return self._monotonic

    def wall_ns(self) -> int:
        return self._wall

    def advance(self, nanoseconds: int) -> None:
        """Let time pass on both clocks. Raises ValueError for a negative step: a monotonic clock has none."""
        if nanoseconds < 0:
            raise ValueError(f"nanoseconds: {nanoseconds} is negative; use set_wall to move the wall clock back")
        self._monotonic += nanoseconds
        self._wall += nanoseconds

    def set_wall(self, wall_ns: int) -> None:
        """Set the wall clock alone, forwards or back, as an operator or NTP would."""
        self._wall = wall_ns
