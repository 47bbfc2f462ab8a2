"""Monitors of clauses about pairs and time: pair, within."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from event_capture.checker.monitors import EVERY, Monitor
from event_capture.contract.clauses import Pair, Scope, Within, any_of, format_duration, speak_duration
from event_capture.vocabulary.pointer import format_path, format_pointer

if TYPE_CHECKING:
    from event_capture.checker.engine import Event
    from event_capture.checker.plan import Groups
    from event_capture.checker.scopes import Instance

_CLOSED = -1


class _Keyed:
    """Reads the key that tells overlapping pairs apart."""

    def __init__(self, by: tuple[tuple[str, ...], ...], groups: Groups) -> None:
        self.fields = tuple(groups.path(steps) for steps in by)
        self.single = self.fields[0] if len(self.fields) == 1 else -1
        self.words = " and ".join(map(format_path, by))
        self.pointer = format_pointer(by[0]) if by else ""

    def of(self, event: Event) -> Any:
        """The key; None when the event lacks it. Pairs without keys all have the same one."""
        if self.single >= 0:
            return event.values[self.single]
        if not self.fields:
            return ""
        # The first part must be there; the others tell apart by being absent, too.
        key = tuple(event.values[field] for field in self.fields)
        return None if key[0] is None else key


class PairMonitor(Monitor[Pair]):
    ends = True

    def __init__(self, clause: Pair, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.watched = tuple(dict.fromkeys((*clause.open, *clause.close, *clause.around)))
        self.key = _Keyed(clause.by, groups)
        self.reads = self.key.fields
        self.openers = frozenset(clause.open)
        self.closers = frozenset(clause.close)

    def memory(self) -> Any:
        return {}

    def see(self, scope: Instance, event: Event) -> None:
        key = self.key.of(event)
        if key is None:
            self.keyless(scope, event)
            return
        open_at: dict[Any, int] = scope.slots[self.slot]
        state = open_at.get(key)
        if event.name in self.openers:
            if state is not None and (state >= 0 or not self.clause.reusable):
                self.reopened(scope, event, key, state)
            open_at[key] = event.index
        elif state is None or state < 0:
            self.orphan(scope, event, key, state)
        elif event.name in self.closers:
            # A key that may come again needs no memory; one that may not is remembered as closed, with its place.
            if self.clause.reusable or not self.key.fields:
                del open_at[key]
            else:
                open_at[key] = _CLOSED - event.index

    def end(self, scope: Instance) -> None:
        for key, index in scope.slots[self.slot].items():
            if index >= 0:
                self.violate(
                    scope,
                    f"{self.name(key)} began with {any_of(self.clause.open)}, "
                    f"and its {any_of(self.clause.close)} never came",
                    f"one {any_of(self.clause.close)} for each {any_of(self.clause.open)}",
                    "an error path ends without closing, or the closing event was lost",
                    code="unclosed-pair",
                    indices=(index,),
                    pointer=self.key.pointer,
                    event=self.clause.close[0],
                )

    def name(self, key: Any) -> str:
        return f"the pair of {self.key.words} {key!r:.80}" if self.key.fields else "the pair"

    def keyless(self, scope: Instance, event: Event) -> None:
        self.violate(
            scope,
            f"{event.name} has no {self.key.words}",
            f"{event.name} says which {any_of(self.clause.open)} it belongs to",
            f"send {self.key.words} with it",
            code="pair-without-key",
            indices=(event.index,),
            pointer=self.key.pointer,
            event=event.name,
        )

    def reopened(self, scope: Instance, event: Event, key: Any, state: int) -> None:
        is_open = state >= 0
        self.violate(
            scope,
            f"{event.name} came again for {self.name(key)}, which "
            + ("is still open" if is_open else "is closed already"),
            f"one {any_of(self.clause.open)} for each key",
            "the event is sent twice, or the id is used again",
            code="reopened-pair",
            indices=(state if is_open else _CLOSED - state, event.index),
            pointer=self.key.pointer,
            event=event.name,
        )

    def orphan(self, scope: Instance, event: Event, key: Any, state: int | None) -> None:
        closing = event.name in self.closers
        if state is None:
            message = f"{event.name} came for {self.name(key)}, which never began"
            code = "orphan-event"
        else:
            message = f"{event.name} came {'again ' if closing else ''}for {self.name(key)}, which is closed already"
            code = "closed-twice" if closing else "orphan-event"
        self.violate(
            scope,
            message,
            f"{event.name} only between {any_of(self.clause.open)} and {any_of(self.clause.close)}"
            if not closing
            else f"exactly one {event.name} after its {any_of(self.clause.open)}",
            "the opening event was lost, or this one is sent twice or with a wrong id",
            code=code,
            indices=(event.index,) if state is None else (_CLOSED - state, event.index),
            pointer=self.key.pointer,
            event=event.name,
        )


class FirstEventMonitor(Monitor[Within]):
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


class TotalMonitor(Monitor[Within]):
    code = "total-too-long"
    ends = True

    def memory(self) -> Any:
        return False

    def end(self, scope: Instance) -> None:
        self.overdue(scope, scope.last_ns)

    def overdue(self, scope: Instance, now_ns: int) -> None:
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


class GapMonitor(Monitor[Within]):
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
        self.start = start
        self.stop = stop
        self.watched = tuple(dict.fromkeys((*start, *stop)))
        self.key = _Keyed(by, groups)
        self.reads = self.key.fields
        self.starts = frozenset(start)
        self.stops = frozenset(stop)

    def memory(self) -> Any:
        return {}

    def see(self, scope: Instance, event: Event) -> None:
        key = self.key.of(event)
        if key is None:
            return
        running: dict[Any, tuple[int, int]] = scope.slots[self.slot]
        if event.name in self.stops:
            began = running.pop(key, None)
            if began is not None and event.ns - began[0] > self.clause.limit_ns:
                took = speak_duration(event.ns - began[0])
                self.slow(
                    scope, f"{any_of(self.stop)} came {took} after its {any_of(self.start)}", (began[1], event.index)
                )
        if event.name in self.starts and key not in running:
            running[key] = (event.ns, event.index)

    def overdue(self, scope: Instance, now_ns: int) -> None:
        running: dict[Any, tuple[int, int]] = scope.slots[self.slot]
        for key, (began, index) in list(running.items()):
            if now_ns - began > self.clause.limit_ns:
                del running[key]
                waited = speak_duration(now_ns - began)
                self.slow(scope, f"{any_of(self.stop)} has not come {waited} after its {any_of(self.start)}", (index,))

    def end(self, scope: Instance) -> None:
        for _, index in scope.slots[self.slot].values():
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
