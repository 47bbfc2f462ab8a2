"""The loop that checks events: nearly all the time of a check is spent here."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import astuple

from event_capture.checker.batch import Batch
from event_capture.checker.directory import Directory
from event_capture.checker.event import MAX_NAMES, OTHER_NAMES, Event, Track
from event_capture.checker.field_monitors import EPOCH_OF, LAST, NEXT, PLACE, Memory
from event_capture.checker.fields import Values
from event_capture.checker.layout import FIRST_PATH, SEQUENCE, USER
from event_capture.checker.ledger import Ledger
from event_capture.checker.plan import BEGUN, Entry, Level, Plan
from event_capture.checker.rising import Rising
from event_capture.checker.scopes import Instance, Lane, Line
from event_capture.contract.clauses import Scope
from event_capture.records import Direction, Kind

_EVENT: Final = Kind.EVENT
_RECEIVED: Final = Direction.RECEIVED
_RUN: Final = Scope.RUN
_NO_NUMBERS: Final[Memory] = []
"""Stands in for the memory of a monitor of numbers where no clause is about them."""
_NOBODY: Final = (None, None, None)
"""The ids of an event that names no user, thread or run: nobody who compares ids has anything to say about it."""


class Sweep:
    """Shows events to the monitors that have to do with them, and counts them.

    An event is ordinary when nobody has anything to say about it but the monitors of its name. To see that takes a few
    comparisons: with the ids of the event before, with the bits that must be set and not set in its run, with the
    numbers that come next. Whatever else it may be, `_whatever` shows it to everybody; the two never disagree.
    """

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
        self._event = Event()
        self._rising = Rising(directory)
        self._lines, self._run_level = directory.lines, directory.run_level
        self.tracks: dict[str, Track] = {}
        """What is to be done with each event, by name, in the order in which the names came up."""
        connection = plan.levels.get(Scope.CONNECTION)
        self._lean = connection if connection is not None and connection.lean else None
        self._no_run = Instance(_RUN, None, "", "", [], 0)
        """Stands in for the run of an event where no clause is about runs."""
        self._no_run.mask = BEGUN
        self._no_track = Track("", plan.idle.unheard, (), ends=False, loose=False, stranger=True)
        """Stands in for the track of a name that is new."""

    def events(self, batch: Batch, base: int) -> None:  # noqa: C901  one loop on purpose
        """Check a batch, whose first record has the index `base`."""
        tracks, event, ledger, directory = self.tracks, self._event, self._ledger, self._directory
        values_of, parse, none = batch.values, datetime.fromisoformat, self._no_track
        # Whom the events at hand belong to, and what their numbers are compared with. No connection: find that out.
        connection: str | None = None
        user = thread = run = None
        line, scope, counter, clock = event.line, self._no_run, _NO_NUMBERS, _NO_NUMBERS
        # What is to be done with the event before; its name, if its run need not be looked at when the next one has it,
        # too; and all of it but its numbers, if the same again tells nobody anything. Streams repeat themselves, delta
        # after delta.
        track = none
        again: str | None = None
        echo: Values | None = None
        for index, (frame, message) in enumerate(zip(batch.frames, batch.messages, strict=True), base):
            if frame.kind is not _EVENT or frame.direction is not _RECEIVED:
                connection = None
                self._other(batch, index - base)
                continue
            fresh = echo is None or frame.connection != connection or astuple(message)[:SEQUENCE] != echo
            if fresh:
                echo = None
                if (
                    frame.connection != connection
                    or message.run != run
                    or message.thread != thread
                    or message.user != user
                ):
                    connection, user, thread, run = frame.connection, message.user, message.thread, message.run
                    home = self._home(frame.connection, (user, thread, run))
                    if home is None:
                        connection = None
                        self._whatever(batch, index - base, index)
                        continue
                    line, scope, counter, clock = home
                    again = None
                if again is None or message.name != again:
                    again = None
                    track = tracks.get(message.name, none)
                    if (scope.mask ^ track.needs) & track.watch or (track.loose and run is None):
                        connection = None
                        self._whatever(batch, index - base, index)
                        continue
            sequence = message.sequence if counter else None
            ordinary = sequence is None or (
                sequence == counter[NEXT] and sequence.__class__ is int and message.epoch == counter[EPOCH_OF]
            )
            moment: Any = message.timestamp if clock else None
            if moment is not None:
                if moment.__class__ is str:
                    try:
                        moment = parse(moment)
                    except ValueError:
                        ordinary = False
                    else:
                        ordinary = ordinary and moment.tzinfo is UTC
                ordinary = ordinary and moment.__class__ is clock[NEXT].__class__ and moment >= clock[NEXT]
            if not ordinary:
                connection = None
                self._whatever(batch, index - base, index)
                continue
            now = frame.monotonic_ns
            if fresh and track.shown:
                raw = astuple(message)
                event.index, event.ns, event.name, event.line = index, now, track.name, line
                event.values, event.data = raw if values_of is None else values_of(message), frame.data
                noted = ledger.noted
                for see in track.seers:
                    see(scope, event)
                if track.repeats and noted == ledger.noted:
                    echo = raw[:SEQUENCE]
            if again is None:
                mask = scope.mask = scope.mask | track.sets
                scope.last_name = track.name
                if not (mask ^ track.needs) & track.watch:
                    again = track.name
            track.count += 1
            scope.last_ns = now
            scope.last_index = index
            if sequence is not None:
                counter[LAST] = sequence
                counter[PLACE] = index
                counter[NEXT] = sequence + 1
            if moment is not None:
                clock[LAST] = message.timestamp
                clock[PLACE] = index
                clock[NEXT] = moment
            if track.ends:
                connection = None
                directory.end_run(scope)
            for find, level, entry in track.wider:
                retired = directory.retired
                self._see(level, entry, find(level, line, event), event)
                if directory.retired != retired:
                    connection = None

    def _home(self, connection: str, ids: tuple[Any, ...]) -> tuple[Line, Instance, Memory, Memory] | None:
        """Connection, run and numbers of an event. None: not all of them are known and open, or its ids are new."""
        line = self._lines.get(connection)
        if line is None or line.closed:
            return None
        scope = self._no_run
        if self._run_level is not None:
            begun = self._run(line.lane, ids)
            if begun is None or begun.ended:
                return None
            if ids != _NOBODY and (ids != begun.ids or line.user != begun.ids_user):
                return None
            scope = begun
        if self._lean is not None and line.ids != ids and (line.instance is None or ids != _NOBODY):
            return None
        if not self._rising.wanted:
            return line, scope, _NO_NUMBERS, _NO_NUMBERS
        memories = self._rising.memories(line, ids[1])
        return None if memories is None else (line, scope, *memories)

    def _run(self, lane: Lane, ids: tuple[Any, ...]) -> Instance | None:
        """The run that an event belongs to, as far as it has begun."""
        if self._plan.segmented:
            return lane.current
        _, thread, run = ids
        return lane.segments.get(thread) if run is None else lane.runs.get(run)

    def _whatever(self, batch: Batch, place: int, index: int) -> None:
        """Check an event that may be out of the ordinary."""
        frame, message = batch.frames[place], batch.messages[place]
        name = message.name
        if not name:
            self._other(batch, place)
            return
        found = self._lines.get(frame.connection)
        line = self._opened(batch, place) if found is None or found.closed else found
        track = self.tracks.get(name) or self.track(name)
        track.count += 1
        event = self._event
        event.fill(index, frame.monotonic_ns, name, line, batch.read(message), frame.data)
        if track.stranger:
            self._unknown(line, name, index)
        if self._run_level is not None:
            belongs = self._plan.segmented or message.run is not None
            scope = self._run(line.lane, event.values[USER:FIRST_PATH]) if belongs else None
            if scope is None or scope.ended:
                scope = self._directory.run_of(line, event, scope)
            if scope is not None:
                self._see(self._run_level, track.run, scope, event)
                if track.ends and not scope.ended:
                    self._directory.end_run(scope)
        for find, level, entry in track.wider:
            self._see(level, entry, find(level, line, event), event)
        if self._lean is not None:
            self._look_at_line(self._lean, line, event)
        if self._rising.wanted:
            self._rising.look(line, event)

    def sent(self, line: Line, name: str, index: int, ns: int, values: tuple[Any, ...], data: Any) -> None:
        """Sent messages are no part of "all events": they reach only the clauses that name them."""
        event = self._event
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
                    if level is not self._lean and not level.ignores(name)
                ),
                ends=name in plan.ends and self._run_level is not None,
                loose=name not in plan.run_alphabet and not plan.segmented,
                stranger=plan.known is not None and name not in plan.known,
            )
        return track

    def _see(self, level: Level, entry: Entry, scope: Instance, event: Event) -> None:
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
            if ids != _NOBODY and (ids != scope.ids or event.line.user != scope.ids_user):
                self._look_at_ids(level, scope, event, ids)
        scope.mask = mask | entry.sets
        scope.last_ns = event.ns
        scope.last_index = event.index
        scope.last_name = event.name

    def _look_at_line(self, level: Level, line: Line, event: Event) -> None:
        """Look at the ids of an event on a connection, unless they have been looked at."""
        ids = event.values[USER:FIRST_PATH]
        if line.ids == ids or (line.instance is not None and ids == _NOBODY):
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
