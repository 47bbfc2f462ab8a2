"""Records side by side with what the contract looks at in them, for the loop that checks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from event_capture.checker.fields import Values
    from event_capture.records import Record


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of a stream."""

    frames: Sequence[Any]
    """Records, or structs that have the same attributes as far as the loop looks at them."""
    messages: Sequence[Any]
    """What each of them holds: structs whose first fields are those of an event up to RUN in `layout`, and whose last
    are its numbers. The name of an event that has none is None or empty."""
    values: Callable[[Any], Values]
    """Reads all values of a message, as `layout` has them."""
    sent_name: Callable[[Any], Any] | None
    """Reads the name of a sent message; None when that takes the record."""
    record: Callable[[int], Record]
    """Reads the record at a place."""
