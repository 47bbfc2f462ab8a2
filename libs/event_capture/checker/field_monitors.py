"""Monitors of clauses about the values of fields: monotonic, same, isolate, schema."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from event_capture.checker.layout import EPOCH, is_id, is_number
from event_capture.checker.monitors import EVERY, Monitor
from event_capture.contract.clauses import Isolate, Monotonic, Same, Schema, Scope
from event_capture.contract.schemas import mismatches, validator_of
from event_capture.vocabulary.pointer import format_pointer

if TYPE_CHECKING:
    from event_capture.checker.event import Event
    from event_capture.checker.plan import Groups
    from event_capture.checker.scopes import Instance

Memory = list[Any]
"""What a monitor of numbers remembers of one scope, at the places that follow."""
LAST: Final = 0
"""The last value."""
PLACE: Final = 1
"""The record it came in; -1 for none."""
EPOCH_OF: Final = 2
"""Its epoch."""
NEXT: Final = 3
"""What an ordinary next value is compared with: a sequence number must be this one; a timestamp no earlier than this
moment in UTC, or no less than this whole number. None: no value is ordinary."""
MAX_OWNERS: Final = 100_000
"""Most ids whose owners are remembered; later ones are checked against the connection only."""


class MonotonicMonitor(Monitor[Monotonic]):
    watched = EVERY

    def __init__(self, clause: Monotonic, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.field = groups.field(clause.field)
        self.pointer = groups.pointer(clause.field)
        self.strict = clause.strict
        self.gapless = clause.gapless
        self.exact = clause.strict or clause.gapless
        # A new epoch starts a new count: only sequence numbers belong to one.
        self.by_epoch = groups.vocabulary.role_of(clause.field) == "sequence"
        self.looks_at = clause.field

    def memory(self) -> Memory:
        return [None, -1, None, None]

    def found(self, scope: Instance) -> bool:
        return scope.slots[self.slot][LAST] is not None

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.values())

    def see(self, scope: Instance, event: Event) -> None:
        value = event.values[self.field]
        if value is None:
            return
        memory: Memory = scope.slots[self.slot]
        last = memory[LAST]
        if self.by_epoch:
            epoch = event.values[EPOCH]
            if epoch != memory[EPOCH_OF]:
                last, memory[EPOCH_OF] = None, epoch
        due = memory[NEXT]
        following = memory[NEXT] = self.following(value)
        good = due is not None and last is not None and due.__class__ is following.__class__
        if good and (following == due + 1 if self.by_epoch else not self.exact and following >= due):
            memory[LAST], memory[PLACE] = value, event.index
            return
        self.compare(scope, event, memory, last, value)
        if memory[LAST] is not value:
            memory[NEXT] = self.following(memory[LAST])

    def following(self, last: Any) -> Any:
        """What the next value is compared with after this one."""
        if last.__class__ is int:
            return last + 1 if self.by_epoch else last
        if last.__class__ is not str or self.by_epoch:
            return None
        try:
            moment = datetime.fromisoformat(last)
        except ValueError:
            return None
        return moment if moment.tzinfo is UTC else None

    def compare(self, scope: Instance, event: Event, memory: list[Any], last: Any, value: Any) -> None:
        """The slow half of `see`: values that are new, of unlike forms, or out of order."""
        fresh, old = comparable(value), comparable(last)
        seen_at, memory[1] = memory[1], event.index
        if fresh is None:
            self.wrong_type(scope, event, value)
            return
        memory[0] = value if old is None or fresh >= old else last
        if old is None:
            return
        expected = f"{self.clause.words()} per {self.scope}"
        indices = (seen_at, event.index)
        if fresh < old or (self.strict and fresh == old):
            verb = "stayed at" if fresh == old else "fell from"
            what = f"{self.clause.field} {verb} {last!r}" + ("" if fresh == old else f" to {value!r}")
            self.violate(
                scope,
                f"{what} at {event.name}",
                expected,
                "events were reordered, sent twice, or numbered by two counters",
                code="not-monotonic",
                indices=indices,
                pointer=self.pointer,
                event=event.name,
            )
        elif self.gapless and isinstance(fresh, int) and isinstance(old, int) and fresh != old + 1:
            self.violate(
                scope,
                f"{self.clause.field} jumped from {last} to {value}: {fresh - old - 1} missing",
                expected,
                "events between the two were lost",
                code="sequence-gap",
                indices=indices,
                pointer=self.pointer,
                event=event.name,
            )

    def wrong_type(self, scope: Instance, event: Event, value: Any) -> None:
        self.violate(
            scope,
            f"{self.clause.field} is {value!r:.60}, which has no order, at {event.name}",
            f"{self.clause.field} is a number or an RFC 3339 time",
            "write it as a number, or as 2026-01-31T12:00:00.000Z",
            code="unreadable-value",
            indices=(event.index,),
            pointer=self.pointer,
            event=event.name,
        )


def comparable(value: Any) -> int | float | None:
    """A number to compare by: numbers are themselves, RFC 3339 times and ISO dates microseconds; None for others."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, str):
        if value.isascii() and value.lstrip("-").isdigit() and len(value) < 40:
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        try:
            return round(moment.timestamp() * 1_000_000)
        except (OverflowError, OSError):
            return None
    return None


