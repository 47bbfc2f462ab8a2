"""When the next bytes of one direction may leave, and how many. Pure: no sockets, no clock of its own.

The order in which faults apply: a cut or a stall that is due, then the delay, then the pace, then the size of a write.
A write never crosses the byte at which a stall or a cut is due, so both act on the exact byte.
"""

from dataclasses import dataclass
from typing import Final, final

from fault_proxy.faults import Cut, Faults

__all__ = ["CutNow", "Decision", "Hold", "Pass", "Shaper", "Wait"]

# A paced flow leaves in portions of this many seconds, at least a byte each: smooth, and not a write per byte.
PORTION_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Pass:
    """Up to `size` bytes may leave now."""

    size: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may leave for `seconds`; ask again then, or when a fault or the data changed."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing may leave until a fault or the data changes."""


@dataclass(frozen=True, slots=True)
class CutNow:
    """The connection ends here."""

    kind: Cut


Decision = Pass | Wait | Hold | CutNow
HOLD: Final = Hold()


@final
class Shaper:
    """The state of one direction: how much has left, and when the next portion may."""

    def __init__(self) -> None:
        self.passed = 0
        self._next_at = float("-inf")

    def decide(self, faults: Faults, *, waiting: int, arrived_at: float, now: float) -> Decision:
        """What to do with `waiting` bytes, the oldest of which arrived at `arrived_at`; seconds of one clock."""
        if faults.cut_after is not None and self.passed >= faults.cut_after:
            return CutNow(faults.cut)
        if faults.stall_after is not None and self.passed >= faults.stall_after:
            return HOLD
        if waiting == 0:
            return HOLD
        due = arrived_at + faults.delay
        if faults.bytes_per_second is not None:
            due = max(due, self._next_at)
        if due > now:
            return Wait(due - now)
        return Pass(self._size(faults, waiting))

    def may_finish(self, faults: Faults, *, arrived_at: float, now: float) -> Decision | None:
        """None when the end of the stream, which arrived at `arrived_at`, may leave now; else what to do instead."""
        decision = self.decide(faults, waiting=1, arrived_at=arrived_at, now=now)
        return None if isinstance(decision, Pass) else decision

    def left(self, size: int, faults: Faults, now: float) -> None:
        """Takes note that `size` bytes left at `now`."""
        self.passed += size
        if faults.bytes_per_second is not None:
            self._next_at = max(self._next_at, now) + size / faults.bytes_per_second

    def _size(self, faults: Faults, waiting: int) -> int:
        limits = [waiting]
        if faults.split is not None:
            limits.append(faults.split)
        if faults.bytes_per_second is not None:
            limits.append(max(1, int(faults.bytes_per_second * PORTION_SECONDS)))
        limits.extend(end - self.passed for end in (faults.stall_after, faults.cut_after) if end is not None)
        return min(limits)
