"""Monitors of clauses about events that belong together: pair, refer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from event_capture.checker.keys import Keyed
from event_capture.checker.monitors import Monitor
from event_capture.contract.clauses import Pair, Refer, Scope, any_of
from event_capture.vocabulary.pointer import format_path, format_pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_capture.checker.event import Event
    from event_capture.checker.plan import Groups
    from event_capture.checker.scopes import Instance

_CLOSED: Final = -1
MAX_KEYS: Final = 100_000
"""Most keys that are remembered per scope for references. What is forgotten is taken for known."""


class PairMonitor(Monitor[Pair]):
    ends = True
    lazy = True

    def __init__(self, clause: Pair, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.watched = tuple(dict.fromkeys((*clause.open, *clause.close, *clause.around)))
        self.key = Keyed(clause.by, groups)
        self.read = self.key.read
        self.reusable = clause.reusable
        self.forgetful = clause.reusable or not self.key.fields
        self.silent_without = groups.bit(clause.open)
        self.openers = frozenset(clause.open)
        self.closers = frozenset(clause.close)
        self.keeping = groups.path(clause.keeping) if clause.keeping else -1
        self.abandoned_bit = groups.bit(clause.abandoned) if clause.abandoned else 0
        self.looks_at = format_path(clause.keeping) if clause.keeping else ""

    def found(self, scope: Instance) -> bool:
        memory = scope.slots[self.slot]
        return self.keeping < 0 or (memory is not None and any(value is not None for value in memory[1].values()))

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.get(name, 0) for name in self.watched or ())

    def repeats(self, name: str) -> bool:
        return name not in self.openers and name not in self.closers

    def see(self, scope: Instance, event: Event) -> None:
        self.seer(event.name)(scope, event)

    def seer(self, name: str) -> Callable[[Instance, Event], None]:
        if name in self.openers:
            return self.opened
        return self.closed if name in self.closers else self.inside

    def opened(self, scope: Instance, event: Event) -> None:
        key = self.read(event.values)
        if key is None:
            self.keyless(scope, event)
            return
        # Where each key was opened (or, negative, closed), and what its first opener had at `keeping`.
        memory: tuple[dict[Any, int], dict[Any, Any]] | None = scope.slots[self.slot]
        if memory is None:
            memory = scope.slots[self.slot] = ({}, {})
        if self.keeping >= 0:
            self.keep(scope, event, key)
        open_at = memory[0]
        state = open_at.get(key)
        if state is not None and (state >= 0 or not self.reusable):
            self.reopened(scope, event, key, state)
        open_at[key] = event.index

    def closed(self, scope: Instance, event: Event) -> None:
        key = self.read(event.values)
        memory = scope.slots[self.slot]
        if memory is None or self.keeping >= 0 or memory[0].get(key, _CLOSED) < 0:
            self.look_closely(scope, event, key)
            if memory is None or memory[0].get(key, _CLOSED) < 0:
                return
        # A key that may come again needs no memory; one that may not is remembered as closed, with its place.
        if self.forgetful:
            del memory[0][key]
        else:
            memory[0][key] = _CLOSED - event.index

    def inside(self, scope: Instance, event: Event) -> None:
        key = self.read(event.values)
        memory = scope.slots[self.slot]
        if memory is None or self.keeping >= 0 or memory[0].get(key, _CLOSED) < 0:
            self.look_closely(scope, event, key)

    def look_closely(self, scope: Instance, event: Event, key: Any) -> None:
        """Look at an event that belongs to a pair which must be open, and may not be."""
        if key is None:
            self.keyless(scope, event)
            return
        memory = scope.slots[self.slot]
        if memory is None:
            self.orphan(scope, event, key, None)
            return
        if self.keeping >= 0 and event.values[self.keeping] is not None:
            self.keep(scope, event, key)
        state: int | None = memory[0].get(key)
        if state is None or state < 0:
            self.orphan(scope, event, key, state)

    def keep(self, scope: Instance, event: Event, key: Any) -> None:
        owners: dict[Any, Any] = scope.slots[self.slot][1]
        value = event.values[self.keeping]
        if event.name in self.openers and key not in owners:
            owners[key] = value
        elif value is not None and key in owners and owners[key] != value:
            what = format_path(self.clause.keeping)
            self.violate(
                scope,
                f"{event.name} of {self.name(key)} has {what} {value!r:.60}, its first event had {owners[key]!r:.60}",
                f"one {what} for each key",
                "two senders use the same id, or the event is attributed to the wrong one",
                code="pair-changed-hands",
                indices=(event.index,),
                pointer=format_pointer(self.clause.keeping),
                event=event.name,
            )

    def end(self, scope: Instance) -> None:
        memory = scope.slots[self.slot]
        if memory is None or not memory[0] or scope.mask & self.abandoned_bit:
            return
        for key, index in memory[0].items():
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


class ReferMonitor(Monitor[Refer]):
    lazy = True

    def __init__(self, clause: Refer, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.watched = tuple(dict.fromkeys((*clause.event, *clause.to)))
        self.by = groups.path(clause.by)
        self.key = groups.path(clause.key)
        self.referring = frozenset(clause.event)
        self.referred = frozenset(clause.to)
        self.pointer = format_pointer(clause.by)
        self.looks_at = format_path(clause.by)
        self.mute = 0
        """Events that refer to nothing."""

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.get(name, 0) for name in self.clause.event) - self.mute

    def repeats(self, name: str) -> bool:
        return name not in self.referring

    def seer(self, name: str) -> Callable[[Instance, Event], None]:
        return self.see if name in self.referring else self.came

    def see(self, scope: Instance, event: Event) -> None:
        memory = scope.slots[self.slot]
        if memory is None:
            # Keys that have come, with the place of the last reference to them; and whether any was forgotten.
            memory = scope.slots[self.slot] = [{}, False]
        keys: dict[Any, int] = memory[0]
        if event.name in self.referring:
            self.refer(scope, event, keys, forgetful=memory[1])
        if event.name in self.referred:
            self.came(scope, event)

    def came(self, scope: Instance, event: Event) -> None:
        """Take note of what may be referred to."""
        memory = scope.slots[self.slot]
        if memory is None:
            memory = scope.slots[self.slot] = [{}, False]
        keys: dict[Any, int] = memory[0]
        key = event.values[self.key]
        if key is not None:
            keys.setdefault(key, -1)
            if len(keys) > MAX_KEYS:
                del keys[next(iter(keys))]
                memory[1] = True

    def refer(self, scope: Instance, event: Event, keys: dict[Any, int], *, forgetful: bool) -> None:
        value = event.values[self.by]
        if value is None:
            self.mute += 1
            return
        before = keys.get(value)
        if before is None and not forgetful:
            self.violate(
                scope,
                f"{event.name} refers to {format_path(self.clause.by)} {value!r:.80}, which never came",
                f"{any_of(self.clause.to)} with that {format_path(self.clause.key)} before it",
                "the event it refers to was lost, or the id is wrong",
                code="unknown-reference",
                indices=(event.index,),
                pointer=self.pointer,
                event=event.name,
            )
        elif before is not None and before >= 0 and self.clause.once:
            self.violate(
                scope,
                f"{event.name} refers to {format_path(self.clause.by)} {value!r:.80} a second time",
                f"one {any_of(self.clause.event)} for each {format_path(self.clause.by)}",
                "it is sent twice, or the id is wrong",
                code="repeated-reference",
                indices=(before, event.index),
                pointer=self.pointer,
                event=event.name,
            )
        if before is not None:
            keys[value] = event.index
