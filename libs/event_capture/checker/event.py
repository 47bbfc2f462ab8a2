"""The event at hand, and what is to be done with each event name."""

from collections.abc import Callable
from typing import Any, Final

from event_capture.checker.plan import NEVER, Entry, Level
from event_capture.checker.scopes import Instance, Lane, Line
from event_capture.records import Record

MAX_NAMES: Final = 10_000
"""Most different event names that are told apart; a server that makes up more has them counted together."""
OTHER_NAMES: Final = "(other names)"
ABNORMAL_CLOSE: Final = 1006
"""What RFC 6455 calls a connection that ended without a close frame."""

Finder = Callable[[Level, Line, "Event"], Instance]
"""Finds the scope of an event at one level, or opens it."""


class Event:
    """The event at hand. One object, filled anew for each."""

    __slots__ = ("data", "index", "line", "name", "ns", "values")

    def __init__(self) -> None:
        self.index = -1
        self.ns = 0
        self.name = ""
        self.line: Line = Line("", "", Lane(0))
        self.data: Any = None
        self.values: tuple[Any, ...] = ()
        """As `layout` has them."""

    def fill(self, index: int, ns: int, name: str, line: Line, values: tuple[Any, ...], data: Any) -> None:
        """Make this the event at hand."""
        self.index = index
        self.ns = ns
        self.name = name
        self.line = line
        self.values = values
        self.data = data


class Track:
    """What is to be done with one event name, looked up once per event."""

    __slots__ = (
        "again",
        "count",
        "ends",
        "loose",
        "name",
        "needs",
        "repeats",
        "run",
        "seers",
        "sets",
        "shown",
        "stranger",
        "watch",
        "wider",
    )

    def __init__(
        self,
        name: str,
        run: Entry,
        wider: tuple[tuple[Finder, Level, Entry], ...],
        *,
        ends: bool,
        loose: bool,
        stranger: bool,
    ) -> None:
        self.name = name
        self.count = 0
        self.run = run
        # What a run does with it, at hand without another look-up.
        self.needs, self.watch, self.sets, self.seers = run.needs, run.watch, run.sets, run.seers
        if stranger:
            self.needs, self.watch = NEVER, NEVER
        self.again = name if not self.sets & self.watch & ~self.needs else None
        """The name, unless the run must be looked at when it comes a second time; then None."""
        self.repeats = run.repeats and not (wider or ends)
        """Nobody learns anything when it comes again, the same in all but its numbers."""
        self.wider = wider
        self.shown = bool(run.seers or wider)
        """Somebody looks at it each time."""
        self.ends = ends
        self.loose = loose
        """It belongs to no run unless it says to which."""
        self.stranger = stranger
        """The contract is closed and does not know this event."""


def is_break(record: Record) -> bool:
    """A close record that tells of a connection that was cut off, not closed."""
    code = record.data.get("code") if isinstance(record.data, dict) else None
    note = record.note.casefold()
    if note.startswith("closed by the client"):
        return False
    if code == ABNORMAL_CLOSE:
        return True
    return code is None and any(word in note for word in ("lost", "cut", "broke", "abnormal", "reset"))
