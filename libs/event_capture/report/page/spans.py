"""Pairs of events that belong together, as spans of time: what the lanes of tool calls show."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from event_capture.contract.clauses import Pair
from event_capture.contract.model import Contract
from event_capture.records import Direction, Kind
from event_capture.report.model import Entry, Timeline
from event_capture.vocabulary.pointer import read


class Pairing(Struct, frozen=True, kw_only=True):
    """Which events make a pair, and by which fields they know each other."""

    name: str
    open: tuple[str, ...]
    close: tuple[str, ...]
    by: tuple[tuple[str, ...], ...]


class Span(Struct, kw_only=True):
    """One pair. Without `close` nothing ended it, without `open` it never began."""

    name: str
    key: str
    open: Entry | None = None
    close: Entry | None = None

    @property
    def first(self) -> Entry:
        """The entry that the span is known by."""
        entry = self.open or self.close
        assert entry is not None  # noqa: S101  a span is made of one of them
        return entry


def pairings_of(contract: Contract) -> tuple[Pairing, ...]:
    """Pairs that a page shows: those that the vocabulary gives a name, else those that the contract demands."""
    named = tuple(
        Pairing(name=name, open=(pair.open,), close=(pair.close,), by=(pair.by,))
        for name, pair in contract.vocabulary.pairs.items()
    )
    if named:
        return named
    return tuple(
        Pairing(name=clause.open[0], open=clause.open, close=clause.close, by=clause.by)
        for clause in contract.clauses
        if isinstance(clause, Pair) and clause.by
    )


def spans_of(timeline: Timeline, pairings: Sequence[Pairing]) -> list[Span]:
    """All pairs that one user saw, in the order in which they came up.

    They are looked for over all connections of the user: a call may end after a reconnect.
    """
    spans: list[Span] = []
    for pairing in pairings:
        spans += _spans(timeline.entries, pairing)
    return sorted(spans, key=lambda span: span.first.index)


def _spans(entries: Iterable[Entry], pairing: Pairing) -> list[Span]:
    spans: list[Span] = []
    running: dict[str, dict[str, Span]] = {}
    for entry in entries:
        if entry.kind is not Kind.EVENT or entry.direction is not Direction.RECEIVED:
            continue
        if entry.name in pairing.open:
            key = _key(entry.data, pairing)
            span = running.setdefault(key, {})[entry.connection] = Span(name=pairing.name, key=key, open=entry)
            spans.append(span)
        elif entry.name in pairing.close:
            key = _key(entry.data, pairing)
            begun = running.get(key, {})
            if begun:
                # Ids may be small numbers that every connection counts anew: its own pair comes first.
                at = entry.connection if entry.connection in begun else next(reversed(begun))
                begun.pop(at).close = entry
            else:
                spans.append(Span(name=pairing.name, key=key, close=entry))
    return spans


def _key(data: Any, pairing: Pairing) -> str:
    values = [read(data, steps) for steps in pairing.by]
    return " ".join("" if value is None else str(value) for value in values)
