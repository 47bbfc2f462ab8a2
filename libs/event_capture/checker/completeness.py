"""Was a stream seen to its end? A recording that stops in the middle proves nothing."""

from collections.abc import Iterable

from event_capture.checker.event import is_break
from event_capture.records import Kind, Record


class Completeness:
    """Follows connections: each must be closed properly, or carried on by the next one of its user."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        self._broken: dict[str, list[str]] = {}
        self._seen = False
        self._closed: set[str] = set()

    def see(self, record: Record) -> None:
        """Take note of one record."""
        connection = record.connection
        if record.kind is Kind.CLOSE:
            self._seen = True
            user = self._open.pop(connection, record.user)
            self._closed.add(connection)
            if is_break(record):
                self._broken.setdefault(user, []).append(connection)
        elif connection not in self._open and connection not in self._closed:
            self._open[connection] = record.user
            broken = self._broken.get(record.user)
            if broken:
                broken.pop()
        elif record.kind is Kind.OPEN:
            self._closed.discard(connection)
            self._open[connection] = record.user

    @property
    def complete(self) -> bool:
        """Every connection seen so far is closed, and none was cut off for good."""
        return self._seen and not self._open and not any(self._broken.values())

    @property
    def reason(self) -> str:
        """Why not, in words; empty when complete."""
        if self.complete:
            return ""
        if self._open:
            return f"connection {next(iter(self._open))!r} has no close record"
        if any(self._broken.values()):
            name = next(names[-1] for names in self._broken.values() if names)
            return f"connection {name!r} was cut off"
        return "the recording has no close record"


def completeness(records: Iterable[Record]) -> bool:
    """True when every connection of the recording is closed, and none was cut off for good."""
    following = Completeness()
    for record in records:
        following.see(record)
    return following.complete
