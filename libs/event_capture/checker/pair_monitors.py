"""Monitors of clauses about events that belong together: pair, refer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from event_capture.checker.keys import Keyed
from event_capture.checker.monitors import Monitor
from event_capture.contract.clauses import Pair, Refer, Scope, any_of
from event_capture.vocabulary.pointer import format_path, format_pointer

if TYPE_CHECKING:
    from event_capture.checker.event import Event
    from event_capture.checker.plan import Groups
    from event_capture.checker.scopes import Instance

_CLOSED: Final = -1
MAX_KEYS: Final = 100_000
"""Most keys that are remembered per scope for references. What is forgotten is taken for known."""


class PairMonitor(Monitor[Pair]):
    ends = True

    def __init__(self, clause: Pair, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.watched = tuple(dict.fromkeys((*clause.open, *clause.close, *clause.around)))
        self.key = Keyed(clause.by, groups)
        self.silent_without = groups.bit(clause.open)
        self.openers = frozenset(clause.open)
        self.closers = frozenset(clause.close)
        self.keeping = groups.path(clause.keeping) if clause.keeping else -1
        self.abandoned_bit = groups.bit(clause.abandoned) if clause.abandoned else 0
        self.looks_at = format_path(clause.keeping) if clause.keeping else ""

    def found(self, scope: Instance) -> bool:
        kept = scope.slots[self.slot][1].values()
        return self.keeping < 0 or any(value is not None for value in kept)

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.get(name, 0) for name in self.watched or ())

    def repeats(self, name: str) -> bool:
        return name not in self.openers and name not in self.closers

    def memory(self) -> Any:
        # Where each key was opened (or, negative, closed), and what its first opener had at `keeping`.
        return ({}, {})

    def see(self, scope: Instance, event: Event) -> None:
        single = self.key.single
        key = event.values[single] if single >= 0 else self.key.of(event)
        if key is None:
            self.keyless(scope, event)
            return
        open_at: dict[Any, int] = scope.slots[self.slot][0]
        opening = event.name in self.openers
        if self.keeping >= 0 and (opening or event.values[self.keeping] is not None):
            self.keep(scope, event, key)
        state = open_at.get(key)
        if opening:
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
        if scope.mask & self.abandoned_bit:
            return
        for key, index in scope.slots[self.slot][0].items():
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

    def memory(self) -> Any:
        # Keys that have come, with the place of the last reference to them; and whether any was forgotten.
        return [{}, False]

    def see(self, scope: Instance, event: Event) -> None:
        memory = scope.slots[self.slot]
        keys: dict[Any, int] = memory[0]
        if event.name in self.referring:
            self.refer(scope, event, keys, forgetful=memory[1])
        if event.name in self.referred and (key := event.values[self.key]) is not None:
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
