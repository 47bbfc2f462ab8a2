"""A contract compiled for checking: monitors, the fields they read, and per event name what must happen."""

from collections.abc import Callable
from typing import Any, Final

from event_capture.checker.field_monitors import (
    IsolateMonitor,
    MonotonicMonitor,
    SameMonitor,
    SchemaMonitor,
)
from event_capture.checker.layout import FIRST_PATH, ID_ROLES, NUMBER_ROLES, SEQUENCE, TIMESTAMP, USER
from event_capture.checker.monitors import (
    AfterMonitor,
    CountMonitor,
    FirstMonitor,
    ForbidMonitor,
    LastMonitor,
    Monitor,
    OrderMonitor,
    RequireMonitor,
)
from event_capture.checker.ownership import OwnMonitor
from event_capture.checker.pair_monitors import PairMonitor, ReferMonitor
from event_capture.checker.time_monitors import FirstEventMonitor, GapMonitor, SpanMonitor, TotalMonitor
from event_capture.contract.clauses import (
    After,
    Clause,
    Count,
    First,
    Forbid,
    Isolate,
    Last,
    Monotonic,
    Names,
    Order,
    Own,
    Pair,
    Refer,
    Require,
    Same,
    Schema,
    Scope,
    Steps,
    Within,
)
from event_capture.contract.model import Contract
from event_capture.errors import ContractError
from event_capture.vocabulary.model import Alternatives, Vocabulary
from event_capture.vocabulary.pointer import format_pointer, parse_pointer

_UNHEARD: Final = "\0"
"""Stands for every event that no clause names. No event has this name."""


BEGUN: Final = 1
"""Bit that is set once a scope has had an event."""
NEVER: Final = 2
"""Bit that is never set: an event that needs it is never ordinary."""


class Groups:
    """Hands out a bit per group of events and a place per field, so that equal ones are shared."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.bits: dict[frozenset[str], int] = {}
        self.paths: list[Steps] = []

    def bit(self, names: Names) -> int:
        """The bit that is set once one of the events has come."""
        return self.bits.setdefault(frozenset(names), NEVER << (len(self.bits) + 1))

    def field(self, name: str) -> int:
        """Place of a field among an event's values: those that have a role by role, others by path."""
        role = self.vocabulary.role_of(name)
        if role in ID_ROLES:
            return USER + ID_ROLES.index(role)
        if role in NUMBER_ROLES:
            return SEQUENCE + NUMBER_ROLES.index(role)
        return self.path(parse_pointer(name))

    def path(self, steps: Steps) -> int:
        """Place of the value at a path."""
        if steps not in self.paths:
            self.paths.append(steps)
        return FIRST_PATH + self.paths.index(steps)

    def pointer(self, name: str) -> str:
        """JSON pointer of a field, the first of its alternatives."""
        places = self._alternatives(name)
        return format_pointer(places[0]) if places else ""

    def has(self, name: str) -> bool:
        """The vocabulary places this field."""
        return bool(self._alternatives(name))

    def _alternatives(self, name: str) -> Alternatives:
        role = self.vocabulary.role_of(name)
        return self.vocabulary.place(role) if role else (parse_pointer(name),)


