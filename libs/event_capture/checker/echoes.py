"""Stretches of echoes: events that are the same as the one before in all but their numbers.

Streams repeat themselves, delta after delta. What nobody learns anything from is looked at in columns, many events at a
time: are all but their numbers equal, and do their numbers go on as the clauses about numbers want it?
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import repeat
from operator import and_, attrgetter, eq, itemgetter
from typing import Any, Final

from msgspec.structs import astuple

from event_capture.checker.batch import Batch
from event_capture.checker.field_monitors import EPOCH_OF, LAST, NEXT, PLACE, Memory
from event_capture.checker.layout import SEQUENCE

_ALL_BUT_NUMBERS: Final = itemgetter(slice(None, SEQUENCE))
_OF_FRAMES: Final = tuple(map(attrgetter, ("connection", "kind", "direction")))
_sequence: Final = attrgetter("sequence")
_epoch: Final = attrgetter("epoch")
_timestamp: Final = attrgetter("timestamp")
_tzinfo: Final = attrgetter("tzinfo")


def echoes(batch: Batch) -> list[bool]:
    """Which records are the same as the one before in all but their numbers; False at the end stands for no record."""
    heads = list(map(_ALL_BUT_NUMBERS, map(astuple, batch.messages)))
    same = list(map(eq, heads, heads[1:]))
    for read in _OF_FRAMES:
        column = list(map(read, batch.frames))
        if column.count(column[0]) < len(column):
            same = list(map(and_, same, map(eq, column, column[1:])))
    return [False, *same, False]


def go_on(messages: Sequence[Any], counter: Memory, clock: Memory, last: int) -> bool:
    """Take note of the numbers of events, if all of them are ordinary: each the one that is due, or none has any.

    Args:
        messages: the events.
        counter, clock: what their sequence numbers and timestamps are compared with; empty when nobody asks.
        last: the index of the last of them.

    Returns:
        They are. Otherwise nothing is noted.
    """
    sequences = _given(map(_sequence, messages)) if counter else None
    if sequences is not None:
        due = counter[NEXT]
        if (
            due is None
            or {*map(type, sequences)} != {int}
            or sequences != list(range(due, due + len(sequences)))
            or not all(map(eq, map(_epoch, messages), repeat(counter[EPOCH_OF])))
        ):
            return False
    stamps = _given(map(_timestamp, messages)) if clock else None
    if stamps is not None:
        moments = _moments(stamps, clock[NEXT])
        if moments is None:
            return False
        clock[LAST], clock[PLACE], clock[NEXT] = stamps[-1], last, moments[-1]
    if sequences is not None:
        counter[LAST], counter[PLACE], counter[NEXT] = sequences[-1], last, sequences[-1] + 1
    return True


def _given(column: Any) -> list[Any] | None:
    """The numbers of events; None when no event has one."""
    numbers = list(column)
    return None if numbers.count(None) == len(numbers) else numbers


def _moments(stamps: list[Any], due: Any) -> list[Any] | None:
    """What timestamps mean, all of one form that never fall below what is due; None when they are not so."""
    moments = stamps
    if due.__class__ is datetime:
        try:
            moments = list(map(datetime.fromisoformat, stamps))
        except (TypeError, ValueError):
            return None
        if {*map(_tzinfo, moments)} != {UTC}:
            return None
    elif due.__class__ is not int or {*map(type, stamps)} != {int}:
        return None
    rising = [due, *moments]
    return moments if rising == sorted(rising) else None
