"""One monitor per clause: what it watches for, event by event, and what it asks for when a scope ends.

A monitor is made once per check. What it must remember of one scope stands in that scope's slots. Conditions about
which events came before are bits in the scope's mask: the engine tests them for all monitors at once, and calls `see`
of a gated monitor only when one of its bits is amiss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from event_capture.contract.clauses import (
    After,
    Clause,
    Count,
    First,
    Forbid,
    Last,
    Names,
    Order,
    Require,
    Scope,
    any_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_capture.checker.event import Event
    from event_capture.checker.ledger import Ledger
    from event_capture.checker.plan import Groups
    from event_capture.checker.scopes import Instance

C = TypeVar("C", bound=Clause)

EVERY: Final = None
"""A monitor that watches all events."""


class Monitor(Generic[C]):
    """Watches one clause."""

    code: ClassVar[str] = ""

    def __init__(self, clause: C, index: int, scope: Scope, groups: Groups) -> None:
        self.clause = clause
        self.index = index
        self.scope = scope
        self.title = str(clause)
        self.slot = -1
        """Where its memory stands in a scope's slots; -1 when it needs none."""
        self.when_bit = groups.bit(clause.when) if clause.when else 0
        self.unless_bit = groups.bit(clause.unless) if clause.unless else 0
        self.guarded = bool(self.when_bit or self.unless_bit)
        self.applied = not self.guarded
        """There was a scope that the clause speaks of."""
        self.tested = False
        """And it had what the clause looks at."""
        self.violations = 0
        self.presumed = 0
        self.sink: Ledger  # the checker that owns it sets it

    lazy: ClassVar[bool] = False
    """It makes its memory of a scope when it has something to remember; until then its slot holds None."""
    steady: bool = False
    """`see` looks at ids and the user only, and has nothing to say when they are the same as the time before."""
    watched: Names | None = ()
    """Events that `see` is called for; EVERY for all of them."""
    opens: ClassVar[bool] = False
    """`open` is called for the first event of a scope."""
    ends: bool = False
    """`end` is called when a scope ends."""
    content_with: int = 0
    """A bit that, when it is set at the end of a scope, leaves `end` nothing to say; 0: it must be asked anyway."""

    silent_without: int = 0
    """A bit that, when it is not set at the end of a scope, leaves `end` nothing to say; 0: it must be asked anyway."""

    def gate(self, name: str) -> tuple[int, int]:  # noqa: ARG002  overridden
        """Bits that must be set when this event comes, and bits that must not; `see` is called when one is amiss.

        It then looks at nothing but the event's name and index, for it may be called later, when the clause applies.
        """
        return 0, 0

    def repeats(self, name: str) -> bool:  # noqa: ARG002  overridden
        """`see` has nothing to add when this event comes again, the same in all but its numbers and its moment."""
        return False

    def seer(self, name: str) -> Callable[[Instance, Event], None]:  # noqa: ARG002  overridden
        """`see` for events of this name, where knowing it spares a look."""
        return self.see

    def expects(self, name: str) -> bool:  # noqa: ARG002  overridden
        """`open` has nothing to say when this event comes first."""
        return False

    def memory(self) -> Any:
        """What a fresh scope remembers; None when nothing."""
        return None

    def open(self, scope: Instance, event: Event) -> None:
        """The first event of a scope has come."""

    def see(self, scope: Instance, event: Event) -> None:
        """A watched event has come, or a gate was amiss."""

    def end(self, scope: Instance) -> None:
        """The scope has ended, or the stream was cut: say what is missing."""

    def weigh(self, scope: Instance) -> bool:
        """A scope has ended: was it one that puts the clause to the test? Asked until one was."""
        if scope.mask & self.unless_bit or (self.when_bit and not scope.mask & self.when_bit):
            return False
        self.applied = True
        self.tested = self.found(scope)
        return self.tested

    def found(self, scope: Instance) -> bool:  # noqa: ARG002  overridden
        """The scope had the field that the clause looks at. What events came is counted elsewhere."""
        return True

    def judged(self, counts: Mapping[str, int]) -> int:
        """How many events the clause had something to say about, given how many of each name came."""
        return sum(counts.get(name, 0) for name in self.clause.own_events())

    looks_at: str = ""
    """The field without which the clause says nothing, in words."""

    def overdue(self, scope: Instance, now_ns: int) -> None:
        """Time has passed: say which budgets of this scope are used up for good."""

    def violate(
        self,
        scope: Instance,
        message: str,
        expected: str,
        hint: str,
        *,
        code: str = "",
        indices: tuple[int, ...] = (),
        pointer: str = "",
        event: str = "",
    ) -> None:
        """Report a violation."""
        self.sink.violate(
            self, scope, code or self.code, message, expected, hint, indices=indices, pointer=pointer, event=event
        )