class SameMonitor(Monitor[Same]):
    code = "value-changed"
    lazy = True
    watched = EVERY

    def __init__(self, clause: Same, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.field = groups.field(clause.field)
        self.steady = is_id(self.field)
        self.pointer = groups.pointer(clause.field)

        self.looks_at = clause.field

    def repeats(self, name: str) -> bool:  # noqa: ARG002  any event
        return not is_number(self.field)

    def found(self, scope: Instance) -> bool:
        return scope.slots[self.slot] is not None

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.values())

    def see(self, scope: Instance, event: Event) -> None:
        value = event.values[self.field]
        if value is None:
            return
        # The first value, and the event that had it.
        memory: tuple[Any, int] | None = scope.slots[self.slot]
        if memory is None:
            scope.slots[self.slot] = (value, event.index)
            return
        if value == memory[0]:
            return
        self.violate(
            scope,
            f"{self.clause.field} changed from {memory[0]!r:.60} to {value!r:.60} at {event.name}",
            f"one {self.clause.field} per {self.scope}",
            "events of another one are mixed in, or the id is made anew on the way",
            indices=(memory[1], event.index),
            pointer=self.pointer,
            event=event.name,
        )


class IsolateMonitor(Monitor[Isolate]):
    code = "foreign-event"
    watched = EVERY

    def __init__(self, clause: Isolate, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.field = groups.field(clause.field)
        self.steady = is_id(self.field)
        self.pointer = groups.pointer(clause.field)
        # Ids that must have one owner each. Runs and threads in one table would clash, so each has its own.
        self.owned: list[tuple[int, str, str, dict[Any, tuple[Any, int]]]] = [
            (groups.field(name), groups.pointer(name), name, {}) for name in ("thread_id", "run_id") if groups.has(name)
        ]

        self.looks_at = " or ".join(dict.fromkeys((clause.field, *(name for _, _, name, _ in self.owned))))

    def memory(self) -> Any:
        return [None, -1, None, None]

    def found(self, scope: Instance) -> bool:
        owner, _, *ids = scope.slots[self.slot]
        return any(value is not None for value in (owner, *ids))

    def judged(self, counts: Mapping[str, int]) -> int:
        return sum(counts.values())

    def see(self, scope: Instance, event: Event) -> None:
        values = event.values
        owner = values[self.field]
        user = event.line.user
        memory = scope.slots[self.slot]
        if owner is not None:
            if memory[0] is None:
                memory[0] = user or owner
                memory[1] = event.index
            if owner != (user or memory[0]):
                self.foreign(scope, event, owner, user or memory[0], memory[1])
                return
        self.cross_check(scope, event, user or owner or memory[0])

    def cross_check(self, scope: Instance, event: Event, owner: Any) -> None:
        memory = scope.slots[self.slot]
        for place, (field, pointer, name, owners) in enumerate(self.owned, start=2):
            value = event.values[field]
            if value is None or value == memory[place] or not owner:
                continue
            memory[place] = value
            known = owners.get(value)
            if known is None:
                if len(owners) < MAX_OWNERS:
                    owners[value] = (owner, event.index)
            elif known[0] != owner:
                self.violate(
                    scope,
                    f"{name} {value!r:.60} of user {known[0]!r:.60} came to user {owner!r:.60} at {event.name}",
                    f"each {name} belongs to one user",
                    "the server shares state between users, or makes ids that are not unique",
                    code="shared-id",
                    indices=(known[1], event.index),
                    pointer=pointer,
                    event=event.name,
                )

    def foreign(self, scope: Instance, event: Event, owner: Any, user: Any, since: int) -> None:
        self.violate(
            scope,
            f"an event of {owner!r:.60} came to {user!r:.60}: {event.name}",
            f"only events of {user!r:.60} on this connection",
            "the server delivers to the wrong connection, or labels events with the wrong user",
            indices=(since, event.index) if 0 <= since != event.index else (event.index,),
            pointer=self.pointer,
            event=event.name,
        )


class SchemaMonitor(Monitor[Schema]):
    code = "schema-mismatch"
    max_errors: Final = 20
    """Most mismatches reported of one event."""

    def __init__(self, clause: Schema, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.watched = clause.event
        self.validator = validator_of(clause.schema)

    def see(self, scope: Instance, event: Event) -> None:
        for count, error in enumerate(mismatches(self.validator, event.data)):
            if count == self.max_errors:
                break
            pointer = format_pointer(tuple(str(step) for step in error.absolute_path))
            self.violate(
                scope,
                f"{event.name} does not fit its schema: {error.message:.200}",
                f"{error.validator}: {error.validator_value!r:.120}",
                f"see {pointer or 'the event itself'}",
                indices=(event.index,),
                pointer=pointer,
                event=event.name,
            )
