"""The loop that checks events, batch by batch: nearly all the time of a check is spent here."""

from collections.abc import Callable
from typing import Any

from event_capture.checker.batch import Batch
from event_capture.checker.directory import Directory
from event_capture.checker.event import MAX_NAMES, OTHER_NAMES, Event, Track
from event_capture.checker.extraction import Extraction, Paths
from event_capture.checker.layout import RUN, USER
from event_capture.checker.ledger import Ledger
from event_capture.checker.plan import BEGUN, Entry, Level, Plan
from event_capture.checker.rising import Rising
from event_capture.checker.scopes import Instance, Line
from event_capture.contract.clauses import Scope


class Sweep:
    """Shows events to the monitors that have to do with them, and counts them."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        directory: Directory,
        extraction: Extraction,
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
            extraction: what is read of them.
            other: called with the place of each record that is no received event with a name, to check it.
            opened: called with the place of each event on a connection that is not open, to open it.
            unknown: called with connection, name and index of each event that a closed contract does not know.
        """
        self._plan = plan
        self._ledger = ledger
        self._directory = directory
        self._extraction = extraction
        self._other, self._opened, self._unknown = other, opened, unknown
        self._event = Event()
        self._rising = Rising(directory)
        self.tracks: dict[str, Track] = {}
        """What is to be done with each event, by name, in the order in which the names came up."""
        connection = plan.levels.get(Scope.CONNECTION)
        self._lean = connection if connection is not None and connection.lean else None

    def events(self, batch: Batch, base: int) -> None:  # noqa: C901  one loop on purpose
        """Check a batch, whose first record has the index `base`."""
        # Local names and no calls while all is well; whatever is out of the ordinary fills in `event` and asks the
        # monitors. Streams repeat themselves, delta after delta: an event that is like the one before it in all but
        # its numbers, with nothing wrong in that one, changes nothing but moments and counts.
        tracks, lines, event, ledger, lean = self.tracks, self._directory.lines, self._event, self._ledger, self._lean
        run_level, segmented = self._directory.run_level, self._plan.segmented
        moments, connections, whats, odd = batch.moments, batch.connections, batch.whats, batch.odd
        payloads = batch.payloads
        sequences, epochs, stamps = batch.numbers
        rising = self._rising if self._rising.wanted else None
        reach = 0
        connection: str | None = None
        line = event.line
        end = 0
        for streak, bound in enumerate(batch.bounds):
            place, end = end, bound
            if odd and place in odd:
                self._other(batch, place)
                connection = None
                reach = 0
                continue
            if connections[place] != connection:
                connection = connections[place]
                found = lines.get(connection)
                line = self._opened(batch, place) if found is None or found.closed else found
                reach = 0
            what = whats[place]
            name = what[0]
            track = tracks.get(name)
            if track is None:
                if not name:
                    for each in range(place, end):
                        self._other(batch, each)
                    connection = None
                    reach = 0
                    continue
                track = self.track(name)
            track.count += end - place
            ids = what[1:4]
            lane = line.lane
            scope: Instance | None = None
            seen = 0
            while True:
                index = base + place
                noted = ledger.noted
                if track.stranger:
                    self._unknown(line, name, index)
                if track.shown:
                    values = (*what, sequences[place], epochs[place], stamps[place]) if track.numeric else what
                    event.index = index
                    event.ns = moments[place]
                    event.name = name
                    event.line = line
                    event.values = values
                    event.data = None if payloads is None else payloads[place]
                if run_level is not None:
                    scope = lane.current if segmented else lane.runs.get(ids[2])
                    if scope is None or scope.ended or ids != scope.ids or line.user != scope.ids_user:
                        if not track.shown:
                            event.fill(index, moments[place], name, line, what, None)
                        if scope is None or scope.ended:
                            scope = self._directory.run_of(line, event, scope)
                        if scope is not None:
                            self._see(run_level, track.run, scope, event)
                            if track.ends and not scope.ended:
                                self._directory.end_run(scope)
                    else:
                        mask = scope.mask
                        if (mask ^ track.needs) & track.watch:
                            if not track.shown:
                                event.fill(index, moments[place], name, line, what, None)
                            self._ask(run_level, track.run, mask, scope, event)
                        for see in track.seers:
                            see(scope, event)
                        scope.mask = mask | track.sets
                        scope.last_ns = moments[place]
                        scope.last_index = index
                        scope.last_name = name
                        if track.ends:
                            self._directory.end_run(scope)
                for find, level, entry in track.wider:
                    self._see(level, entry, find(level, line, event), event)
                if lean is not None and line.ids != ids:
                    event.fill(index, moments[place], name, line, what, None)
                    self._look_at_line(lean, line, event)
                if rising is not None:
                    if place >= reach or rising.lost:
                        self._fill(batch, place, index, line)
                        rising.start(batch, streak, place, line, event)
                        reach = rising.reach
                    elif rising.marks:
                        self._fill(batch, place, index, line)
                        for mark in rising.marks:
                            mark.look(batch, place, event)
                place += 1
                if place == end:
                    break
                seen += 1
                if track.repeats and noted == ledger.noted and (seen > 1 or _settled(track, scope)):
                    if scope is not None:
                        scope.last_ns = moments[end - 1]
                        scope.last_index = base + end - 1
                    if rising is not None and rising.marks:
                        for each in range(place, end):
                            self._fill(batch, each, base + each, line)
                            for mark in rising.marks:
                                mark.look(batch, each, event)
                    break

    def _fill(self, batch: Batch, place: int, index: int, line: Line) -> None:
        """Make an event, with its numbers, the one at hand."""
        what = batch.whats[place]
        sequences, epochs, stamps = batch.numbers
        values = (*what, sequences[place], epochs[place], stamps[place])
        self._event.fill(index, batch.moments[place], what[0], line, values, batch.payload(place))

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
                self._ask(level, entry, mask | BEGUN, scope, event)
            for monitor in level.monitors:
                if monitor.watched and name in monitor.watched:
                    monitor.see(scope, event)
            scope.mask = mask | (entry.sets & ~BEGUN)

    def paths(self, name: str) -> Paths:
        """Readers of the values that clauses look at in an event."""
        track = self.tracks.get(name)
        return (track or self.track(name)).paths

    def track(self, name: str) -> Track:
        """Make the track of a name that is new."""
        plan = self._plan
        if len(self.tracks) >= MAX_NAMES and name not in self.tracks:
            name = OTHER_NAMES
        track = self.tracks.get(name)
        if track is None:
            run = (self._directory.run_level or plan.idle).entry(name)
            wider = tuple(
                (find, level, level.entry(name))
                for find, level in self._directory.finders
                if level is not self._lean and not level.ignores(name)
            )
            reads = set().union(*(level.entry(name).reads for level in plan.levels.values()))
            track = self.tracks[name] = Track(
                name,
                run,
                wider,
                self._extraction.paths(reads),
                ends=name in plan.ends,
                stranger=plan.known is not None and name not in plan.known,
            )
        return track

    def _see(self, level: Level, entry: Entry, scope: Instance, event: Event) -> None:
        """Show an event to everybody at one level who watches for it."""
        mask = scope.mask
        if (mask ^ entry.needs) & entry.watch:
            self._ask(level, entry, mask, scope, event)
        for see in entry.seers:
            see(scope, event)
        ids = event.values[USER : RUN + 1]
        if ids != scope.ids or event.line.user != scope.ids_user:
            self._look_at_ids(level, scope, event, ids)
        scope.mask = mask | entry.sets
        scope.last_ns = event.ns
        scope.last_index = event.index
        scope.last_name = event.name

    def _look_at_line(self, level: Level, line: Line, event: Event) -> None:
        """The ids on a connection have changed: ask whoever cares."""
        scope = self._directory.connection_scope(level, line, event)
        ids = event.values[USER : RUN + 1]
        if scope.ids != ids:
            self._look_at_ids(level, scope, event, ids)
        scope.mask |= level.entry(event.name).sets
        line.ids = scope.ids

    def _look_at_ids(self, level: Level, scope: Instance, event: Event, ids: tuple[Any, ...]) -> None:
        noted = self._ledger.noted
        for monitor in level.steady:
            monitor.see(scope, event)
        if noted == self._ledger.noted:
            scope.ids = ids
            scope.ids_user = event.line.user

    def _ask(self, level: Level, entry: Entry, mask: int, scope: Instance, event: Event) -> None:
        """A bit is not as this event wants it: ask the monitors whose bit it is."""
        if not mask & BEGUN:
            scope.first_index = event.index
            for opener in level.openers:
                opener(scope, event)
        for monitor, needs, bars in entry.gates:
            if mask & bars or mask & needs != needs:
                if monitor.when_bit and not mask & monitor.when_bit:
                    self._ledger.defer(monitor, scope, event.index, event.name)
                else:
                    monitor.see(scope, event)


def _settled(track: Track, scope: Instance | None) -> bool:
    """The event has come to its run with nothing amiss, and would find nothing amiss if it came again."""
    return not track.wider and (scope is None or not (scope.mask ^ track.needs) & track.watch)