class Entry:
    """What happens at one scope level when one event comes."""

    __slots__ = ("begins", "gates", "needs", "openers", "repeats", "seers", "sets", "watch")

    def __init__(
        self, name: str, monitors: list[Monitor[Any]], groups: Groups, inline: frozenset[Monitor[Any]] = frozenset()
    ) -> None:
        self.sets = BEGUN
        """Bits that this event sets."""
        for names, bit in groups.bits.items():
            if name in names:
                self.sets |= bit
        self.needs = BEGUN
        """Bits that must be set when it comes."""
        self.watch = BEGUN
        """Bits that must be as `needs` has them: set when they are in it, not set when they are not."""
        self.repeats = True
        """It shows nothing new when it comes again as it was."""
        gates = []
        seers = []
        for monitor in monitors:
            needs, bars = monitor.gate(name)
            if needs or bars:
                self.needs |= needs
                self.watch |= needs | bars
                gates.append((monitor, needs, bars))
            watches = monitor.watched is None or name in monitor.watched
            if watches and not monitor.steady and monitor not in inline:
                seers.append(monitor.seer(name))
                self.repeats &= monitor.repeats(name)
        self.gates = tuple(gates)
        """Monitors to ask when a bit is amiss, with the bits that they need set and not set."""
        self.seers = tuple(seers)
        """Called each time."""
        self.openers = tuple(monitor.open for monitor in monitors if monitor.opens and not monitor.expects(name))
        """Called when it comes first."""
        self.begins = self.needs == BEGUN and not self.openers
        """Nobody has anything to say when it comes first."""


class Level:
    """Everything that is about one scope."""

    def __init__(self, scope: Scope, monitors: list[Monitor[Any]], groups: Groups, names: list[str]) -> None:
        self.scope = scope
        self.monitors = tuple(monitors)
        self.guarded = any(monitor.guarded for monitor in monitors)
        self.opened = 0
        """Scopes that there have been."""
        self.slots: list[Any] = []
        """What a fresh scope has in its slots."""
        self.makers: list[tuple[int, Callable[[], Any]]] = []
        """Memories that each scope gets one of its own of, by slot."""
        for monitor in monitors:
            # A monitor without memory has memory() None, and takes no slot.
            fresh = monitor.memory()
            if monitor.lazy or fresh is not None:
                monitor.slot = len(self.slots)
                self.slots.append(fresh)
                if isinstance(fresh, list):
                    self.makers.append((monitor.slot, monitor.memory))
        self.enders = tuple(monitor for monitor in monitors if monitor.ends)
        """Monitors to ask when a scope ends."""
        self.content = 0
        """Bits that, when all are set at the end, leave only `exacting` monitors with something to say."""
        for monitor in self.enders:
            self.content |= monitor.content_with
        self.exacting = tuple((monitor.silent_without, monitor) for monitor in self.enders if not monitor.content_with)
        """The rest of them; none need be asked whose bit is not set."""
        numbers = [
            each
            for each in monitors
            if isinstance(each, MonotonicMonitor)
            and scope in (Scope.THREAD, Scope.CONNECTION)
            and not each.guarded
            and (each.field == SEQUENCE if each.by_epoch else each.field == TIMESTAMP)
            and (each.by_epoch or not (each.strict or each.gapless))
        ]
        inline: frozenset[Monitor[Any]] = frozenset(numbers)
        self.entries = {name: Entry(name, monitors, groups, inline) for name in names}
        self.unheard = Entry(_UNHEARD, monitors, groups, inline)
        self.rising = bool(numbers)
        """The engine itself looks whether numbers rise."""
        self.counters = tuple((each.slot, each.see) for each in numbers if each.by_epoch)
        """Monitors of sequence numbers: slot, and whom to ask when one is not the next."""
        self.clocks = tuple((each.slot, each.see) for each in numbers if not each.by_epoch)
        """The same for timestamps: whom to ask when one is earlier than the one before."""
        self.untested = list(monitors)
        """Monitors whose clause no scope that has ended has put to the test."""
        self.steady = tuple(monitor for monitor in monitors if monitor.steady)
        """Monitors that look at an event only when its ids differ from those of the event before."""
        entries = (self.unheard, *self.entries.values())
        self.memoryless = not self.guarded and not any(entry.gates for entry in entries)
        """Nobody asks which events have come."""
        gaps = any(isinstance(monitor, GapMonitor) for monitor in monitors)
        self.patient = not (any(monitor.opens for monitor in monitors) or self.enders or self.steady or gaps)
        """Nobody asks for the first or last event, for its moment, or for ids: events of no interest may pass by."""

    def ignores(self, name: str) -> bool:
        """Nobody at this level has anything to do with the event, nor asks later whether it came."""
        entry = self.entry(name)
        return self.patient and not (entry.seers or entry.gates) and (self.memoryless or entry.sets == BEGUN)

    @property
    def lean(self) -> bool:
        """Nothing is asked of an event but whether its ids are as they were before, on its connection."""
        return self.scope is Scope.CONNECTION and len(self.steady) == len(self.monitors) and not self.guarded

    def entry(self, name: str) -> Entry:
        """What happens when this event comes."""
        return self.entries.get(name, self.unheard)