class RequireMonitor(Monitor[Require]):
    code = "missing-event"
    ends = True

    def __init__(self, clause: Require, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.bit = self.content_with = groups.bit(clause.event)

    def end(self, scope: Instance) -> None:
        if not scope.mask & self.bit:
            names = any_of(self.clause.event)
            self.violate(
                scope,
                f"{names} never came",
                f"{names} at least once per {self.scope}",
                "check that the server emits it on this path, and that nothing between drops it",
                indices=(scope.last_index,) if scope.last_index >= 0 else (),
                event=self.clause.event[0],
            )


class ForbidMonitor(Monitor[Forbid]):
    code = "forbidden-event"

    def __init__(self, clause: Forbid, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.watched = clause.event

    def see(self, scope: Instance, event: Event) -> None:
        self.violate(
            scope,
            f"{event.name} came",
            f"no {any_of(self.clause.event)} in this {self.scope}",
            "find what makes the server send it",
            indices=(event.index,),
            event=event.name,
        )


class CountMonitor(Monitor[Count]):
    def __init__(self, clause: Count, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.bit = groups.bit(clause.event)
        # "At most one" and "at least one" are questions to the mask; only larger numbers need a counter.
        self.counting = clause.at_least > 1 or (clause.at_most or 0) > 1
        self.watched = clause.event if self.counting or clause.at_most == 0 else ()
        self.ends = clause.at_least > 0
        self.content_with = 0 if self.counting else self.bit

    def gate(self, name: str) -> tuple[int, int]:
        if self.counting or self.clause.at_most is None or name not in self.clause.event:
            return 0, 0
        return 0, self.bit

    def memory(self) -> Any:
        return 0 if self.counting else None

    def see(self, scope: Instance, event: Event) -> None:
        most = self.clause.at_most
        count = 2
        if self.counting:
            count = scope.slots[self.slot] = scope.slots[self.slot] + 1
        elif most == 0:
            count = 1
        if most is not None and count > most:
            times = "a second time" if count == 2 else f"for the {count}th time" if count > 2 else "at all"
            self.violate(
                scope,
                f"{event.name} came {times}",
                f"{self.clause.words()} per {self.scope}",
                "look for a retry or a second emitter that sends it again",
                code="too-many-events",
                indices=(event.index,),
                event=event.name,
            )

    def end(self, scope: Instance) -> None:
        least = self.clause.at_least
        count = scope.slots[self.slot] if self.counting else int(bool(scope.mask & self.bit))
        if count < least:
            self.violate(
                scope,
                f"{any_of(self.clause.event)} came {count} times",
                f"{self.clause.words()} per {self.scope}",
                "check that the server emits it each time, and that nothing between drops it",
                code="too-few-events",
                indices=(scope.last_index,) if scope.last_index >= 0 else (),
                event=self.clause.event[0],
            )


class FirstMonitor(Monitor[First]):
    code = "wrong-first-event"
    opens = True

    def expects(self, name: str) -> bool:
        return name in self.clause.event

    def open(self, scope: Instance, event: Event) -> None:
        if event.name not in self.clause.event:
            self.violate(
                scope,
                f"{event.name} came first",
                f"{any_of(self.clause.event)} first in each {self.scope}",
                "either the first event was lost, or it is sent too late",
                indices=(event.index,),
                event=event.name,
            )


class LastMonitor(Monitor[Last]):
    ends = True

    def __init__(self, clause: Last, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.bit = self.content_with = groups.bit(clause.event)

    def gate(self, name: str) -> tuple[int, int]:
        return (0, 0) if name in self.clause.event else (0, self.bit)

    def see(self, scope: Instance, event: Event) -> None:
        self.violate(
            scope,
            f"{event.name} came after the {self.scope} had ended",
            f"nothing after {any_of(self.clause.event)}",
            "send everything that belongs to it before the last event",
            code="event-after-last",
            indices=(event.index,),
            event=event.name,
        )

    def end(self, scope: Instance) -> None:
        if not scope.mask & self.bit:
            found = f"it ended with {scope.last_name}" if scope.last_name else "it has no event"
            self.violate(
                scope,
                f"the {self.scope} did not end with {any_of(self.clause.event)}: {found}",
                f"{any_of(self.clause.event)} last in each {self.scope}",
                "the end was lost, or an error path leaves without saying so",
                code="wrong-last-event",
                indices=(scope.last_index,) if scope.last_index >= 0 else (),
                event=scope.last_name,
            )


class OrderMonitor(Monitor[Order]):
    code = "wrong-order"

    def __init__(self, clause: Order, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.before_bit = groups.bit(clause.before)
        self.after_bit = groups.bit(clause.after)

    def judged(self, counts: Mapping[str, int]) -> int:
        before, after = (
            sum(counts.get(name, 0) for name in names) for names in (self.clause.before, self.clause.after)
        )
        return after if before or not self.clause.every else 0

    def gate(self, name: str) -> tuple[int, int]:
        if self.clause.every:
            return 0, self.after_bit if name in self.clause.before and name not in self.clause.after else 0
        return self.before_bit if name in self.clause.after and name not in self.clause.before else 0, 0

    def see(self, scope: Instance, event: Event) -> None:
        before, after = any_of(self.clause.before), any_of(self.clause.after)
        if not self.clause.every:
            self.violate(
                scope,
                f"{event.name} came before any {before}",
                f"{before} before {after}",
                "events overtake each other, or the earlier one was lost",
                indices=(event.index,),
                event=event.name,
            )
        else:
            self.violate(
                scope,
                f"{event.name} came after {after}",
                f"all {before} before {after}",
                "events overtake each other, or one was sent too late",
                indices=(event.index,),
                event=event.name,
            )


class AfterMonitor(Monitor[After]):
    code = "unexpected-event"

    def __init__(self, clause: After, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.bit = groups.bit(clause.event)

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.get(name, 0) for name in self.clause.event)

    def gate(self, name: str) -> tuple[int, int]:
        return (0, 0) if name in self.clause.only else (0, self.bit)

    def see(self, scope: Instance, event: Event) -> None:
        allowed = any_of(self.clause.only) if self.clause.only else "nothing"
        self.violate(
            scope,
            f"{event.name} came after {any_of(self.clause.event)}",
            f"only {allowed} after {any_of(self.clause.event)}",
            "the sender goes on although this part of the stream is over",
            indices=(event.index,),
            event=event.name,
        )
