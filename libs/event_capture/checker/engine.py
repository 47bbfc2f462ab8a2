"""The checker: records in, violations and verdicts out. No I/O, no clock, no threads.

    checker = Checker(contract)
    for record in records:
        found = checker.feed(record)
    report = checker.finish(complete=True)

The same engine serves a live connection, a load worker and a file. A record costs a few dictionary look-ups: which
events came before is one integer per scope, and most clauses are bits of it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from event_capture.checker.event import (
    EVENT,
    MAX_NAMES,
    OTHER_NAMES,
    RECEIVED,
    Event,
    Finder,
    Marks,
    Place,
    Row,
    Track,
    is_break,
)
from event_capture.checker.extraction import Extraction, Reader
from event_capture.checker.field_monitors import FIRST_PATH, ID_SLOTS
from event_capture.checker.ledger import KNOWN, READABLE, Ledger
from event_capture.checker.plan import BEGUN, Entry, Level, Plan
from event_capture.checker.reporting import build_report
from event_capture.checker.scopes import UNBORN, Instance, Key, Lane, Line, Opener
from event_capture.checker.verdict import Report, Violation
from event_capture.contract.clauses import Scope
from event_capture.contract.model import Contract
from event_capture.documents import describe, nearest
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.pointer import getter


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
            max_scopes: most runs, threads, users or connections remembered at once. The oldest is settled as if it
                had been cut off when there are more.
            linger: how many runs that have ended are still watched for late events.
            max_openers: most unanswered sent messages remembered per connection.

        Raises:
            ContractError: a clause cannot be compiled.
        """
        self.contract = contract
        self.plan = Plan(contract)
        self.ledger = Ledger(max_violations)
        self.max_scopes = max_scopes
        self.linger = linger
        self.max_openers = max_openers
        for monitor in self.plan.monitors:
            monitor.sink = self.ledger
        self._read_name = getter(contract.vocabulary.event)
        self._read_sent = getter(contract.vocabulary.sent)
        self._extraction = Extraction(self.plan)
        self._control = frozenset(contract.vocabulary.control)
        self._segmented = contract.vocabulary.segmented
        self.index = -1
        self.first_ns: int | None = None
        self.last_ns = 0
        self.sent: dict[str, int] = {}
        self.malformed = 0
        self.retired = 0
        self.scope_counts: dict[str, int] = dict.fromkeys(Scope, 0)
        self.finished: Report | None = None
        self._tracks: dict[Any, Track] = {}
        self._event = Event()
        self._lines: dict[str, Line] = {}
        self._idle: dict[str, deque[Line]] = {}
        self._users: dict[Key, Instance] = {}
        self._whole: Instance | None = None
        self._ended: deque[Place] = deque()
        self._live: dict[int, Place] = {}
        levels = self.plan.levels
        self._run_level = levels.get(Scope.RUN)
        finders: dict[Scope, Finder] = {
            Scope.THREAD: self._thread_scope,
            Scope.CONNECTION: self._connection_scope,
            Scope.USER: self._user_scope,
            Scope.RECORDING: self._recording_scope,
        }
        self._finders = tuple((find, levels[scope]) for scope, find in finders.items() if scope in levels)
        connection = levels.get(Scope.CONNECTION)
        self._lean = connection if connection is not None and connection.lean else None
        self._rising = tuple((find, level) for find, level in self._finders if level.rising)

    @property
    def counts(self) -> dict[str, int]:
        """Received events by name, in the order in which the names came up."""
        return {track.name: track.count for track in self._tracks.values() if track.count}

    # Feeding

    def feed(self, record: Record) -> list[Violation]:
        """Check one record; its index is its place in the recording. Returns the violations that it made certain."""
        kind = record.kind
        if kind is Kind.EVENT:
            data = record.data
            if record.direction is Direction.SENT:
                self._sent_message(record.monotonic_ns, record.connection, record.user, data)
            else:
                name = self._read_name(data)
                track = self._tracks.get(name) if name.__class__ is str else None
                paths = track.paths if track is not None else self._paths(name)
                values = self._extraction.values(data, paths) if isinstance(data, dict) else ()
                line = self._lines.get(record.connection)
                if line is None or line.closed:
                    self._line(record.connection, record.user)
                if self.first_ns is None:
                    self.first_ns = record.monotonic_ns
                if name.__class__ is str and name:
                    where = (record.connection, EVENT, RECEIVED)
                    what = (name, *values[:ID_SLOTS], *values[FIRST_PATH:])
                    row = (record.monotonic_ns, where, what, values[ID_SLOTS:FIRST_PATH], data)
                    self.events((row,), _impossible)
                else:
                    self._tick(record.monotonic_ns)
                    self._no_name(self._lines[record.connection], name, data)
        else:
            self._tick(record.monotonic_ns)
            if kind is Kind.CLOSE:
                self._close(record)
            elif kind is Kind.OPEN:
                self._line(record.connection, record.user)
            elif record.direction is Direction.RECEIVED:
                self._malformed(record)
        return self.ledger.take()

    def feed_all(self, records: Iterable[Record]) -> list[Violation]:
        """Check several records."""
        found: list[Violation] = []
        for record in records:
            found += self.feed(record)
        return found

    def events(self, rows: Iterable[Row], other: Callable[[int], None]) -> None:  # noqa: C901  one loop on purpose
        """Check rows of received events whose fields are read already, in the order of the plan's fields.

        Args:
            rows: what happened when; see `Row`. Payloads are needed only if clauses look at them.
            other: called with the place of each row that is no received event of a connection known to be open.
        """
        # One loop, local names and no calls while all is well: a check of a million events spends its time here.
        # Whatever is out of the ordinary fills in `event` and asks the monitors. Streams repeat themselves, delta
        # after delta: an event that is like the two before it in all but its numbers, with nothing wrong in the last,
        # changes nothing but numbers, moments and counts.
        tracks, lines, event, ledger = self._tracks, self._lines, self._event, self.ledger
        run_level, lean, rising, segmented = self._run_level, self._lean, self._rising, self._segmented
        index = self.index
        last_where: tuple[str, str, str] | None = None
        last_what: tuple[Any, ...] | None = None
        streak = noted = 0
        track: Track | None = None
        line = event.line
        scope: Instance | None = None
        marks: list[tuple[Instance, Marks, Marks]] = []
        marked_line: Line | None = None
        marked_thread: Any = None
        ns = self.last_ns
        for place, (ns, where, what, numbers, data) in enumerate(rows):
            if what == last_what and where == last_where:
                streak += 1
            else:
                streak = 0
                last_where = where
                last_what = what
            if streak > 1 and noted == ledger.noted and track is not None and track.repeats:
                self.index = index = index + 1
                track.count += 1
                if scope is not None:
                    scope.last_ns = ns
                    scope.last_index = index
            else:
                noted = ledger.noted
                connection, kind, direction = where
                found = lines.get(connection)
                if found is None or found.closed or kind != EVENT or direction != RECEIVED:
                    other(place)
                    index = self.index
                    last_what = marked_line = None
                    continue
                line = found
                name = what[0]
                ids = what[1:4]
                values = (*ids, *numbers, *what[4:])
                self.index = index = index + 1
                self.last_ns = ns
                track = tracks.get(name)
                if track is None:
                    if not name or name.__class__ is not str:
                        self._no_name(line, name, data)
                        continue
                    track = self._track(name)
                track.count += 1
                if track.stranger:
                    self._unknown(line, name)
                lane = line.lane
                if run_level is not None:
                    scope = lane.current if segmented else lane.runs.get(ids[2])
                    if scope is None or scope.ended or ids != scope.ids or line.user != scope.ids_user:
                        event.fill(index, ns, name, line, values, data)
                        if scope is None or scope.ended:
                            scope = self._run_of(line, event, scope)
                        if scope is not None:
                            self._see(run_level, track.run, scope, event)
                            if track.ends and not scope.ended:
                                self._end_run(scope)
                    else:
                        mask = scope.mask
                        if (mask ^ track.needs) & track.watch:
                            event.fill(index, ns, name, line, values, data)
                            _ask(run_level, track.run, mask, scope, event)
                        if track.seers:
                            event.fill(index, ns, name, line, values, data)
                            for see in track.seers:
                                see(scope, event)
                        scope.mask = mask | track.sets
                        scope.last_ns = ns
                        scope.last_index = index
                        scope.last_name = name
                        if track.ends:
                            self._end_run(scope)
                if track.wider:
                    event.fill(index, ns, name, line, values, data)
                    for find, level, entry in track.wider:
                        self._see(level, entry, find(level, line, event), event)
                if lean is not None and line.ids != ids:
                    event.fill(index, ns, name, line, values, data)
                    self._look_at_line(lean, line, event)
                if rising and (line is not marked_line or ids[1] != marked_thread):
                    event.fill(index, ns, name, line, values, data)
                    marks = [(find(level, line, event), level.counters, level.clocks) for find, level in rising]
                    marked_line, marked_thread = line, ids[1]
            for marked, counters, clocks in marks:
                slots = marked.slots
                for slot, field, ask in counters:
                    memory = slots[slot]
                    value = numbers[field]
                    if value.__class__ is int and value == memory[3] and numbers[1] == memory[2]:
                        memory[0] = value
                        memory[1] = index
                        memory[3] = value + 1
                    elif value is not None:
                        event.fill(index, ns, what[0], line, (*what[1:4], *numbers, *what[4:]), data)
                        ask(marked, event)
                for slot, field, ask in clocks:
                    memory = slots[slot]
                    value = numbers[field]
                    if (
                        value.__class__ is str and len(value) == memory[3] and value >= memory[0] and value[-1] == "Z"
                    ) or (value.__class__ is int and memory[3] == 0 and value >= memory[0]):
                        memory[0] = value
                        memory[1] = index
                    elif value is not None:
                        event.fill(index, ns, what[0], line, (*what[1:4], *numbers, *what[4:]), data)
                        ask(marked, event)
        if last_what is not None:
            self.last_ns = ns

    def _see(self, level: Level, entry: Entry, scope: Instance, event: Event) -> None:
        """Show an event to everybody at one level who watches for it."""
        mask = scope.mask
        if (mask ^ entry.needs) & entry.watch:
            _ask(level, entry, mask, scope, event)
        for see in entry.seers:
            see(scope, event)
        ids = event.values[:3]
        if ids != scope.ids or event.line.user != scope.ids_user:
            self._look_at_ids(level, scope, event, ids)
        scope.mask = mask | entry.sets
        scope.last_ns = event.ns
        scope.last_index = event.index
        scope.last_name = event.name

    def _look_at_line(self, level: Level, line: Line, event: Event) -> None:
        """The ids on a connection have changed: ask whoever cares."""
        scope = self._connection_scope(level, line, event)
        if scope.ids != event.values[:3]:
            self._look_at_ids(level, scope, event, event.values[:3])
        scope.mask |= level.entry(event.name).sets
        line.ids = scope.ids

    def _look_at_ids(self, level: Level, scope: Instance, event: Event, ids: tuple[Any, ...]) -> None:
        noted = self.ledger.noted
        for monitor in level.steady:
            monitor.see(scope, event)
        if noted == self.ledger.noted:
            scope.ids = ids
            scope.ids_user = event.line.user

    def _paths(self, name: Any) -> tuple[tuple[int, Reader], ...]:
        return self._track(name).paths if isinstance(name, str) and name else ()

    def _track(self, name: str) -> Track:
        """Make the track of a name that is new."""
        if len(self._tracks) >= MAX_NAMES and name not in self._tracks:
            name = OTHER_NAMES
        track = self._tracks.get(name)
        if track is None:
            run = (self._run_level or self.plan.idle).entry(name)
            wider = tuple(
                (find, level, level.entry(name))
                for find, level in self._finders
                if level is not self._lean and not level.ignores(name)
            )
            reads = set().union(*(level.entry(name).reads for level in self.plan.levels.values()))
            paths = self._extraction.paths(reads)
            track = self._tracks[name] = Track(
                name,
                run,
                wider,
                paths,
                ends=name in self.plan.ends,
                stranger=self.plan.known is not None and name not in self.plan.known,
            )
        return track

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

    def _sent_message(self, ns: int, connection: str, user: str, data: Any) -> None:
        """Take note of a message of the client."""
        self._tick(ns)
        line = self._line(connection, user)
        found = self._read_sent(data)
        name = found if isinstance(found, str) else ""
        if name in self.sent or len(self.sent) < MAX_NAMES:
            self.sent[name] = self.sent.get(name, 0) + 1
        if name not in self._control:
            line.lane.openers.append(Opener(self.index, ns, self._extraction.thread(data)))
        self._see_sent(line, f"sent:{name}", ns, data)

    def _see_sent(self, line: Line, name: str, ns: int, data: Any) -> None:
        """Sent messages are no part of "all events": they reach only the clauses that name them."""
        event = self._event
        event.fill(self.index, ns, name, line, (), data)
        for find, level in self._finders:
            entry = level.entries.get(name)
            if entry is None:
                continue
            if not event.values:
                event.values = self._extraction.values(data, self._extraction.paths(entry.reads))
            scope = find(level, line, event)
            mask = scope.mask
            if (mask ^ entry.needs) & (entry.watch & ~BEGUN):
                _ask(level, entry, mask | BEGUN, scope, event)
            for monitor in level.monitors:
                if monitor.watched and name in monitor.watched:
                    monitor.see(scope, event)
            scope.mask = mask | (entry.sets & ~BEGUN)

    def advance(self, monotonic_ns: int) -> list[Violation]:
        """Time has passed without a record: returns the violations of budgets that are used up for good."""
        self.last_ns = max(self.last_ns, monotonic_ns)
        for _, _, scope in list(self._live.values()):
            self._overdue(scope, monotonic_ns)
        return self.ledger.take()

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
        open_scopes = [scope for _, _, scope in self._live.values() if not scope.ended]
        for scope in open_scopes:
            self._overdue(scope, self.last_ns)
        self.ledger.definite = complete
        for scope in open_scopes:
            self._settle(scope)
        for _, _, scope in self._ended:
            self.ledger.release(scope, self.plan.by_index, ended=True)
        self._ended.clear()
        self._live.clear()
        self.finished = build_report(self, complete=complete)
        return self.finished

    def _never_begun(self) -> None:
        """Whoever asked and got no answer has a run without events: its clauses must not hold for want of one."""
        lanes = {id(line.lane): line for line in self._lines.values()}
        somebody = next(iter(lanes.values()), None) or Line("", "", Lane(0))
        if self._run_level is not None:
            for line in lanes.values():
                if line.lane.openers and not line.lane.served:
                    self._open(self._run_level, line.lane.segments, UNBORN, line, None)
        for scope, level in self.plan.levels.items():
            if not self.scope_counts[scope]:
                self._open(level, None, UNBORN, somebody, None)

    # Connections and scopes

    def _tick(self, ns: int) -> None:
        self.index += 1
        self.last_ns = ns
        if self.first_ns is None:
            self.first_ns = ns

    def _line(self, connection: str, user: str) -> Line:
        line = self._lines.get(connection)
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
                self._lines.pop(predecessor.name, None)
        else:
            line = Line(connection, user, Lane(self.max_openers))
        self._lines[connection] = line
        self.scope_counts["connections"] = self.scope_counts.get("connections", 0) + 1
        return line

    def _close(self, record: Record) -> None:
        line = self._line(record.connection, record.user)
        line.closed = True
        line.broken = is_break(record)
        idle = self._idle.setdefault(line.user, deque(maxlen=self.max_scopes))
        if line not in idle:
            idle.append(line)

    def _run_of(self, line: Line, event: Event, found: Instance | None) -> Instance | None:
        """The run of an event whose run id is new, whose run has ended, or that has none."""
        level = self._run_level
        assert level is not None  # noqa: S101  asked only when there is one
        lane = line.lane
        run, thread = event.values[2], event.values[1]
        if self._segmented:
            if found is None or event.name in self.plan.begins:
                found = lane.current = self._open(level, None, run if run is not None else self.index, line, event)
            return found
        if run is not None:
            return found or self._open(level, lane.runs, run, line, event)
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
        self.ledger.definite = False
        self._settle(scope)
        self.ledger.definite = True

    def _end_run(self, scope: Instance) -> None:
        for monitor in self.plan.levels[Scope.RUN].enders:
            monitor.end(scope)
        scope.ended = True
        scope.end_mask = scope.mask
        if scope.held:
            self.ledger.release(scope, self.plan.by_index, ended=True, last=False)
        place = self._live.pop(id(scope), None)
        if place is not None:
            self._ended.append(place)
        if len(self._ended) > self.linger:
            table, key, old = self._ended.popleft()
            self.ledger.release(old, self.plan.by_index, ended=True)
            if table is not None and table.get(key) is old:
                del table[key]

    def _overdue(self, scope: Instance, now_ns: int) -> None:
        for monitor in self.plan.levels[scope.level].enders:
            monitor.overdue(scope, now_ns)

    def _settle(self, scope: Instance) -> None:
        """A scope is over, by the end of the stream or by a cut."""
        for monitor in self.plan.levels[scope.level].enders:
            monitor.end(scope)
        self.ledger.release(scope, self.plan.by_index, ended=self.ledger.definite)

    # Rules that every contract has

    def _malformed(self, record: Record) -> None:
        self.malformed += 1
        self._line(record.connection, record.user)
        if self.contract.readable:
            what = f"a frame cannot be read: {record.note or 'not a JSON object'}"
            self.ledger.break_rule(READABLE, "malformed-frame", what, self.index, record.connection, record.user)

    def _no_name(self, line: Line, name: Any, data: Any) -> None:
        if self.contract.readable:
            found = "has no event name" if name is None else f"has {describe(name)} where its event name should stand"
            if data is not None and not isinstance(data, dict):
                found = f"is {describe(data)} and no object"
            self.ledger.break_rule(READABLE, "unnamed-event", f"an event {found}", self.index, line.name, line.user)

    def _unknown(self, line: Line, name: str) -> None:
        near = nearest(name, self.plan.known or ())
        meant = f"; did the server mean {near!r}?" if near else ""
        what = f"{name!r:.80} is no event of the vocabulary{meant}"
        self.ledger.break_rule(KNOWN, "unknown-event", what, self.index, line.name, line.user, name)


def _ask(level: Level, entry: Entry, mask: int, scope: Instance, event: Event) -> None:
    """A bit is not as this event wants it: ask the monitors whose bit it is."""
    if not mask & BEGUN:
        scope.first_index = event.index
        for opener in level.openers:
            opener(scope, event)
    for monitor, needs, bars in entry.gates:
        if mask & bars or mask & needs != needs:
            monitor.see(scope, event)


def _impossible(_: int) -> None:
    raise AssertionError("a single event is always one of an open connection")
