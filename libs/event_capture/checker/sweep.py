"""The loop that checks events: nearly all the time of a check is spent here."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import astuple

from event_capture.checker.audience import NOBODY, Audience
from event_capture.checker.batch import Batch
from event_capture.checker.directory import Directory
from event_capture.checker.event import Track
from event_capture.checker.field_monitors import EPOCH_OF, LAST, NEXT, PLACE, Memory
from event_capture.checker.fields import Values
from event_capture.checker.layout import SEQUENCE
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
        tracks, event, show, values_of = audience.tracks, audience.event, audience.show, batch.values
        parse, none = datetime.fromisoformat, self._no_track
        # Whom the events at hand belong to, and what their numbers are compared with. No connection: find that out.
        connection: str | None = None
        user = thread = run = None
        line, scope, counter, clock = event.line, self._no_run, NO_NUMBERS, NO_NUMBERS
        # What is to be done with the event before; its name, if its run need not be looked at when the next one has it,
        # too; and all of it but its numbers, if the same again tells nobody anything. Streams repeat
        # themselves, delta after delta.
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
                        show(batch, index - base, index)
                        continue
                    line, scope, counter, clock = home
                    again = None
                if again is None or message.name != again:
                    again = None
                    track = tracks.get(message.name, none)
                    if (scope.mask ^ track.needs) & track.watch or (track.loose and run is None):
                        connection = None
                        show(batch, index - base, index)
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
                show(batch, index - base, index)
                continue
            now = frame.monotonic_ns
            if fresh:
                noted = ledger.noted
                if track.shown:
                    event.index, event.ns, event.name, event.line = index, now, track.name, line
                    event.values = astuple(message) if values_of is None else values_of(message)
                    event.data = frame.data
                    for see in track.seers:
                        see(scope, event)
                if again is None:
                    mask = scope.mask = scope.mask | track.sets
                    scope.last_name = track.name
                    if not (mask ^ track.needs) & track.watch:
                        again = track.name
                if track.shown and track.repeats and again is not None and noted == ledger.noted:
                    echo = astuple(message)[:SEQUENCE]
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
                audience.see(level, entry, find(level, line, event), event)
                if directory.retired != retired:
                    connection = None

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
