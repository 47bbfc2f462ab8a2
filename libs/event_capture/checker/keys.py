"""Keys that tell overlapping pairs of events apart."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from event_capture.vocabulary.pointer import format_path, format_pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_capture.checker.plan import Groups

    Values = tuple[Any, ...]


class Keyed:
    """Reads the key that tells overlapping pairs apart."""

    def __init__(self, by: tuple[tuple[str, ...], ...], groups: Groups) -> None:
        self.fields = tuple(groups.path(steps) for steps in by)
        self.read: Callable[[Values], Any] = _reader(self.fields)
        """The key among the values of an event; None when it lacks it. Pairs without keys all have the same one."""
        self.words = " and ".join(map(format_path, by))
        self.pointer = format_pointer(by[0]) if by else ""


def _reader(fields: tuple[int, ...]) -> Callable[[Values], Any]:
    if not fields:
        return lambda _: ""
    parts = itemgetter(*fields)
    if len(fields) == 1:
        return parts
    first = fields[0]
    # The first part must be there; the others tell apart by being absent, too.
    return lambda values: None if values[first] is None else parts(values)
