"""The meaning of every clause, spelled out over whole streams, without a thought for speed.

The checker decides event by event with bits and tables. Here each clause is one function over the finished list of a
scope's events, as its sentence reads. It tells the mutation report what a contract speaks of, and tests hold the
checker to it. It knows streams that were seen to their end, with text or number ids.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from event_capture.checker.field_monitors import comparable
from event_capture.contract.clauses import (
    After,
    Clause,
    Count,
    First,
    Forbid,
    Isolate,
    Last,
    Monotonic,
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
from event_capture.contract.schemas import mismatches, validator_of
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.pointer import getter, parse_pointer


@dataclass(frozen=True, slots=True)
class Seen:
    """One event, or one sent message under the name `sent:NAME`."""

    ns: int
    name: str
    data: Any
    user: str
    """Who is connected."""

    @property
    def sent(self) -> bool:
        return self.name.startswith("sent:")


@dataclass(slots=True)
class Group:
    """The events of one scope."""

    start_ns: int | None = None
    """When somebody asked for it; None: nobody did."""
    events: list[Seen] = field(default_factory=list)
    stopped_ns: int = 0
    """When the recording stopped."""


def violated_clauses(records: Sequence[Record], contract: Contract) -> set[int]:
    """Places in the contract of the clauses that this stream, seen to its end, violates."""
    groups = _Grouping(contract).of(records)
    broken = set()
    for place, clause in enumerate(contract.clauses):
        scope = contract.scope_of(clause)
        meaning = _Meaning(contract, scope)
        if any(meaning.broken(clause, group) for group in groups[scope] or [Group()]) or (
            isinstance(clause, Isolate) and meaning.shared(clause, records)
        ):
            broken.add(place)
    return broken


def group_records(records: Sequence[Record], contract: Contract) -> dict[Scope, list[Group]]:
    """The events of a recording by the scopes they belong to."""
    return _Grouping(contract).of(records)


class _Grouping:
    """Puts events into runs, threads, users, connections and the whole."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        vocabulary = contract.vocabulary
        self.name, self.sent = getter(vocabulary.event), getter(vocabulary.sent)
        self.thread, self.run, self.user = getter(vocabulary.thread), getter(vocabulary.run), getter(vocabulary.user)
        own = {
            name for clause in contract.clauses if contract.scope_of(clause) is Scope.RUN for name in clause.events()
        }
        self.alphabet = own | set(vocabulary.begins) | set(vocabulary.ends)

    def of(self, records: Sequence[Record]) -> dict[Scope, list[Group]]:
        tables: dict[Scope, dict[Any, Group]] = {scope: {} for scope in Scope}
        runs: list[Group] = []
        current: dict[Any, Group] = {}
        asked: dict[str, list[tuple[int, Any]]] = {}
        lanes = _lanes(records)
        answered: set[str] = set()
        for record in records:
            if record.kind is not Kind.EVENT:
                continue
            lane = lanes[record.connection]
            is_sent = record.direction is Direction.SENT
            found = (self.sent if is_sent else self.name)(record.data)
            name = found if isinstance(found, str) else ""
            thread = self.thread(record.data)
            if is_sent:
                if name not in self.contract.vocabulary.control:
                    asked.setdefault(lane, []).append((record.monotonic_ns, thread))
                name = f"sent:{name}"
            elif not name:
                continue
            seen = Seen(record.monotonic_ns, name, record.data, record.user)
            keys = {
                Scope.THREAD: (lane, thread),
                Scope.USER: record.user or self.user(record.data),
                Scope.CONNECTION: record.connection,
                Scope.RECORDING: "",
            }
            for scope, key in keys.items():
                if not is_sent or self._named(scope, name):
                    tables[scope].setdefault(key, Group()).events.append(seen)
            if not is_sent:
                run = self._run(seen, lane, thread, current, asked, runs)
                if run is not None:
                    answered.add(lane)
                    run.events.append(seen)
        _stop(runs, records)
        runs += [Group(start_ns=asked[lane][0][0]) for lane in asked if lane not in answered and asked[lane]]
        return {scope: list(table.values()) for scope, table in tables.items()} | {Scope.RUN: runs}

    def _named(self, scope: Scope, name: str) -> bool:
        clauses = self.contract.clauses
        return any(self.contract.scope_of(each) is scope and name in each.events() for each in clauses)

    def _run(
        self,
        seen: Seen,
        lane: str,
        thread: Any,
        current: dict[Any, Group],
        asked: dict[str, list[tuple[int, Any]]],
        runs: list[Group],
    ) -> Group | None:
        vocabulary = self.contract.vocabulary
        run = self.run(seen.data)
        begins = seen.name in vocabulary.begins
        if vocabulary.segmented:
            key: Any = (lane, "segment")
            over = begins
        elif run is not None:
            key = (lane, "id", run)
            over = False
        elif seen.name in self.alphabet:
            key = (lane, "thread", thread)
            over = begins or bool(asked.get(lane))
        else:
            return None
        group = current.get(key)
        if group is None or (over and self._ended(group)):
            group = current[key] = Group()
            runs.append(group)
            for place, (ns, wanted) in enumerate(asked.get(lane, [])):
                if wanted is None or thread is None or wanted == thread:
                    group.start_ns = ns
                    del asked[lane][place]
                    break
        return group

    def _ended(self, group: Group) -> bool:
        return any(seen.name in self.contract.vocabulary.ends for seen in group.events)


