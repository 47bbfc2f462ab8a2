"""What reports show besides the verdicts: per user, what came when, in words."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from event_capture.checker.verdict import Report, Violation
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Vocabulary
from event_capture.vocabulary.pointer import getter

MAX_ENTRIES: Final = 5_000
"""Most entries of a timeline, per user. What comes after is counted, not kept."""


class Entry(Struct, frozen=True, kw_only=True):
    """One record on a timeline."""

    index: int
    """Place in the recording from 0."""
    seconds: float
    """Since the user's clock started."""
    kind: Kind
    direction: Direction
    connection: str
    name: str
    """The event's name; empty for a connection change or a frame that cannot be read."""
    words: str
    """What a person would read of it, on one line."""
    size: int
    data: Any
    note: str


class Timeline(Struct, frozen=True, kw_only=True):
    """Everything that one user saw."""

    user: str
    """Who; the connection's name when nobody said."""
    start_ns: int
    """When the user's clock started: at the first message that asked for something, else at the first event."""
    entries: tuple[Entry, ...]
    left_out: int
    """Records after the last entry."""
    counts: dict[str, int]
    """Received events by name, those left out included."""
    duration: float
    """Seconds from the start of the clock to the last received event."""

    @property
    def total(self) -> int:
        """Received events."""
        return sum(self.counts.values())


class _Collector:
    def __init__(self, user: str) -> None:
        self.user = user
        self.kept: list[tuple[int, Record, str]] = []
        self.left_out = 0
        self.counts: dict[str, int] = {}
        self.asked_ns: int | None = None
        self.first_ns: int | None = None
        self.last_ns = 0


def timelines_of(
    records: Iterable[Record], vocabulary: Vocabulary, *, max_entries: int = MAX_ENTRIES
) -> tuple[Timeline, ...]:
    """Timelines of all users, in the order in which they came up. Memory is bounded by `max_entries` per user."""
    read_name, read_sent, read_user = getter(vocabulary.event), getter(vocabulary.sent), getter(vocabulary.user)
    control = frozenset(vocabulary.control)
    users: dict[str, _Collector] = {}
    of_connection: dict[str, _Collector] = {}
    for index, record in enumerate(records):
        collector = of_connection.get(record.connection)
        if collector is None:
            # A stream without a known user may name one in its events: then that is who it is about.
            named = record.user or (read_user(record.data) if record.kind is Kind.EVENT and vocabulary.user else None)
            who = named if isinstance(named, str) and named else ""
            if not who and record.kind is Kind.OPEN:
                continue
            who = who or record.connection
            collector = of_connection[record.connection] = users.setdefault(who, _Collector(who))
        _collect(collector, index, record, read_name, read_sent, control, max_entries)
    return tuple(_timeline(collector, vocabulary) for collector in users.values())


def _collect(
    collector: _Collector,
    index: int,
    record: Record,
    read_name: Any,
    read_sent: Any,
    control: frozenset[str],
    most: int,
) -> None:
    name = ""
    if record.kind is Kind.EVENT:
        sent = record.direction is Direction.SENT
        found = (read_sent if sent else read_name)(record.data)
        name = found if isinstance(found, str) else ""
        if sent:
            if name not in control and collector.asked_ns is None:
                collector.asked_ns = record.monotonic_ns
        else:
            collector.counts[name] = collector.counts.get(name, 0) + 1
            collector.last_ns = record.monotonic_ns
            if collector.first_ns is None:
                collector.first_ns = record.monotonic_ns
    if len(collector.kept) < most:
        collector.kept.append((index, record, name))
    else:
        collector.left_out += 1


def _timeline(collector: _Collector, vocabulary: Vocabulary) -> Timeline:
    start = collector.asked_ns if collector.asked_ns is not None else collector.first_ns
    if start is None:
        start = collector.kept[0][1].monotonic_ns if collector.kept else 0
    return Timeline(
        user=collector.user,
        start_ns=start,
        entries=tuple(
            Entry(
                index=index,
                seconds=(record.monotonic_ns - start) / 1e9,
                kind=record.kind,
                direction=record.direction,
                connection=record.connection,
                name=name,
                words=vocabulary.words_of(name, record.data) if name else "",
                size=record.size,
                data=record.data,
                note=record.note,
            )
            for index, record, name in collector.kept
        ),
        left_out=collector.left_out,
        counts=collector.counts,
        duration=max(0.0, (collector.last_ns - start) / 1e9) if collector.counts else 0.0,
    )


def violations_of(report: Report, timeline: Timeline, alone: bool) -> list[Violation]:
    """Violations that concern one user. With a single timeline all of them do."""
    if alone:
        return list(report.violations)
    connections = {entry.connection for entry in timeline.entries}
    return [
        violation
        for violation in report.violations
        if violation.connection in connections or (not violation.connection and violation.user == timeline.user)
    ]
