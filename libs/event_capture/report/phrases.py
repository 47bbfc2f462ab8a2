"""Words that several reports share: where a violation is, how long something took, one event on one line."""

from collections.abc import Sequence
from typing import Final

from event_capture.checker.verdict import Report, Verdict, Violation
from event_capture.records import Direction, Kind
from event_capture.report.model import Entry, Timeline

MARKS: Final = {
    Verdict.HOLDS: "✅",
    Verdict.PRESUMABLY_HOLDS: "⚠️",
    Verdict.PRESUMABLY_VIOLATED: "⚠️",
    Verdict.VIOLATED: "❌",
}
"""What a verdict looks like at a glance."""

NOT_SEEN_TO_ITS_END: Final = "the stream was not seen to its end, so what is missing could still have come"


def shorten(text: str, most: int) -> str:
    """The text itself, or its beginning with an ellipsis."""
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def one_line(text: str) -> str:
    """The text with every run of white space as one blank, and other control characters spelled out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in " ".join(text.split()))


def counted(number: int, noun: str) -> str:
    """`1 event`, `2,000 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds_words(seconds: float) -> str:
    """A duration as people say it: `850 ms`, `12.46 s`, `3 min 20 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def place_words(violation: Violation) -> str:
    """Where a violation is: records, pointer, scope. Empty when nothing is known."""
    parts = []
    if violation.indices:
        noun = "records" if len(violation.indices) > 1 else "record"
        parts.append(f"{noun} {', '.join(map(str, violation.indices))}")
    if violation.pointer:
        parts.append(f"at {violation.pointer}")
    if violation.scope_key:
        parts.append(f"{violation.scope} {violation.scope_key}")
    elif violation.connection:
        parts.append(f"connection {violation.connection}")
    return ", ".join(parts)


def entry_name(entry: Entry) -> str:
    """What an entry is called on a timeline."""
    match entry.kind:
        case Kind.OPEN:
            return "(connection opened)"
        case Kind.CLOSE:
            return "(connection closed)"
        case Kind.MALFORMED:
            return "(malformed)"
        case Kind.EVENT:
            return entry.name or "(no name)"


def entry_line(entry: Entry, *, most: int = 120) -> str:
    """One entry on one line of text."""
    arrow = "→ " if entry.direction is Direction.SENT else ""
    words = one_line(entry.words or _close_words(entry) or entry.note)
    text = f"{entry.seconds:9.3f}s  #{entry.index}  {arrow}{one_line(entry_name(entry))}"
    return shorten(f"{text} - {words}" if words else text, most)


def _close_words(entry: Entry) -> str:
    if entry.kind is not Kind.CLOSE or not isinstance(entry.data, dict):
        return ""
    return " ".join(str(entry.data[key]) for key in ("code", "reason") if entry.data.get(key) not in (None, ""))


def timeline_lines(timelines: Sequence[Timeline], *, max_events: int, most: int = 120) -> list[str]:
    """All timelines as lines of text, `max_events` entries in all, and a line that says how many are left out."""
    lines: list[str] = []
    room = max_events
    left_out = 0
    for timeline in timelines:
        if len(timelines) > 1 and room:
            lines.append(f"{one_line(timeline.user)}:")
        shown = timeline.entries[:room]
        lines += [entry_line(entry, most=most) for entry in shown]
        room -= len(shown)
        left_out += len(timeline.entries) - len(shown) + timeline.left_out
    if left_out:
        lines.append(f"... {left_out:,} more, not shown")
    return lines


def incomplete_words(report: Report) -> str:
    """Why the verdict is not final; empty when it is."""
    return "" if report.complete else NOT_SEEN_TO_ITS_END
