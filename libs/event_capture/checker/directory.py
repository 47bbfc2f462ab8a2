"""Who an event belongs to: finds the connection, and opens, ends and settles the scopes that clauses are about."""

from collections import deque

from event_capture.checker.event import Event, Finder, is_break
from event_capture.checker.layout import RUN, THREAD, USER
from event_capture.checker.ledger import Ledger
from event_capture.checker.plan import Level, Plan
from event_capture.checker.scopes import UNBORN, Instance, Key, Lane, Line, Opener
from event_capture.contract.clauses import Scope
from event_capture.records import Record


class Directory:
    """All connections and scopes of one check, in bounded memory."""

    def __init__(self, plan: Plan, ledger: Ledger, *, max_scopes: int, linger: int, max_openers: int) -> None:
        self.plan = plan
        self.ledger = ledger
        self.max_scopes = max_scopes
        self.linger = linger
        self.max_openers = max_openers
        self.lines: dict[str, Line] = {}
        self.connections = 0
        """How many there have been."""
        self.retired = 0
        """Scopes settled early, because too many were open."""
        self.run_level = plan.levels.get(Scope.RUN)
        finders: dict[Scope, Finder] = {
            Scope.THREAD: self._thread_scope,
            Scope.CONNECTION: self.connection_scope,
            Scope.USER: self._user_scope,
            Scope.RECORDING: self._recording_scope,
        }
        self.finders = tuple((find, plan.levels[scope]) for scope, find in finders.items() if scope in plan.levels)
        """How to find an event's scope at each level, runs excepted."""
        self._idle: dict[str, deque[Line]] = {}
        self._users: dict[Key, Instance] = {}
        self._whole: Instance | None = None
        self._ended: deque[Instance] = deque()
        self._live: dict[Instance, None] = {}
        """The scopes that go on, the oldest first."""

    @property
    def counts(self) -> dict[str, int]:
        """How many scopes and connections there have been."""
        levels = self.plan.levels
        counts: dict[str, int] = {scope: levels[scope].opened if scope in levels else 0 for scope in Scope}
        return counts | {"connections": self.connections} if self.connections else counts

    # Connections

    def line(self, connection: str, user: str) -> Line:
        """The connection of a record; it is open from now on."""
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
        self.connections += 1
        return line

    def close(self, record: Record) -> None:
        """A connection has ended."""
        line = self.line(record.connection, record.user)
        line.closed = True
        line.broken = is_break(record)
        idle = self._idle.setdefault(line.user, deque(maxlen=self.max_scopes))
        if line not in idle:
            idle.append(line)

    def asked(self, line: Line, index: int, ns: int, thread: Key) -> None:
        """The client has sent a message that starts a turn."""
        line.lane.openers.append(Opener(index, ns, thread))

    # Scopes of an event

    def run_of(self, line: Line, event: Event, found: Instance | None) -> Instance | None:
        """The run of an event whose run id is new, whose run has ended, or that has none."""
        level = self.run_level
        assert level is not None  # noqa: S101  asked only when there is one
        lane, plan = line.lane, self.plan
        run, thread = event.values[RUN], event.values[THREAD]
        if plan.segmented:
            if found is None or event.name in plan.begins:
                found = lane.current = self._open(level, None, run if run is not None else event.index, line, event)
            return found
        if run is not None:
            return found or self._open(level, lane.runs, run, line, event)
        if event.name not in plan.run_alphabet:
            return None
        scope = lane.segments.get(thread)
        if scope is not None and scope.ended and (event.name in plan.begins or lane.openers):
            scope = None
        if scope is None:
            scope = self._open(level, lane.segments, thread, line, event)
        return scope

    def _thread_scope(self, level: Level, line: Line, event: Event) -> Instance:
        thread = event.values[THREAD]
        return line.lane.threads.get(thread) or self._open(level, line.lane.threads, thread, line, event)

    def connection_scope(self, level: Level, line: Line, event: Event) -> Instance:
        """The scope of a connection."""
        if line.instance is None:
            line.instance = self._open(level, None, line.name, line, event)
        return line.instance

    def _user_scope(self, level: Level, line: Line, event: Event) -> Instance:
        owner = line.user or event.values[USER]
        return self._users.get(owner) or self._open(level, self._users, owner, line, event)

    def _recording_scope(self, level: Level, line: Line, event: Event) -> Instance:
        if self._whole is None:
            self._whole = self._open(level, None, "", line, event)
        return self._whole

    def _open(
        self,
        level: Level,
        table: dict[Key, Instance] | None,
        key: Key,
        line: Line,
        event: Event | None,
        last_ns: int = 0,
    ) -> Instance:
        slots = level.slots.copy()
        for slot, make in level.makers:
            slots[slot] = make()
        user = line.user
        scope = Instance(level.scope, key, line.name, user, slots, event.ns if event else last_ns)
        level.opened += 1
        if level is self.run_level:
            lane = line.lane
            lane.served += event is not None
            opener = lane.claim(event.values[THREAD] if event else None) if lane.openers else None
            if opener is not None:
                scope.start_ns = opener.ns
                scope.clocked = True
        if event is not None and not user and isinstance(event.values[USER], str):
            scope.user = event.values[USER]
        if table is not None:
            table[key] = scope
            scope.table = table
        self._live[scope] = None
        if len(self._live) > self.max_scopes:
            self._retire_oldest()
        return scope

    # Ends of scopes

    def end_run(self, scope: Instance) -> None:
        """A run has had its last event; it is watched for late ones a while longer."""
        assert self.run_level is not None  # noqa: S101  there are runs
        self._ask_enders(self.run_level, scope)
        scope.ended = True
        scope.end_mask = scope.mask
        if scope.held:
            self.ledger.release(scope, self.plan.by_index, ended=True, last=False)
        if scope in self._live:
            del self._live[scope]
            self._ended.append(scope)
        if len(self._ended) > self.linger:
            old = self._ended.popleft()
            if old.held:
                self.ledger.release(old, self.plan.by_index, ended=True)
            _forget(old)

    def overdue(self, now_ns: int) -> None:
        """Time has passed: budgets of open scopes may be used up."""
        for scope in list(self._live):
            self._overdue(scope, now_ns)

    def finish(self, last_ns: int, *, complete: bool) -> None:
        """The stream is over: settle every scope."""
        self._never_begun(last_ns)
        open_scopes = [scope for scope in self._live if not scope.ended]
        for scope in open_scopes:
            self._overdue(scope, last_ns)
        self.ledger.definite = complete
        for scope in open_scopes:
            self._settle(scope)
        for scope in self._ended:
            self.ledger.release(scope, self.plan.by_index, ended=True)
        self._ended.clear()
        self._live.clear()

    def _never_begun(self, last_ns: int) -> None:
        """Whoever asked and got no answer has a run without events: its clauses must not hold for want of one."""
        lanes = {id(line.lane): line for line in self.lines.values()}
        somebody = next(iter(lanes.values()), None) or Line("", "", Lane(0))
        if self.run_level is not None:
            for line in lanes.values():
                if line.lane.openers and not line.lane.served:
                    self._open(self.run_level, line.lane.segments, UNBORN, line, None, last_ns)
        for level in self.plan.levels.values():
            if not level.opened:
                self._open(level, None, UNBORN, somebody, None, last_ns)

    def _retire_oldest(self) -> None:
        scope = next(iter(self._live))
        del self._live[scope]
        _forget(scope)
        self.retired += 1
        self.ledger.definite = False
        self._settle(scope)
        self.ledger.definite = True

    def _settle(self, scope: Instance) -> None:
        """A scope is over, by the end of the stream or by a cut."""
        self._ask_enders(self.plan.levels[scope.level], scope)
        self.ledger.release(scope, self.plan.by_index, ended=self.ledger.definite)

    def _ask_enders(self, level: Level, scope: Instance) -> None:
        if level.untested:
            level.untested = [monitor for monitor in level.untested if not monitor.weigh(scope)]
        mask = scope.mask
        if mask & level.content == level.content:
            for bit, monitor in level.exacting:
                if not bit or mask & bit:
                    monitor.end(scope)
        else:
            for monitor in level.enders:
                monitor.end(scope)

    def _overdue(self, scope: Instance, now_ns: int) -> None:
        for monitor in self.plan.levels[scope.level].enders:
            monitor.overdue(scope, now_ns)


def _forget(scope: Instance) -> None:
    """It is found no more."""
    table = scope.table
    if table is not None and table.get(scope.key) is scope:
        del table[scope.key]
