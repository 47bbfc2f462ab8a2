"""Shows an event to everybody who may have something to say about it."""

from collections.abc import Callable
from typing import Any, Final

from event_capture.checker.batch import Batch
from event_capture.checker.directory import Directory
from event_capture.checker.event import MAX_NAMES, OTHER_NAMES, Event, Track
from event_capture.checker.layout import FIRST_PATH, USER
from event_capture.checker.ledger import Ledger
from event_capture.checker.plan import BEGUN, Entry, Level, Plan
from event_capture.checker.rising import Rising
from event_capture.checker.scopes import Instance, Lane, Line
from event_capture.contract.clauses import Scope

NOBODY: Final = (None, None, None)
"""The ids of an event that names no user, thread or run: nobody who compares ids has anything to say about it."""


class Audience:
    """Everybody who may have something to say about an event, and what is to be done with each name."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        directory: Directory,
        *,
        other: Callable[[Batch, int], None],
        opened: Callable[[Batch, int], Line],
        unknown: Callable[[Line, str, int], None],
    ) -> None:
        """Prepare to check.

        Args:
            plan: the compiled contract.
            ledger: where violations are counted.
            directory: whom events belong to.
            other: called with the place of each record that is no received event with a name, to check it.
            opened: called with the place of each event on a connection that is not open, to open it.
            unknown: called with connection, name and index of each event that a closed contract does not know.
        """
        self._plan = plan
        self._ledger = ledger
        self._directory = directory
        self._other, self._opened, self._unknown = other, opened, unknown
        self.event = Event()
        """The event at hand."""
        self.rising = Rising(directory)
        self._lines, self._run_level = directory.lines, directory.run_level
        self.tracks: dict[str, Track] = {}
        """What is to be done with each event, by name, in the order in which the names came up."""
        connection = plan.levels.get(Scope.CONNECTION)
        self.lean = connection if connection is not None and connection.lean else None
        """The level of connections, where nothing is asked of an event there but whether its ids are as before."""

    def run(self, lane: Lane, ids: tuple[Any, ...]) -> Instance | None:
        """The run that an event belongs to, as far as it has begun."""
        if self._plan.segmented:
            return lane.current
        _, thread, run = ids
        return lane.segments.get(thread) if run is None else lane.runs.get(run)

    def show(self, batch: Batch, place: int, index: int) -> None:
        """Check an event, whatever it is."""
        frame, message = batch.frames[place], batch.messages[place]
        name = message.name
        if not name:
            self._other(batch, place)
            return
        found = self._lines.get(frame.connection)
        line = self._opened(batch, place) if found is None or found.closed else found
        track = self.tracks.get(name) or self.track(name)
        track.count += 1
        event = self.event
        event.fill(index, frame.monotonic_ns, name, line, batch.values(message), frame.data)
        if track.stranger:
            self._unknown(line, name, index)
        if self._run_level is not None:
            belongs = self._plan.segmented or message.run is not None
            scope = self.run(line.lane, event.values[USER:FIRST_PATH]) if belongs else None
            if scope is None or scope.ended:
                scope = self._directory.run_of(line, event, scope)
            if scope is not None:
                self.see(self._run_level, track.run, scope, event)
                if track.ends and not scope.ended:
                    self._directory.end_run(scope)
        for find, level, entry in track.wider:
            self.see(level, entry, find(level, line, event), event)
        if self.lean is not None:
            self._look_at_line(self.lean, line, event)
        if self.rising.wanted:
            self.rising.look(line, event)

    def sent(self, line: Line, name: str, index: int, ns: int, values: tuple[Any, ...], data: Any) -> None:
        """Sent messages are no part of "all events": they reach only the clauses that name them."""
        event = self.event
        event.fill(index, ns, name, line, values, data)
        for find, level in self._directory.finders:
            entry = level.entries.get(name)
            if entry is None:
                continue
            scope = find(level, line, event)
            mask = scope.mask
            if (mask ^ entry.needs) & (entry.watch & ~BEGUN):
                self._ask(entry, mask | BEGUN, scope, event)
            for monitor in level.monitors:
                if monitor.watched and name in monitor.watched:
                    monitor.see(scope, event)
            scope.mask = mask | (entry.sets & ~BEGUN)

    def track(self, name: str) -> Track:
        """Make the track of a name that is new."""
        plan = self._plan
        if len(self.tracks) >= MAX_NAMES and name not in self.tracks:
            name = OTHER_NAMES
        track = self.tracks.get(name)
        if track is None:
            track = self.tracks[name] = Track(
                name,
                (self._run_level or plan.idle).entry(name),
                tuple(
                    (find, level, level.entry(name))
                    for find, level in self._directory.finders
                    if level is not self.lean and not level.ignores(name)
                ),
                ends=name in plan.ends and self._run_level is not None,
                loose=name not in plan.run_alphabet and not plan.segmented,
                stranger=plan.known is not None and name not in plan.known,
            )
        return track

    def see(self, level: Level, entry: Entry, scope: Instance, event: Event) -> None:
        """Show an event to everybody at one level who watches for it."""
        mask = scope.mask
        if (mask ^ entry.needs) & entry.watch:
            if mask or not entry.begins:
                self._ask(entry, mask, scope, event)
            else:
                scope.first_index = event.index
        for see in entry.seers:
            see(scope, event)
        if level.steady:
            ids = event.values[USER:FIRST_PATH]
            if ids != NOBODY and (ids != scope.ids or event.line.user != scope.ids_user):
                self._look_at_ids(level, scope, event, ids)
        scope.mask = mask | entry.sets
        scope.last_ns = event.ns
        scope.last_index = event.index
        scope.last_name = event.name

    def _look_at_line(self, level: Level, line: Line, event: Event) -> None:
        """Look at the ids of an event on a connection, unless they have been looked at."""
        ids = event.values[USER:FIRST_PATH]
        if line.ids == ids or (line.instance is not None and ids == NOBODY):
            return
        scope = self._directory.connection_scope(level, line, event)
        if scope.ids != ids:
            self._look_at_ids(level, scope, event, ids)
        line.ids = scope.ids

    def _look_at_ids(self, level: Level, scope: Instance, event: Event, ids: tuple[Any, ...]) -> None:
        noted = self._ledger.noted
        for monitor in level.steady:
            monitor.see(scope, event)
        if noted == self._ledger.noted:
            scope.ids = ids
            scope.ids_user = event.line.user

    def _ask(self, entry: Entry, mask: int, scope: Instance, event: Event) -> None:
        """A bit is not as this event wants it: ask the monitors whose bit it is."""
        if not mask & BEGUN:
            scope.first_index = event.index
            for opener in entry.openers:
                opener(scope, event)
        for monitor, needs, bars in entry.gates:
            if mask & bars or mask & needs != needs:
                if monitor.when_bit and not mask & monitor.when_bit:
                    self._ledger.defer(monitor, scope, event.index, event.name)
                else:
                    monitor.see(scope, event)
