"""Do sequence numbers and timestamps rise? Whole stretches of a stream at once where they do, event by event else.

A clause about numbers looks at every event, and nearly always finds what it expects. A stretch of records on one
connection and thread whose numbers are all in order is recognised by comparing columns; only when it is not, each
event is looked at, and the monitor is asked about those that are out of the ordinary.
"""

from collections.abc import Callable, Sequence
from typing import Any

from event_capture.checker.batch import Batch
from event_capture.checker.directory import Directory
from event_capture.checker.event import Event
from event_capture.checker.layout import EPOCH
from event_capture.checker.scopes import Instance, Line
from event_capture.contract.clauses import Scope

Ask = Callable[[Instance, Event], None]


class Mark:
    """One number to look at in one scope."""

    __slots__ = ("ask", "counts", "field", "memory", "scope")

    def __init__(self, scope: Instance, slot: int, field: int, ask: Ask, *, counts: bool) -> None:
        self.scope = scope
        self.memory: list[Any] = scope.slots[slot]
        """As `MonotonicMonitor.memory` has it."""
        self.field = field
        self.ask = ask
        self.counts = counts
        """A sequence number, each one more than the one before; else a timestamp."""

    def look(self, batch: Batch, place: int, event: Event) -> None:
        """Look at the number of one event, which is the event at hand."""
        memory, value = self.memory, batch.numbers[self.field][place]
        if value is None:
            return
        if self.counts:
            good = value.__class__ is int and value == memory[3] and batch.numbers[EPOCH][place] == memory[2]
            if good:
                memory[3] = value + 1
        elif value.__class__ is str:
            good = len(value) == memory[3] and value >= memory[0] and value[-1] == "Z"
        else:
            good = value.__class__ is int and memory[3] == 0 and value >= memory[0]
        if good:
            memory[0] = value
            memory[1] = event.index
        else:
            self.ask(self.scope, event)

    def passes(self, batch: Batch, start: int, stop: int, last_index: int) -> bool:
        """Take the numbers of a stretch at once, if each of them is good. Otherwise nothing is taken."""
        memory = self.memory
        values = batch.numbers[self.field][start:stop]
        if self.counts:
            good = _counts(values, memory[3]) and batch.numbers[EPOCH][start:stop].count(memory[2]) == len(values)
            if good:
                memory[3] += len(values)
        else:
            good = memory[3] is not None and _never_falls(values, memory[0], memory[3])
        if good:
            memory[0] = values[-1]
            memory[1] = last_index
        return good


def _counts(values: Sequence[Any], expected: int | None) -> bool:
    """The values are the whole numbers from the expected one on."""
    if expected is None:
        return False
    if values != list(range(expected, expected + len(values))):
        return False
    # Fractions and truth values can equal whole numbers. A sum shows fractions, and no truth value is above 1.
    return type(sum(values)) is int if expected > 1 else {*map(type, values)} == {int}


def _never_falls(values: Sequence[Any], last: Any, form: int) -> bool:
    """The values have the form of the last one (see `MonotonicMonitor.ordinary`), and none is less than any before."""
    if form == 0:
        if {*map(type, values)} != {int}:
            return False
    elif not _have_form(values, form):
        return False
    # Sorting what is in order already is the cheapest way to compare neighbours.
    return bool(values[0] >= last) and values == sorted(values)


def _have_form(values: Sequence[Any], length: int) -> bool:
    """All values are texts of this length that end with Z."""
    try:
        text = "\n".join(values)
    except TypeError:
        return False
    # Line breaks at every place where they must be, and nowhere else: each value is as long as it must be.
    stride, breaks = length + 1, len(values) - 1
    return (
        len(text) == stride * len(values) - 1
        and text.count("\n") == breaks
        and text[length::stride] == "\n" * breaks
        and text[length - 1 :: stride] == "Z" * len(values)
    )


class Rising:
    """Looks at the numbers of a batch."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._levels = tuple((find, level) for find, level in directory.finders if level.rising)
        self._by_thread = any(level.scope is Scope.THREAD for _, level in self._levels)
        self.wanted = bool(self._levels)
        """Some clause asks whether numbers rise."""
        self.reach = 0
        """Place of the first record of the batch for which `start` must be called."""
        self.marks: list[Mark] = []
        """What must be looked at event by event until then."""
        self._retired = 0

    @property
    def lost(self) -> bool:
        """A scope has been settled early since `start`, so marks may be of scopes that are gone."""
        return self._retired != self._directory.retired

    def start(self, batch: Batch, streak: int, place: int, line: Line, event: Event) -> None:
        """A stretch begins with the event at hand: look at it, and at all that follow it in the same scopes."""
        self.reach = reach = batch.reach(streak, by_thread=self._by_thread)
        marks: list[Mark] = []
        for find, level in self._levels:
            scope = find(level, line, event)
            if scope.marks is None:
                scope.marks = [Mark(scope, *each, counts=True) for each in level.counters]
                scope.marks += [Mark(scope, *each, counts=False) for each in level.clocks]
            marks += scope.marks
        self._retired = self._directory.retired
        for mark in marks:
            mark.look(batch, place, event)
        start, last_index = place + 1, event.index + reach - place - 1
        if start < reach:
            marks = [mark for mark in marks if not mark.passes(batch, start, reach, last_index)]
        self.marks = marks