def _stop(runs: list[Group], records: Sequence[Record]) -> None:
    for run in runs:
        run.stopped_ns = records[-1].monotonic_ns


def _lanes(records: Iterable[Record]) -> dict[str, str]:
    """Connections that carry on where an earlier one of the same user was closed share a lane."""
    lanes: dict[str, str] = {}
    idle: dict[str, list[str]] = {}
    for record in records:
        name = record.connection
        if name not in lanes:
            waiting = idle.get(record.user)
            lanes[name] = waiting.pop(0) if waiting else name
        if record.kind is Kind.CLOSE:
            idle.setdefault(record.user, []).append(lanes[name])
    return lanes


class _Meaning:
    """What each kind of clause says of one scope."""

    def __init__(self, contract: Contract, scope: Scope) -> None:
        self.contract = contract
        self.ends = set(contract.vocabulary.ends) if scope is Scope.RUN else set()

    def broken(self, clause: Clause, group: Group) -> bool:
        names = {seen.name for seen in group.events}
        if clause.when and not names & set(clause.when):
            return False
        if clause.unless and {seen.name for seen in self.up_to_end(group.events)} & set(clause.unless):
            return False
        return _MEANINGS[type(clause)](self, clause, group)

    def heard(self, group: Group) -> list[Seen]:
        """Received events."""
        return [seen for seen in group.events if not seen.sent]

    def up_to_end(self, events: list[Seen]) -> list[Seen]:
        """Events up to the one that ends a run: what must come must have come by then."""
        for place, seen in enumerate(events):
            if seen.name in self.ends:
                return events[: place + 1]
        return events

    def value(self, seen: Seen, name: str) -> Any:
        role = self.contract.vocabulary.role_of(name)
        places = self.contract.vocabulary.place(role) if role else (parse_pointer(name),)
        return getter(places)(seen.data) if places else None

    def key(self, seen: Seen, by: Sequence[Steps]) -> Any:
        values = tuple(getter((steps,))(seen.data) for steps in by)
        return None if by and values[0] is None else values

    def require(self, clause: Require, group: Group) -> bool:
        return not any(seen.name in clause.event for seen in self.up_to_end(group.events))

    def forbid(self, clause: Forbid, group: Group) -> bool:
        return any(seen.name in clause.event for seen in group.events)

    def count(self, clause: Count, group: Group) -> bool:
        in_time = sum(seen.name in clause.event for seen in self.up_to_end(group.events))
        in_all = sum(seen.name in clause.event for seen in group.events)
        return in_time < clause.at_least or (clause.at_most is not None and in_all > clause.at_most)

    def first(self, clause: First, group: Group) -> bool:
        heard = self.heard(group)
        return bool(heard) and heard[0].name not in clause.event

    def last(self, clause: Last, group: Group) -> bool:
        heard = self.heard(group)
        members = [place for place, seen in enumerate(heard) if seen.name in clause.event]
        if not any(seen.name in clause.event for seen in self.up_to_end(heard)):
            return True
        return any(seen.name not in clause.event for seen in heard[members[0] :])

    def order(self, clause: Order, group: Group) -> bool:
        events = group.events
        for place, seen in enumerate(events):
            earlier = {each.name for each in events[:place]}
            if clause.every:
                if seen.name in clause.before and seen.name not in clause.after and earlier & set(clause.after):
                    return True
            elif seen.name in clause.after and seen.name not in clause.before and not earlier & set(clause.before):
                return True
        return False

    def after(self, clause: After, group: Group) -> bool:
        heard = self.heard(group)
        return any(
            seen.name not in clause.only and any(each.name in clause.event for each in heard[:place])
            for place, seen in enumerate(heard)
        )

    def pair(self, clause: Pair, group: Group) -> bool:
        states: dict[Any, str] = {}
        owners: dict[Any, Any] = {}
        events = self.heard(group)
        in_time = len(self.up_to_end(events))
        broken = False
        for place, seen in enumerate(events):
            if seen.name in (*clause.open, *clause.close, *clause.around):
                broken |= self._pair_step(clause, seen, states, owners)
            if place + 1 == in_time:
                abandoned = any(each.name in clause.abandoned for each in events[:in_time])
                broken |= not abandoned and "open" in states.values()
        return broken

    def _pair_step(self, clause: Pair, seen: Seen, states: dict[Any, str], owners: dict[Any, Any]) -> bool:
        key = self.key(seen, clause.by)
        if key is None:
            return True
        broken = False
        state = states.get(key)
        if clause.keeping:
            owner = getter((clause.keeping,))(seen.data)
            if seen.name in clause.open and key not in owners:
                owners[key] = owner
            elif owner is not None and key in owners and owners[key] != owner:
                broken = True
        if seen.name in clause.open:
            broken |= state == "open" or state == "closed"
            states[key] = "open"
        elif state != "open":
            broken = True
        elif seen.name in clause.close:
            if clause.reusable or not clause.by:
                del states[key]
            else:
                states[key] = "closed"
        return broken

    def refer(self, clause: Refer, group: Group) -> bool:
        known: set[Any] = set()
        used: set[Any] = set()
        for seen in self.heard(group):
            if seen.name in clause.event and (value := getter((clause.by,))(seen.data)) is not None:
                if value not in known or (clause.once and value in used):
                    return True
                used.add(value)
            if seen.name in clause.to and (value := getter((clause.key,))(seen.data)) is not None:
                known.add(value)
        return False

    def own(self, clause: Own, group: Group) -> bool:
        """Each claim is looked at with what all events before it say of its thing."""
        owners: dict[tuple[str, Any], tuple[Any]] = {}
        broken = False
        for seen in self.heard(group):
            said = getter((clause.owner,))(seen.data)
            for claim in clause.claims:
                if seen.name not in claim.event:
                    continue
                if claim.where and (getter((claim.where,))(seen.data) == claim.value) == claim.other:
                    continue
                if claim.verb == "clears":
                    owners = {thing: owner for thing, owner in owners.items() if thing[0] not in claim.thing}
                elif (key := getter((claim.by,))(seen.data)) is not None:
                    whole = owners.get((claim.part_of, getter((claim.part_by,))(seen.data))) if claim.part_of else None
                    broken |= bool(said is not None and whole and whole != (said,))
                    meant = (said,) if said is not None else whole
                    thing = next(
                        (each for kind in claim.thing if (each := (kind, key)) in owners), (claim.thing[0], key)
                    )
                    known = owners.get(thing)
                    agrees = claim.verb in ("adds", "replaces") or not known or not meant or known == meant
                    broken |= not agrees
                    if claim.verb == "replaces" or (claim.verb != "follows" and not known):
                        owners[thing] = meant or (None,)
        return broken

    def within(self, clause: Within, group: Group) -> bool:
        heard = self.heard(group)
        start = group.start_ns if group.start_ns is not None else heard[0].ns if heard else 0
        if clause.what == "first_event":
            return heard[0].ns - start > clause.limit_ns if heard else group.start_ns is not None
        if clause.what == "total":
            if not heard:
                return False
            in_time = self.up_to_end(heard)
            going_on = self.ends and in_time[-1].name not in self.ends
            return (group.stopped_ns if going_on else in_time[-1].ns) - start > clause.limit_ns
        if clause.what == "gap":
            moments = [seen.ns for seen in heard]
            return any(after - before > clause.limit_ns for before, after in pairwise(moments))
        pair = self.contract.vocabulary.pairs.get(clause.what)
        opening = (pair.open,) if pair else clause.start
        closing = (pair.close,) if pair else clause.stop
        return self._span(group, opening, closing, (pair.by,) if pair else clause.by, clause.limit_ns)

    def _span(self, group: Group, start: Sequence[str], stop: Sequence[str], by: Sequence[Steps], limit: int) -> bool:
        running: dict[Any, int] = {}
        in_time = self.up_to_end(group.events)
        broken = False
        for place, seen in enumerate(group.events):
            key = self.key(seen, by)
            if key is not None and seen.name in stop and key in running:
                broken |= seen.ns - running.pop(key) > limit
            if key is not None and seen.name in start:
                running.setdefault(key, seen.ns)
            if place + 1 == len(in_time):
                broken |= bool(running)
        return broken

    def monotonic(self, clause: Monotonic, group: Group) -> bool:
        last: Any = None
        epoch: Any = None
        for seen in self.heard(group):
            value = self.value(seen, clause.field)
            if value is None:
                continue
            if self.contract.vocabulary.role_of(clause.field) == "sequence" and self.value(seen, "epoch") != epoch:
                epoch, last = self.value(seen, "epoch"), None
            number = comparable(value)
            if number is None:
                return True
            if last is not None:
                fell = number <= last if clause.strict else number < last
                if fell or (clause.gapless and number != last + 1):
                    return True
            last = number
        return False

    def same(self, clause: Same, group: Group) -> bool:
        values = [self.value(seen, clause.field) for seen in self.heard(group)]
        present = [value for value in values if value is not None]
        return any(value != present[0] for value in present)

    def isolate(self, clause: Isolate, group: Group) -> bool:
        owners = [(seen.user, self.value(seen, clause.field)) for seen in self.heard(group)]
        named = [(user, owner) for user, owner in owners if owner is not None]
        return any(owner != (user or named[0][0] or named[0][1]) for user, owner in named)

    def shared(self, clause: Isolate, records: Sequence[Record]) -> bool:
        """An id came to two users."""
        name = getter(self.contract.vocabulary.event)
        owners: dict[tuple[str, Any], Any] = {}
        for record in records:
            if record.kind is not Kind.EVENT or record.direction is Direction.SENT or not name(record.data):
                continue
            seen = Seen(record.monotonic_ns, "", record.data, record.user)
            labelled = self.value(seen, clause.field)
            if record.user and labelled is not None and labelled != record.user:
                continue
            for label in ("thread_id", "run_id"):
                value, owner = self.value(seen, label), record.user or labelled
                if value is not None and owner and owners.setdefault((label, value), owner) != owner:
                    return True
        return False

    def schema(self, clause: Schema, group: Group) -> bool:
        validator = validator_of(clause.schema)
        return any(seen.name in clause.event and any(mismatches(validator, seen.data)) for seen in group.events)


_MEANINGS: Final[dict[type[Clause], Callable[..., bool]]] = {
    Require: _Meaning.require,
    Forbid: _Meaning.forbid,
    Count: _Meaning.count,
    First: _Meaning.first,
    Last: _Meaning.last,
    Order: _Meaning.order,
    Pair: _Meaning.pair,
    Refer: _Meaning.refer,
    Own: _Meaning.own,
    Within: _Meaning.within,
    Monotonic: _Meaning.monotonic,
    Same: _Meaning.same,
    Isolate: _Meaning.isolate,
    Schema: _Meaning.schema,
    After: _Meaning.after,
}
