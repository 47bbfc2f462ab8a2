"""Do sequence numbers and timestamps rise?

A clause about numbers looks at every event, and nearly always finds what it expects: a sequence number that is the one
before and one, a timestamp of the same form that is no earlier. The loop of `sweep` tests for that itself, given the
monitors' memories; the monitors are asked about what is out of the ordinary.
"""

from typing import Any, Final

from event_capture.checker.directory import Directory
from event_capture.checker.event import Event
from event_capture.checker.field_monitors import Memory
from event_capture.checker.scopes import Line
from event_capture.contract.clauses import Scope

_THREAD = Scope.THREAD
NO_NUMBERS: Final[Memory] = []
"""Stands in for the memory of a monitor of numbers where no clause is about them."""


class Rising:
    """The numbers of one check."""

    def __init__(self, directory: Directory) -> None:
        self._levels = tuple((find, level) for find, level in directory.finders if level.rising)
        self.wanted = bool(self._levels)
        """Some clause asks whether numbers rise."""
        self._counters = [(level.scope is _THREAD, slot) for _, level in self._levels for slot, _ in level.counters]
        self._clocks = [(level.scope is _THREAD, slot) for _, level in self._levels for slot, _ in level.clocks]
        self._by_line = not any(by_thread for by_thread, _ in (*self._counters, *self._clocks))
        """They rise per connection, which remembers them."""
        self._simple = len(self._counters) <= 1 and len(self._clocks) <= 1

    def memories(self, line: Line, thread: Any) -> tuple[Memory, Memory] | None:
        """What the next sequence number and timestamp are compared with, empty where there is nothing to compare.

        None: that is not known yet, or there are several such monitors.
        """
        if line.numbers is not None:
            return line.numbers
        if not self._simple:
            return None
        counter = clock = NO_NUMBERS
        for by_thread, slot in self._counters:
            scope = line.lane.threads.get(thread) if by_thread else line.instance
            if scope is None or not scope.numbered:
                return None
            counter = scope.slots[slot]
        for by_thread, slot in self._clocks:
            scope = line.lane.threads.get(thread) if by_thread else line.instance
            if scope is None or not scope.numbered:
                return None
            clock = scope.slots[slot]
        if self._by_line:
            line.numbers = counter, clock
        return counter, clock

    def look(self, line: Line, event: Event) -> None:
        """Show the numbers of an event, whatever they are, to the monitors."""
        for find, level in self._levels:
            scope = find(level, line, event)
            scope.numbered = True
            for _, see in level.counters:
                see(scope, event)
            for _, see in level.clocks:
                see(scope, event)
