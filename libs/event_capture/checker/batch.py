"""Records in columns, for the loop that checks them: what repeats is found by whole columns, not event by event."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from itertools import compress, islice
from operator import ne
from typing import Any, final

from event_capture.checker.extraction import What
from event_capture.checker.layout import NAME, THREAD
from event_capture.records import Record

Message = tuple[str, str, What]
"""Of a sent message: the user, the name, and the values."""


class Batch(ABC):
    """Consecutive records of a stream. All columns have the same length."""

    __slots__ = ("bounds", "connections", "moments", "numbers", "odd", "payloads", "whats")

    def __init__(
        self,
        moments: Sequence[int],
        connections: Sequence[str],
        whats: Sequence[What],
        numbers: tuple[Sequence[Any], Sequence[Any], Sequence[Any]],
        odd: Collection[int],
        payloads: Sequence[Any] | None = None,
    ) -> None:
        self.moments = moments
        """Monotonic clock in nanoseconds."""
        self.connections = connections
        self.whats = whats
        self.numbers = numbers
        """Sequence numbers, epochs and timestamps, to be counted from the end like the values of an event."""
        self.odd = odd
        """Places of the records that are no received event. Received events have a name, or else None or ""."""
        self.payloads = payloads
        """Payloads, when clauses look at whole ones."""
        self.bounds = streaks(connections, whats, odd)
        """Where each streak of records that differ in nothing but numbers and moments ends."""

    @abstractmethod
    def record(self, place: int) -> Record:
        """The record itself."""

    @abstractmethod
    def message(self, place: int) -> Message | None:
        """The record as a sent message, when it is one and can be had without the record."""

    def payload(self, place: int) -> Any:
        """The payload of an event; None when no clause looks at whole payloads."""
        return None if self.payloads is None else self.payloads[place]

    def reach(self, streak: int, *, by_thread: bool) -> int:
        """Place of the first record after this streak that is odd, nameless, or on another connection or thread."""
        bounds, odd, whats = self.bounds, self.odd, self.whats
        place = bounds[streak]
        connection, thread = self.connections[place - 1], whats[place - 1][THREAD]
        for bound in islice(bounds, streak + 1, None):
            what = whats[place]
            if (
                self.connections[place] != connection
                or (by_thread and what[THREAD] != thread)
                or place in odd
                or not what[NAME]
            ):
                return place
            place = bound
        return place


@final
class RecordBatch(Batch):
    """Records that are in memory anyway."""

    __slots__ = ("records",)

    def __init__(self, records: Sequence[Record], *columns: Any) -> None:
        super().__init__(*columns)
        self.records = records

    def record(self, place: int) -> Record:
        return self.records[place]

    def message(self, place: int) -> Message | None:  # noqa: ARG002  the record is as good
        return None


def streaks(connections: Sequence[str], whats: Sequence[What], odd: Collection[int]) -> Sequence[int]:
    """Where streaks of equal records end. An odd record is a streak of its own."""
    count = len(whats)
    if count == 1:
        return (1,)
    bounds = [*_changes(whats), count]
    several = connections.count(connections[0]) != count
    if several or odd:
        turns = _changes(connections) if several else ()
        bounds = sorted({*bounds, *turns, *odd, *(place + 1 for place in odd)} - {0})
    return bounds


def _changes(column: Sequence[Any]) -> Iterable[int]:
    """Where a column has another value than right before."""
    return compress(range(1, len(column)), map(ne, column, islice(column, 1, None)))
