"""A circuit breaker: after repeated failures nobody calls for a while, then one call tries.

    CLOSED --(failures in a row reach the limit)--> OPEN
    OPEN --(the pause is over)--> HALF_OPEN: one trial call
    HALF_OPEN --(the trial succeeds)--> CLOSED
    HALF_OPEN --(the trial fails)--> OPEN

Pure: it is told what happened and when.
"""

from enum import StrEnum
from typing import final


class BreakerState(StrEnum):
    """See the drawing above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@final
class CircuitBreaker:
    """Decides whether a call may be made.

    Args:
        failures: failures in a row that open it.
        pause: seconds it stays open.
    """

    def __init__(self, *, failures: int, pause: float) -> None:
        self._limit = failures
        self._pause = pause
        self._failures = 0
        self._opened_at: float | None = None
        self._trial_under_way = False

    def state(self, now: float) -> BreakerState:
        """The state at the time `now`, in seconds of a monotonic clock."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._opened_at + self._pause else BreakerState.HALF_OPEN

    def retry_after(self, now: float) -> float:
        """Seconds until a call may be tried; 0 when one may be now."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._pause - now)

    def admit(self, now: float) -> bool:
        """Whether a call may be made now. A call that was admitted must be reported with one of the methods below."""
        match self.state(now):
            case BreakerState.CLOSED:
                return True
            case BreakerState.HALF_OPEN if not self._trial_under_way:
                self._trial_under_way = True
                return True
            case _:
                return False

    def succeeded(self) -> None:
        """An admitted call went well."""
        self._failures = 0
        self._opened_at = None
        self._trial_under_way = False

    def failed(self, now: float) -> None:
        """An admitted call failed at the time `now`."""
        self._failures += 1
        if self._trial_under_way or self._failures >= self._limit:
            self._opened_at = now
        self._trial_under_way = False

    def abandoned(self) -> None:
        """An admitted call was given up before it said anything about the other side."""
        self._trial_under_way = False
