"""Monitors of clauses about time: within."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from event_capture.checker.keys import Keyed
from event_capture.checker.monitors import EVERY, Monitor
from event_capture.contract.clauses import Scope, Within, any_of, format_duration, speak_duration

if TYPE_CHECKING:
    from event_capture.checker.event import Event
    from event_capture.checker.plan import Groups
    from event_capture.checker.scopes import Instance


class _WholeMonitor(Monitor[Within]):
    """A budget that every event bears on."""

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.values())


class FirstEventMonitor(_WholeMonitor):
    code = "first-event-too-late"
    opens = True
    ends = True

    def open(self, scope: Instance, event: Event) -> None:
        waited = event.ns - scope.start_ns
        if waited > self.clause.limit_ns:
            self.late(scope, f"the first event came after {speak_duration(waited)}", (event.index,), event.name)

    def end(self, scope: Instance) -> None:
        if scope.first_index < 0 and scope.clocked:
            self.late(scope, "no event came at all", (), "")

    def late(self, scope: Instance, message: str, indices: tuple[int, ...], event: str) -> None:
        self.violate(
            scope,
            message,
            f"the first event within {format_duration(self.clause.limit_ns)}",
            "the user looks at an empty screen: send the first event before the slow work begins",
            indices=indices,
            event=event,
        )


class TotalMonitor(_WholeMonitor):
    code = "total-too-long"
    ends = True

    def __init__(self, clause: Within, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        # A run that must still end goes on while nothing comes. Other scopes last as long as their events do.
        self.awaits_end = scope is Scope.RUN and bool(groups.vocabulary.ends)

    def memory(self) -> Any:
        return False

    def end(self, scope: Instance) -> None:
        self.measure(scope, scope.last_ns)

    def overdue(self, scope: Instance, now_ns: int) -> None:
        if self.awaits_end and scope.first_index >= 0:
            self.measure(scope, now_ns)

    def measure(self, scope: Instance, now_ns: int) -> None:
        took = now_ns - scope.start_ns
        if took > self.clause.limit_ns and not scope.slots[self.slot]:
            scope.slots[self.slot] = True
            self.violate(
                scope,
                f"the {self.scope} took {speak_duration(took)}",
                f"at most {format_duration(self.clause.limit_ns)} from start to end",
                "look at the gaps in the timeline for the slow part",
                indices=(scope.last_index,) if scope.last_index >= 0 else (),
                event=scope.last_name,
            )


class GapMonitor(_WholeMonitor):
    code = "gap-too-long"
    watched = EVERY

    def see(self, scope: Instance, event: Event) -> None:
        waited = event.ns - scope.last_ns
        if waited > self.clause.limit_ns and scope.last_index >= 0:
            self.violate(
                scope,
                f"{speak_duration(waited)} of silence before {event.name}",
                f"an event at least every {format_duration(self.clause.limit_ns)}",
                "send progress while slow work goes on",
                indices=(scope.last_index, event.index),
                event=event.name,
            )


class SpanMonitor(Monitor[Within]):
    """From one event to another, told apart by a key."""

    code = "too-slow"
    ends = True
    lazy = True

    def __init__(
        self,
        clause: Within,
        index: int,
        scope: Scope,
        groups: Groups,
        *,
        start: tuple[str, ...],
        stop: tuple[str, ...],
        by: tuple[tuple[str, ...], ...],
    ) -> None:
        super().__init__(clause, index, scope, groups)
        self.silent_without = groups.bit(start)
        self.start = start
        self.stop = stop
        self.watched = tuple(dict.fromkeys((*start, *stop)))
        self.key = Keyed(by, groups)
        self.starts = frozenset(start)
        self.stops = frozenset(stop)
        self.looks_at = self.key.words
        self.mute = 0
        """Events that could have started the clock, but for the want of a key."""

    def see(self, scope: Instance, event: Event) -> None:
        key = self.key.read(event.values)
        if key is None:
            self.mute += event.name in self.starts
            return
        running: dict[Any, tuple[int, int]] | None = scope.slots[self.slot]
        if running is None:
            running = scope.slots[self.slot] = {}
        if event.name in self.stops:
            began = running.pop(key, None)
            if began is not None and event.ns - began[0] > self.clause.limit_ns:
                took = speak_duration(event.ns - began[0])
                self.slow(
                    scope, f"{any_of(self.stop)} came {took} after its {any_of(self.start)}", (began[1], event.index)
                )
        if event.name in self.starts and key not in running:
            running[key] = (event.ns, event.index)

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.get(name, 0) for name in self.start) - self.mute

    def overdue(self, scope: Instance, now_ns: int) -> None:
        running: dict[Any, tuple[int, int]] = scope.slots[self.slot] or {}
        for key, (began, index) in list(running.items()):
            if now_ns - began > self.clause.limit_ns:
                del running[key]
                waited = speak_duration(now_ns - began)
                self.slow(scope, f"{any_of(self.stop)} has not come {waited} after its {any_of(self.start)}", (index,))

    def end(self, scope: Instance) -> None:
        for _, index in (scope.slots[self.slot] or {}).values():
            self.slow(scope, f"{any_of(self.stop)} never came after its {any_of(self.start)}", (index,))

    def slow(self, scope: Instance, message: str, indices: tuple[int, ...]) -> None:
        self.violate(
            scope,
            message,
            f"{any_of(self.stop)} within {format_duration(self.clause.limit_ns)} of its {any_of(self.start)}",
            "find out what it waits for, or raise the budget",
            indices=indices,
            pointer=self.key.pointer,
            event=self.stop[0],
        )
