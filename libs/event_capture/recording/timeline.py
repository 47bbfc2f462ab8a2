"""A few lines of text that tell what happened when: the timeline that failures show."""

from collections.abc import Callable, Collection
from typing import Any, Final

from event_capture.records import Direction, Kind, Record

_WORDS: Final = 80


def timeline_text(
    records: Collection[Record], *, name_of: Callable[[Any], str], words_of: Callable[[Any], str], earlier: int = 0
) -> str:
    """One line per record, with seconds since the first of them.

    Args:
        records: what to show.
        name_of: reads an event's name out of its data.
        words_of: reads out of its data what a person would read.
        earlier: how many records came before these and are not shown.
    """
    if not records:
        return "  (nothing)"
    start = next(iter(records)).monotonic_ns
    lines = [f"  ... {earlier} earlier"] if earlier else []
    for record in records:
        seconds = (record.monotonic_ns - start) / 1e9
        lines.append(f"{seconds:9.3f}s: {_describe(record, name_of, words_of)}")
    return "\n".join(lines)


def _describe(record: Record, name_of: Callable[[Any], str], words_of: Callable[[Any], str]) -> str:
    match record.kind:
        case Kind.OPEN:
            return f"(open) {record.connection}"
        case Kind.CLOSE:
            reason = f" {record.data['reason']}" if record.data["reason"] else ""
            return f"(close) {record.data['code']}{reason}, {record.note}"
        case Kind.MALFORMED:
            return f"(malformed) {record.note}"
        case Kind.EVENT:
            name = name_of(record.data) or "(no name)"
            words = " ".join(words_of(record.data).split())
            shown = words if len(words) <= _WORDS else words[: _WORDS - 3] + "..."
            arrow = "sent: " if record.direction is Direction.SENT else ""
            return f"{arrow}{name} - {shown}" if shown else f"{arrow}{name}"
