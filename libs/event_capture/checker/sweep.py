"""The loop that checks events: nearly all the time of a check is spent here."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from event_capture.checker.audience import NOBODY, Audience
from event_capture.checker.batch import Batch
from event_capture.checker.directory import Directory
from event_capture.checker.event import Track
from event_capture.checker.field_monitors import EPOCH_OF, LAST, NEXT, PLACE, Memory
from event_capture.checker.ledger import Ledger
from event_capture.checker.plan import BEGUN, Plan
from event_capture.checker.rising import NO_NUMBERS
from event_capture.checker.scopes import Instance, Line
from event_capture.contract.clauses import Scope
from event_capture.records import Direction, Kind

_EVENT: Final = Kind.EVENT
_RECEIVED: Final = Direction.RECEIVED


class Sweep:
    """Shows events to the monitors that have to do with them, and counts them.

    An event is ordinary when nobody has anything to say about it but the monitors of its name. To see that takes a few
    comparisons: with the ids of the event before, with the bits that must be set and not set in its run, with the
    numbers that come next. Whatever else it may be, it is shown to the whole `Audience`; the two never disagree.
    """

    def __init__(
        self, plan: Plan, ledger: Ledger, directory: Directory, audience: Audience, other: Callable[[Batch, int], None]
    ) -> None:
        """Prepare to check.

        Args:
            plan: the compiled contract.
            ledger: where violations are counted.
            directory: whom events belong to.
            audience: everybody who may have something to say about an event.
            other: called with the place of each record that is no received event, to check it.
        """
        self._ledger = ledger
        self._directory = directory
        self._audience = audience
        self._other = other
        self._segmented = plan.segmented
        self._timed = bool(plan.contract.vocabulary.place("timestamp"))
        self._rising, self._lean = audience.rising, audience.lean
        self._lines, self._run_level = directory.lines, directory.run_level
        self._no_run = Instance(Scope.RUN, None, "", "", [], 0)
        """Stands in for the run of an event where no clause is about runs."""
        self._no_run.mask = BEGUN
        self._no_track = Track("", plan.idle.unheard, (), ends=False, loose=False, stranger=True)
        """Stands in for the track of a name that is new."""

    def events(self, batch: Batch, base: int) -> None:  # noqa: C901  one loop on purpose
        """Check a batch, whose first record has the index `base`."""
        ledger, directory, audience = self._ledger, self._directory, self._audience
        tracks, event, show, other, none = audience.tracks, audience.event, audience.show, self._other, self._no_track
        frames, messages, values_of = batch.frames, batch.messages, batch.values
        parse, event_kind, received = datetime.fromisoformat, _EVENT, _RECEIVED
        timed = self._timed
        # Whom the events at hand belong to, and what their numbers are compared with. No connection: find that out.
        connection: str | None = None
        user = thread = run = None
        scope, counter, clock = self._no_run, NO_NUMBERS, NO_NUMBERS
        # The frame of the event before: what is bare has the same for all.
        before: Any = None
        # What is to be done with the event before, and its name, if its run need not be looked at when the next one has
        # it, too.
        track = none
        again: str | None = None
        # The event before, if the same again, only later, tells nobody anything, and what its time is compared with.
        # Streams repeat themselves, delta after delta: what such events leave behind is noted once, when something else
        # comes. Where events are counted there is as much to do for each as there is to spare.
        echo: Any = None
        began = 0
        latest: Any = None
        moment: Any = None
        for index, (frame, message) in enumerate(zip(frames, messages, strict=True), base):
            if echo is not None:
                if message.name == again and (
                    frame is before
                    or (frame.connection == connection and frame.kind is event_kind and frame.direction is received)
                ):
                    if timed:
                        moment = echo.timestamp = message.timestamp
                    if message == echo:
                        if not clock:
                            continue
                        if moment.__class__ is latest.__class__:
                            if moment >= latest:
                                latest = moment
                                continue
                        elif moment.__class__ is str:
                            # Here, not in a function: it is done as often as there are events.
                            try:
                                moment = parse(moment)
                            except ValueError:
                                pass
                            else:
                                if moment.tzinfo is UTC and moment.__class__ is latest.__class__ and moment >= latest:
                                    latest = moment
                                    continue
                echo = None
                if index - 1 > began:
                    self._repeated(batch, base, began, index - 1, track, scope, clock, latest)
            if frame is not before:
                if frame.kind is not event_kind or frame.direction is not received:
                    connection = before = None
                    other(batch, index - base)
                    continue
                if frame.connection != connection:
                    connection = None
                before = frame
            if connection is None or message.run != run or message.thread != thread or message.user != user:
                connection, user, thread, run = frame.connection, message.user, message.thread, message.run
                home = self._home(connection, (user, thread, run))
                if home is None:
                    connection = None
                    show(batch, index - base, index)
                    continue
                event.line, scope, counter, clock = home
                again = None
            if again is None or message.name != again:
                track = tracks.get(message.name, none)
                if (scope.mask ^ track.needs) & track.watch or (track.loose and run is None):
                    connection = None
                    show(batch, index - base, index)
                    continue
                again = None
            sequence = moment = None
            if counter:
                sequence = message.sequence
                if sequence is not None and (
                    sequence != counter[NEXT] or sequence.__class__ is not int or message.epoch != counter[EPOCH_OF]
                ):
                    connection = None
                    show(batch, index - base, index)
                    continue
            if clock:
                moment = message.timestamp
                if moment is not None:
                    latest = clock[NEXT]
                    if moment.__class__ is str:
                        try:
                            moment = parse(moment)
                        except ValueError:
                            moment = None
                        else:
                            if moment.tzinfo is not UTC:
                                moment = None
                    if moment.__class__ is not latest.__class__ or latest is None or moment < latest:
                        connection = None
                        show(batch, index - base, index)
                        continue
            noted = ledger.noted
            if track.shown:
                event.index, event.ns, event.name = index, frame.monotonic_ns, track.name
                event.values = values_of(message)
                event.data = frame.data
                for see in track.seers:
                    see(scope, event)
            if again is None:
                scope.mask |= track.sets
                scope.last_name = track.name
                again = track.again
            track.count += 1
            scope.last_ns = frame.monotonic_ns
            scope.last_index = index
            if sequence is not None:
                counter[LAST] = sequence
                counter[PLACE] = index
                counter[NEXT] = sequence + 1
            if moment is not None:
                clock[LAST] = message.timestamp
                clock[PLACE] = index
                latest = clock[NEXT] = moment
            if track.repeats:
                if again is not None and noted == ledger.noted and not counter and (moment is not None or not clock):
                    echo, began = message, index
                continue
            if track.ends:
                connection = None
                directory.end_run(scope)
            for find, level, entry in track.wider:
                retired = directory.retired
                audience.see(level, entry, find(level, event.line, event), event)
                if directory.retired != retired:
                    connection = None
        if echo is not None and index > began:
            self._repeated(batch, base, began, index, track, scope, clock, latest)

    def _repeated(
        self,
        batch: Batch,
        base: int,
        began: int,
        last: int,
        track: Track,
        scope: Instance,
        clock: Memory,
        latest: Any,
    ) -> None:
        """Note what events left behind that told nobody anything: those after `began`, up to `last`."""
        track.count += last - began
        scope.last_index = last
        scope.last_ns = batch.frames[last - base].monotonic_ns
        if clock:
            clock[LAST] = batch.messages[last - base].timestamp
            clock[PLACE] = last
            clock[NEXT] = latest

    def _home(self, connection: str, ids: tuple[Any, ...]) -> tuple[Line, Instance, Memory, Memory] | None:
        """Connection, run and numbers of an event. None: not all of them are known and open, or its ids are new."""
        line = self._lines.get(connection)
        if line is None or line.closed:
            return None
        scope = self._no_run
        if self._run_level is not None:
            begun = line.lane.current if self._segmented else self._audience.run(line.lane, ids)
            if begun is None or begun.ended:
                return None
            if ids != NOBODY and (ids != begun.ids or line.user != begun.ids_user):
                return None
            scope = begun
        if self._lean is not None and line.ids != ids and (line.instance is None or ids != NOBODY):
            return None
        if not self._rising.wanted:
            return line, scope, NO_NUMBERS, NO_NUMBERS
        memories = self._rising.memories(line, ids[1])
        return None if memories is None else (line, scope, *memories)
