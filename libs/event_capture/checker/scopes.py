"""Who an event belongs to: connections, lanes of connections, and the scopes that clauses are about.

A lane is a connection together with those that carry on where it ended: the next connection of the same user that
opens after it has closed. A run that is interrupted and resumed so stays one run, while two tabs of one user that are
open at once stay two.
"""

from collections import deque
from typing import Any, Final

from event_capture.checker.verdict import Violation
from event_capture.contract.clauses import Scope

Key = str | int | float | None


UNBORN: Final = "\0unborn"
"""Key of a run that never had an event."""


class Instance:
    """One run, thread, user, connection or recording: what its clauses must remember."""

    __slots__ = (
        "clocked",
        "connection",
        "end_mask",
        "ended",
        "first_index",
        "held",
        "ids",
        "ids_user",
        "key",
        "last_index",
        "last_name",
        "last_ns",
        "level",
        "mask",
        "numbered",
        "slots",
        "start_ns",
        "table",
        "user",
    )

    def __init__(self, level: Scope, key: Key, connection: str, user: str, slots: list[Any], start_ns: int) -> None:
        self.level = level
        self.key = key
        self.connection = connection
        self.user = user
        self.slots = slots
        self.start_ns = start_ns
        """When the clock of budgets started."""
        self.table: dict[Key, Instance] | None = None
        """Where it is found by its key."""
        self.clocked = False
        """The clock started at a sent message."""
        self.first_index = -1
        self.last_index = -1
        self.last_ns = start_ns
        self.last_name = ""
        self.numbered = False
        """Its monitors of sequence numbers and timestamps have seen an event."""
        self.mask = 0
        """One bit per group of events that has been seen."""
        self.ended = False
        self.end_mask = 0
        """The mask as it was when the scope ended: what comes later excuses nothing."""
        self.ids: tuple[Any, ...] = ()
        """Ids of the last event whose ids were in order, and the user it came to: the same again need no look."""
        self.ids_user = ""
        self.held: list[tuple[int, Violation | tuple[int, str]]] = []
        """Violations of guarded clauses, with the place of the clause: they count only once the guard is settled.
        Where the clause does not even apply yet, no violation has been made: index and name of the event stand for it.
        """


class Opener:
    """A sent message that starts a turn."""

    __slots__ = ("index", "ns", "thread")

    def __init__(self, index: int, ns: int, thread: Key) -> None:
        self.index = index
        self.ns = ns
        self.thread = thread


class Lane:
    """Successive connections of one user."""

    __slots__ = ("current", "openers", "runs", "segments", "served", "threads")

    def __init__(self, max_openers: int) -> None:
        self.runs: dict[Key, Instance] = {}
        self.threads: dict[Key, Instance] = {}
        self.segments: dict[Key, Instance] = {}
        """Runs of events that carry no run id, by thread."""
        self.current: Instance | None = None
        """The run that is going on in a stream whose runs follow each other."""
        self.openers: deque[Opener] = deque(maxlen=max_openers)
        self.served = 0
        """Runs that have begun."""

    def claim(self, thread: Key) -> Opener | None:
        """The oldest sent message that no run has answered yet, of this thread if both name one."""
        for place, opener in enumerate(self.openers):
            if opener.thread is None or thread is None or opener.thread == thread:
                del self.openers[place]
                return opener
        return None


class Line:
    """One connection."""

    __slots__ = ("broken", "closed", "ids", "instance", "lane", "name", "numbers", "user")

    def __init__(self, name: str, user: str, lane: Lane) -> None:
        self.name = name
        self.user = user
        self.lane = lane
        self.instance: Instance | None = None
        self.closed = False
        self.ids: tuple[Any, ...] = ()
        """Ids of the last event here whose ids were in order."""
        self.numbers: tuple[list[Any], list[Any]] | None = None
        """What the next sequence number and timestamp here are compared with, once there is something."""
        self.broken = False
        """It ended without a proper close."""