class Plan:
    """A compiled contract. Made once, used by one checker."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        vocabulary = contract.vocabulary
        self.groups = Groups(vocabulary)
        self.monitors: list[Monitor[Any]] = []
        names: dict[str, None] = dict.fromkeys((*vocabulary.events, *vocabulary.begins, *vocabulary.ends))
        for index, clause in enumerate(contract.clauses):
            monitor = build_monitor(clause, index, contract.scope_of(clause), self.groups)
            self.monitors.append(monitor)
            names |= dict.fromkeys((*clause.events(), *(monitor.watched or ())))
        self.by_index = tuple(self.monitors)
        self.levels = {
            scope: Level(scope, mine, self.groups, list(names))
            for scope in Scope
            if (mine := [monitor for monitor in self.monitors if monitor.scope is scope])
        }
        self.idle = Level(Scope.RUN, [], self.groups, [])
        """Stands in for the level of runs in contracts without clauses about runs."""
        self.segmented = vocabulary.segmented
        self.begins = frozenset(vocabulary.begins)
        self.ends = frozenset(vocabulary.ends)
        self.known = frozenset(contract.known_events()) if contract.closed else None
        mentioned = {
            name
            for clause in contract.clauses
            if contract.scope_of(clause) is Scope.RUN
            for name in clause.events()
            if not name.startswith("sent:")
        }
        self.run_alphabet = frozenset(mentioned | self.begins | self.ends)
        """Events that belong to a run even when they carry no run id."""
        self.needs_data = any(isinstance(monitor, SchemaMonitor) for monitor in self.monitors)
        """Clauses look at whole payloads, not only at the fields that the plan knows."""


_SIMPLE: Final[dict[type[Clause], type[Monitor[Any]]]] = {
    Require: RequireMonitor,
    Forbid: ForbidMonitor,
    Count: CountMonitor,
    First: FirstMonitor,
    Last: LastMonitor,
    Order: OrderMonitor,
    Pair: PairMonitor,
    Refer: ReferMonitor,
    Own: OwnMonitor,
    Monotonic: MonotonicMonitor,
    Same: SameMonitor,
    Isolate: IsolateMonitor,
    Schema: SchemaMonitor,
    After: AfterMonitor,
}
_BUDGETS: Final[dict[str, type[Monitor[Within]]]] = {
    "first_event": FirstEventMonitor,
    "total": TotalMonitor,
    "gap": GapMonitor,
}


def build_monitor(clause: Clause, index: int, scope: Scope, groups: Groups) -> Monitor[Any]:
    """The monitor of a clause.

    Raises:
        ContractError: a budget names a pair that the vocabulary does not have.
    """
    if not isinstance(clause, Within):
        return _SIMPLE[type(clause)](clause, index, scope, groups)
    if clause.what in _BUDGETS:
        return _BUDGETS[clause.what](clause, index, scope, groups)
    if not clause.what:
        return SpanMonitor(clause, index, scope, groups, start=clause.start, stop=clause.stop, by=clause.by)
    pair = groups.vocabulary.pairs.get(clause.what)
    if pair is None:
        raise ContractError(
            f"the vocabulary {groups.vocabulary.name!r} has no pair called {clause.what!r}",
            fix=f"known: {', '.join((*_BUDGETS, *groups.vocabulary.pairs))}",
        )
    return SpanMonitor(clause, index, scope, groups, start=(pair.open,), stop=(pair.close,), by=(pair.by,))
