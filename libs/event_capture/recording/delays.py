"""Where the time went: on the server, or on the way. And which clocks cannot be trusted.

An event's arrival and its server's timestamp come from two clocks whose difference nobody knows. What is known: the
difference is nearly constant, and no event arrives before it is sent. So the event that was fastest on its connection
is taken as the zero of transport, and every other event's transport delay is how much later than that it came. The
time between two timestamps of the server is the server's alone.

Arrivals are measured with the monotonic clock, so that a wall clock that is set meanwhile changes nothing.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, final

from event_capture.recording.moments import moment_ns
from event_capture.records import Direction, Kind, Record

JUMP_NS: Final = 50_000_000
"""Smallest step between wall and monotonic clock that counts as a jump: no clock discipline slews this much at once."""
_MAX_STEPS: Final = 1000
"""Most clock steps that are kept; the rest are counted."""
_PRECISION: Final = 1.02
"""Buckets of a spread grow by this factor, so its quantiles are exact to two percent."""


class Clock(StrEnum):
    """Which clock went wrong."""

    WALL = "wall"
    """This machine's wall clock was set."""
    MONOTONIC = "monotonic"
    """Records stand in the wrong order: the file was put together, or edited."""
    SERVER = "server"
    """A timestamp of the server is earlier than the one before it on the same connection."""


@final
@dataclass(frozen=True, slots=True)
class ClockStep:
    """A clock that did not simply go on."""

    clock: Clock
    index: int
    """Place of the record in the recording, from 0."""
    connection: str
    step_ns: int
    """By how much; negative is back."""


@final
@dataclass(slots=True)
class Spread:
    """How times are spread, in bounded memory whatever their number."""

    count: int = 0
    largest_ns: int = 0
    total_ns: int = 0
    _buckets: dict[int, int] = field(default_factory=dict)

    def add(self, nanoseconds: int) -> None:
        """Take one time. Raises ValueError when it is negative."""
        if nanoseconds < 0:
            raise ValueError(f"nanoseconds: {nanoseconds} is negative")
        self.count += 1
        self.total_ns += nanoseconds
        self.largest_ns = max(self.largest_ns, nanoseconds)
        bucket = 0 if nanoseconds == 0 else 1 + int(math.log(nanoseconds, _PRECISION))
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def quantile(self, share: float) -> float:
        """The time in nanoseconds that this share of times does not exceed, exact to two percent; 0 without any."""
        if not 0 <= share <= 1:
            raise ValueError(f"share: {share} is not between 0 and 1")
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return 0.0 if bucket == 0 else min(float(self.largest_ns), _PRECISION**bucket)
        return 0.0


@final
@dataclass(slots=True)
class Delays:
    """What was measured of a recording."""

    transport: Spread = field(default_factory=Spread)
    """Per event: how much longer it was on its way than the fastest of its connection."""
    server: Spread = field(default_factory=Spread)
    """Per event: time since the timestamp before it on its connection."""
    arrival: Spread = field(default_factory=Spread)
    """Per event: time since the arrival before it on its connection. Server and transport mixed: what a user sees."""
    unstamped: int = 0
    """Events without a timestamp that could be read."""
    steps: list[ClockStep] = field(default_factory=list)
    """Clocks that did not simply go on, up to a bound."""
    more_steps: int = 0
    """How many more there were."""

    def step(self, step: ClockStep) -> None:
        """Note a clock step."""
        if len(self.steps) < _MAX_STEPS:
            self.steps.append(step)
        else:
            self.more_steps += 1


@dataclass(slots=True)
class _Lane:
    fastest: int | None = None
    """Smallest arrival minus timestamp."""
    arrival: int | None = None
    stamp: int | None = None


def measure_delays(source: Callable[[], Iterable[Record]], read_timestamp: Callable[[Any], Any]) -> Delays:
    """Measure a recording, in two passes and in memory that grows with its connections only.

    Args:
        source: yields the records, anew each time.
        read_timestamp: reads the server's timestamp out of an event's data; None when there is none.
    """
    lanes: dict[str, _Lane] = {}
    for record in source():
        stamp = _stamp(record, read_timestamp)
        if stamp is not None:
            lane = lanes.setdefault(record.connection, _Lane())
            offset = record.monotonic_ns - stamp
            lane.fastest = offset if lane.fastest is None else min(lane.fastest, offset)
    delays = Delays()
    clocks = _Clocks(delays)
    for index, record in enumerate(source()):
        clocks.see(index, record)
        if record.kind is Kind.EVENT and record.direction is Direction.RECEIVED:
            _measure(
                delays, index, record, lanes.setdefault(record.connection, _Lane()), _stamp(record, read_timestamp)
            )
    return delays


def _measure(delays: Delays, index: int, record: Record, lane: _Lane, stamp: int | None) -> None:
    arrival = record.monotonic_ns
    if lane.arrival is not None and arrival >= lane.arrival:
        delays.arrival.add(arrival - lane.arrival)
    lane.arrival = arrival
    if stamp is None:
        delays.unstamped += 1
        return
    if lane.fastest is not None:
        delays.transport.add(arrival - stamp - lane.fastest)
    if lane.stamp is not None:
        if stamp >= lane.stamp:
            delays.server.add(stamp - lane.stamp)
        else:
            delays.step(ClockStep(Clock.SERVER, index, record.connection, stamp - lane.stamp))
    lane.stamp = stamp


def _stamp(record: Record, read_timestamp: Callable[[Any], Any]) -> int | None:
    if record.kind is not Kind.EVENT or record.direction is not Direction.RECEIVED:
        return None
    return moment_ns(read_timestamp(record.data))


class _Clocks:
    """Watches the two clocks of this machine over a whole recording."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._monotonic: int | None = None
        self._skew: int | None = None

    def see(self, index: int, record: Record) -> None:
        if self._monotonic is not None and record.monotonic_ns < self._monotonic:
            back = record.monotonic_ns - self._monotonic
            self._delays.step(ClockStep(Clock.MONOTONIC, index, record.connection, back))
        self._monotonic = record.monotonic_ns
        if record.wall_ns:
            skew = record.wall_ns - record.monotonic_ns
            if self._skew is not None and abs(skew - self._skew) >= JUMP_NS:
                self._delays.step(ClockStep(Clock.WALL, index, record.connection, skew - self._skew))
            self._skew = skew
