"""The checker: records in, violations and verdicts out. No I/O, no clock, no threads.

    checker = Checker(contract)
    for record in records:
        found = checker.feed(record)
    report = checker.finish(complete=True)

The same engine serves a live connection, a load worker and a file. A record costs a few dictionary look-ups: which
events came before is one integer per scope, and most clauses are bits of it.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from event_capture.checker.monitors import Monitor
from event_capture.checker.plan import Entry, Level, Plan
from event_capture.checker.reporting import build_report
from event_capture.checker.scopes import Instance, Key, Lane, Line, Opener
from event_capture.checker.verdict import Report, Violation
from event_capture.contract.clauses import Scope
from event_capture.contract.model import Contract
from event_capture.documents import describe, nearest
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.pointer import getter

READABLE: Final = "every frame is an object with an event name"
KNOWN: Final = "every event is in the vocabulary"
ABNORMAL_CLOSE: Final = 1006
"""What RFC 6455 calls a connection that ended without a close frame."""


class Event:
    """The event at hand. One object, filled anew for each."""

    __slots__ = ("connection", "data", "index", "name", "ns", "user", "values")

    def __init__(self) -> None:
        self.index = -1
        self.ns = 0
        self.name = ""
        self.connection = ""
        self.user = ""
        self.data: Any = None
        self.values: tuple[Any, ...] = ()


class Checker:
    """Checks one stream against one contract, record by record."""

    def __init__(
        self,
        contract: Contract,
        *,
        max_violations: int = 10_000,
        max_scopes: int = 20_000,
        linger: int = 256,
        max_openers: int = 1024,
    ) -> None:
        """Compile the contract.

        Args:
            contract: what to check.
            max_violations: most violations kept; more are counted.
            max_scopes: most runs, threads, users or connections remembered at once, each. The oldest is settled as
                if it had been cut off when there are more.
            linger: how many runs that have ended are still watched for late events.
            max_openers: most unanswered sent messages remembered per connection.

        Raises:
            ContractError: a clause cannot be compiled.
        """
        self.contract = contract
        self.plan = Plan(contract)
        self.max_violations = max_violations
        self.max_scopes = max_scopes
        self.linger = linger
        self.max_openers = max_openers
        for monitor in self.plan.monitors:
            monitor.sink = self
        vocabulary = contract.vocabulary
        self._read_name = getter(vocabulary.event)
        self._read_sent = getter(vocabulary.sent)
        self._readers = [getter(places) if places else _nothing for places in self.plan.groups.fields]
        self._control = frozenset(vocabulary.control)
        self._known = frozenset(contract.known_events()) if contract.closed else None
        self.index = -1
        self.first_ns: int | None = None
        self.last_ns = 0
        self.counts: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.malformed = 0
        self.unnamed = 0
        self.retired = 0
        self.violations: list[Violation] = []
        self.violation_count = 0
        self.presumed: list[Violation] = []
        self.rule_violations = {READABLE: 0, KNOWN: 0}
        self._fresh: list[Violation] = []
        self._event = Event()
        self.lines: dict[str, Line] = {}
        self._idle: dict[str, deque[Line]] = {}
        self._users: dict[Key, Instance] = {}
        self._whole: Instance | None = None
        self._ended: deque[tuple[dict[Key, Instance] | None, Key, Instance]] = deque()
        self._live: dict[int, tuple[dict[Key, Instance] | None, Key, Instance]] = {}
        self.scope_counts: dict[str, int] = dict.fromkeys(Scope, 0)
        self._definite = True
        self.finished: Report | None = None
        levels = self.plan.levels
        self._run_level = levels.get(Scope.RUN)
        finders = {
            Scope.THREAD: self._thread_scope,
            Scope.CONNECTION: self._connection_scope,
            Scope.USER: self._user_scope,
            Scope.RECORDING: self._recording_scope,
        }
        self._finders = tuple((levels[scope], find) for scope, find in finders.items() if scope in levels)

    # Feeding

    def feed(self, record: Record) -> list[Violation]:
        """Check one record; its index is its place in the recording. Returns the violations that it made certain."""
        kind = record.kind
        if kind is Kind.EVENT:
            data = record.data
            if record.direction is Direction.SENT:
                name = self._read_sent(data)
                self.sent_message(record.monotonic_ns, record.connection, record.user, name, data)
            else:
                name = self._read_name(data)
                values = tuple([_hashable(read(data)) for read in self._readers])
                self.event(record.monotonic_ns, record.connection, record.user, name, values, data)
        else:
            self._advance_clock(record.monotonic_ns)
            if kind is Kind.CLOSE:
                self._close(record)
            elif kind is Kind.OPEN:
                self._line(record.connection, record.user)
            elif record.direction is Direction.RECEIVED:
                self._malformed(record)
        return self._take()

    def feed_all(self, records: Iterable[Record]) -> list[Violation]:
        """Check several records."""
        found: list[Violation] = []
        for record in records:
            found += self.feed(record)
        return found

    def event(self, ns: int, connection: str, user: str, name: Any, values: tuple[Any, ...], data: Any) -> None:
        """Check one received event whose fields are read already, in the order of the plan's fields."""
        self.index += 1
        self.last_ns = ns
        if self.first_ns is None:
            self.first_ns = ns
        if name.__class__ is not str or not name:
            self._no_name(connection, user, name, data)
            return
        counts = self.counts
        counts[name] = counts.get(name, 0) + 1
        if self._known is not None and name not in self._known:
            self._unknown(connection, user, name)
        line = self.lines.get(connection)
        if line is None:
            line = self._line(connection, user)
        event = self._event
        event.index = self.index
        event.ns = ns
        event.name = name
        event.connection = connection
        event.user = line.user
        event.data = data
        event.values = values
        if self._run_level is not None:
            run = values[2]
            scope = line.lane.runs.get(run) if run is not None else None
            if scope is None:
                scope = self._run_of(line, event)
            if scope is not None:
                self._see(self._run_level, scope, event)
                if name in self.plan.ends and not scope.ended:
                    self._end_run(scope)
        self._see_wider(line, event)

    def _see_wider(self, line: Line, event: Event) -> None:
        """Every scope but the run: most contracts use one or two of them."""
        for level, find in self._finders:
            self._see(level, find(level, line, event), event)

    def _thread_scope(self, level: Level, line: Line, event: Event) -> Instance:
        thread = event.values[1]
        return line.lane.threads.get(thread) or self._open(level, line.lane.threads, thread, line, event)

    def _connection_scope(self, level: Level, line: Line, event: Event) -> Instance:
        if line.instance is None:
            line.instance = self._open(level, None, line.name, line, event)
        return line.instance

    def _user_scope(self, level: Level, line: Line, event: Event) -> Instance:
        owner = line.user or event.values[0]
        return self._users.get(owner) or self._open(level, self._users, owner, line, event)

    def _recording_scope(self, level: Level, line: Line, event: Event) -> Instance:
        if self._whole is None:
            self._whole = self._open(level, None, "", line, event)
        return self._whole

    def _see(self, level: Level, scope: Instance, event: Event) -> None:
        entry = level.entries.get(event.name)
        if entry is None:
            entry = level.unheard
        if scope.first_index < 0:
            scope.first_index = event.index
            for opener in level.openers:
                opener(scope, event)
        mask = scope.mask
        if mask & entry.bars or mask & entry.needs != entry.needs:
            _ask(entry, mask, scope, event)
        for see in entry.seers:
            see(scope, event)
        scope.mask = mask | entry.sets
        scope.last_ns = event.ns
        scope.last_index = event.index
        scope.last_name = event.name

    def sent_message(self, ns: int, connection: str, user: str, name: Any, data: Any) -> None:
        """Take note of a message of the client."""
        self.index += 1
        self._advance_clock(ns, counted=False)
        line = self._line(connection, user)
        known = name if isinstance(name, str) else ""
        self.sent[known] = self.sent.get(known, 0) + 1
        thread = _hashable(self._readers[1](data))
        if known not in self._control:
            line.lane.openers.append(Opener(self.index, ns, thread))
        self._see_sent(line, f"sent:{known}", ns, data)

    def _see_sent(self, line: Line, name: str, ns: int, data: Any) -> None:
        event = self._event
        event.index, event.ns, event.name, event.data = self.index, ns, name, data
        event.connection, event.user = line.name, line.user
        event.values = tuple([_hashable(read(data)) for read in self._readers])
        for level, find in self._finders:
            entry = level.entries.get(name)
            if entry is None:
                continue
            scope = find(level, line, event)
            mask = scope.mask
            if mask & entry.bars or mask & entry.needs != entry.needs:
                _ask(entry, mask, scope, event)
            for monitor in level.monitors:
                if monitor.watched and name in monitor.watched:
                    monitor.see(scope, event)
            scope.mask = mask | entry.sets

    def advance(self, monotonic_ns: int) -> list[Violation]:
        """Time has passed without a record: returns the violations of budgets that are used up for good."""
        self.last_ns = max(self.last_ns, monotonic_ns)
        for _, _, scope in list(self._live.values()):
            self._overdue(scope, monotonic_ns)
        return self._take()

    # Finishing

    def finish(self, *, complete: bool) -> Report:
        """End the check.

        Args:
            complete: the stream was seen to its end. Otherwise what is missing might still have come, and the verdict
                is never a plain `holds`.
        """
        if self.finished is not None:
            return self.finished
        self._never_begun()
        for _, _, scope in list(self._live.values()):
            if not scope.ended:
                self._overdue(scope, self.last_ns)
        self._definite = complete
        for _, _, scope in list(self._live.values()):
            if not scope.ended:
                self._settle(scope)
        for _, _, scope in self._ended:
            self._release(scope, ended=True)
        self._ended.clear()
        self._live.clear()
        self.finished = build_report(self, complete=complete)
        return self.finished

    def _never_begun(self) -> None:
        """Whoever asked and got no answer has a run without events: its clauses must not hold for want of one."""
        level = self._run_level
        lanes = {id(line.lane): line for line in self.lines.values()}
        if level is not None:
            for line in lanes.values():
                if line.lane.openers and not line.lane.served:
                    self._open(level, line.lane.segments, _UNBORN, line, None)
            if not self.scope_counts[Scope.RUN]:
                line = next(iter(lanes.values()), None) or Line("", "", Lane(1))
                self._open(level, line.lane.segments, _UNBORN, line, None)
        for scope, level in self.plan.levels.items():
            if scope is not Scope.RUN and not self.scope_counts[scope]:
                line = next(iter(lanes.values()), None) or Line("", "", Lane(1))
                self._open(level, None, "", line, None)

    def violate(
        self,
        monitor: Monitor[Any],
        scope: Instance,
        code: str,
        message: str,
        expected: str,
        hint: str,
        *,
        indices: tuple[int, ...],
        pointer: str,
        event: str,
    ) -> None:
        """Take a violation from a monitor; one of a guarded clause waits until its guard is settled."""
        violation = Violation(
            code=code,
            clause=monitor.title,
            clause_index=monitor.index,
            message=message,
            expected=expected,
            hint=hint,
            indices=indices,
            pointer=pointer,
            scope=scope.level,
            scope_key="" if scope.key is _UNBORN or scope.key is None else str(scope.key),
            connection=scope.connection,
            user=scope.user,
            definite=self._definite,
            event=event,
        )
        if monitor.guarded:
            scope.held.append((monitor.index, violation))
        else:
            self._count(monitor, violation)

    # Inside

    def _count(self, monitor: Monitor[Any], violation: Violation) -> None:
        if violation.definite:
            monitor.violations += 1
            self.violation_count += 1
            if len(self.violations) < self.max_violations:
                self.violations.append(violation)
            self._fresh.append(violation)
        else:
            monitor.presumed += 1
            if len(self.presumed) < self.max_violations:
                self.presumed.append(violation)

    def _take(self) -> list[Violation]:
        if not self._fresh:
            return []
        fresh, self._fresh = self._fresh, []
        return fresh

    def _advance_clock(self, ns: int, *, counted: bool = True) -> None:
        if counted:
            self.index += 1
        self.last_ns = ns
        if self.first_ns is None:
            self.first_ns = ns

    def _line(self, connection: str, user: str) -> Line:
        line = self.lines.get(connection)
        if line is not None:
            if user and not line.user:
                line.user = user
            line.closed = False
            return line
        idle = self._idle.get(user)
        if idle:
            predecessor = idle.popleft()
            predecessor.broken = False
            line = Line(connection, user, predecessor.lane)
            if predecessor.instance is None:
                self.lines.pop(predecessor.name, None)
        else:
            line = Line(connection, user, Lane(self.max_openers))
        self.lines[connection] = line
        self.scope_counts["connections"] = self.scope_counts.get("connections", 0) + 1
        return line

    def _close(self, record: Record) -> None:
        line = self._line(record.connection, record.user)
        line.closed = True
        line.broken = is_break(record)
        idle = self._idle.setdefault(line.user, deque(maxlen=self.max_scopes))
        if line not in idle:
            idle.append(line)

    def _run_of(self, line: Line, event: Event) -> Instance | None:
        """The run of an event whose run id is new, or that has none."""
        level = self._run_level
        assert level is not None  # noqa: S101  asked only when there is one
        lane = line.lane
        run, thread = event.values[2], event.values[1]
        if self.contract.vocabulary.segmented:
            scope = lane.current
            if scope is None or (scope.ended and event.name in self.plan.begins):
                scope = lane.current = self._open(level, lane.segments, self.index, line, event)
                scope.key = run if run is not None else self.index
            return scope
        if run is not None:
            return self._open(level, lane.runs, run, line, event)
        if event.name not in self.plan.run_alphabet:
            return None
        scope = lane.segments.get(thread)
        if scope is not None and scope.ended and (event.name in self.plan.begins or lane.openers):
            scope = None
        if scope is None:
            scope = self._open(level, lane.segments, thread, line, event)
        return scope

    def _open(
        self, level: Level, table: dict[Key, Instance] | None, key: Key, line: Line, event: Event | None
    ) -> Instance:
        slots = [make() for make in level.makers]
        user = line.user
        scope = Instance(level.scope, key, line.name, user, slots, event.ns if event else self.last_ns)
        self.scope_counts[level.scope] += 1
        if level.scope is Scope.RUN:
            line.lane.served += event is not None
            opener = line.lane.claim(event.values[1] if event else None)
            if opener is not None:
                scope.start_ns = opener.ns
                scope.clocked = True
        if event is not None and not user and isinstance(event.values[0], str):
            scope.user = event.values[0]
        if table is not None:
            table[key] = scope
        self._live[id(scope)] = (table, key, scope)
        if len(self._live) > self.max_scopes:
            self._retire_oldest()
        return scope

    def _retire_oldest(self) -> None:
        identity, (table, key, scope) = next(iter(self._live.items()))
        del self._live[identity]
        if table is not None and table.get(key) is scope:
            del table[key]
        self.retired += 1
        before, self._definite = self._definite, False
        self._settle(scope)
        self._definite = before

    def _end_run(self, scope: Instance) -> None:
        level = self._run_level
        assert level is not None  # noqa: S101  a run has a level
        scope.ended = True
        for monitor in level.enders:
            monitor.end(scope)
        entry = self._live.pop(id(scope), None)
        if entry is not None:
            self._ended.append(entry)
        if len(self._ended) > self.linger:
            table, key, old = self._ended.popleft()
            self._release(old, ended=True)
            if table is not None and table.get(key) is old:
                del table[key]

    def _overdue(self, scope: Instance, now_ns: int) -> None:
        for monitor in self.plan.levels[scope.level].enders:
            monitor.overdue(scope, now_ns)

    def _settle(self, scope: Instance) -> None:
        """A scope is over, by its end, by the end of the stream, or by a cut."""
        for monitor in self.plan.levels[scope.level].enders:
            monitor.end(scope)
        self._release(scope, ended=self._definite)

    def _release(self, scope: Instance, *, ended: bool) -> None:
        """Count the violations that were held back for their guards."""
        for index, violation in scope.held:
            monitor = self.plan.monitors[index]
            if monitor.when_bit and not scope.mask & monitor.when_bit:
                continue
            if monitor.unless_bit:
                if scope.mask & monitor.unless_bit:
                    continue
                if not ended and violation.definite:
                    violation = _presumed(violation)
            self._count(monitor, violation)
        scope.held = []

    def _malformed(self, record: Record) -> None:
        self.malformed += 1
        self._line(record.connection, record.user)
        if self.contract.readable:
            what = record.note or "not a JSON object"
            self._break_rule(
                READABLE, "malformed-frame", f"a frame cannot be read: {what}", record.connection, record.user
            )

    def _no_name(self, connection: str, user: str, name: Any, data: Any) -> None:
        self.unnamed += 1
        self._line(connection, user)
        if self.contract.readable:
            found = "has no event name" if name is None else f"has {describe(name)} where its event name should stand"
            if data is not None and not isinstance(data, dict):
                found = f"is {describe(data)} and no object"
            self._break_rule(READABLE, "unnamed-event", f"an event {found}", connection, user)

    def _unknown(self, connection: str, user: str, name: str) -> None:
        known = self._known or frozenset()
        near = nearest(name, known)
        meant = f"; did the server mean {near!r}?" if near else ""
        self._break_rule(
            KNOWN, "unknown-event", f"{name!r:.80} is no event of the vocabulary{meant}", connection, user, name
        )

    def _break_rule(self, rule: str, code: str, message: str, connection: str, user: str, event: str = "") -> None:
        self.rule_violations[rule] += 1
        violation = Violation(
            code=code,
            clause=rule,
            clause_index=-1,
            message=message,
            expected=rule,
            hint="look at the frame in the recording, at this index",
            indices=(self.index,),
            connection=connection,
            user=user,
            event=event,
        )
        self.violation_count += 1
        if len(self.violations) < self.max_violations:
            self.violations.append(violation)
        self._fresh.append(violation)


_UNBORN: Final = "\0unborn"
"""Key of a run that never had an event."""


def _ask(entry: Entry, mask: int, scope: Instance, event: Event) -> None:
    for monitor, needs, bars in entry.gates:
        if mask & bars or mask & needs != needs:
            monitor.see(scope, event)


def _nothing(_: Any) -> None:
    return None


def _hashable(value: Any) -> Any:
    """Ids are text or numbers; whatever else stands in their place is compared by how it looks."""
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)


def _presumed(violation: Violation) -> Violation:
    return replace(violation, definite=False)


def is_break(record: Record) -> bool:
    """A close record that tells of a connection that was cut off, not closed."""
    code = record.data.get("code") if isinstance(record.data, dict) else None
    note = record.note.casefold()
    if note.startswith("closed by the client"):
        return False
    if code == ABNORMAL_CLOSE:
        return True
    return code is None and any(word in note for word in ("lost", "cut", "broke", "abnormal", "reset"))
