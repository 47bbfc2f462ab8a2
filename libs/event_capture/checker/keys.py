"""Keys that tell overlapping pairs of events apart."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from event_capture.vocabulary.pointer import format_path, format_pointer

if TYPE_CHECKING:
    from event_capture.checker.event import Event
    from event_capture.checker.plan import Groups


class Keyed:
    """Reads the key that tells overlapping pairs apart."""

    def __init__(self, by: tuple[tuple[str, ...], ...], groups: Groups) -> None:
        self.fields = tuple(groups.path(steps) for steps in by)
        self.single = self.fields[0] if len(self.fields) == 1 else -1
        self.parts = itemgetter(*self.fields) if len(self.fields) > 1 else None
        self.words = " and ".join(map(format_path, by))
        self.pointer = format_pointer(by[0]) if by else ""

    def of(self, event: Event) -> Any:
        """The key; None when the event lacks it. Pairs without keys all have the same one."""
        if self.single >= 0:
            return event.values[self.single]
        if self.parts is None:
            return ""
        # The first part must be there; the others tell apart by being absent, too.
        key = self.parts(event.values)
        return None if key[0] is None else key
