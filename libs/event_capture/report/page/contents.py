"""What the page shows, as plain data for its scripts: lanes, events, spans, violations, each of them bounded."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from event_capture.checker.verdict import Report, Violation
from event_capture.contract.model import Contract
from event_capture.records import Direction, Kind
from event_capture.report.model import Entry, Timeline
from event_capture.report.page.spans import Span, pairings_of, spans_of
from event_capture.report.phrases import counted, entry_name, one_line, shorten


class PageLimits(Struct, frozen=True, kw_only=True):
    """How much a page holds. What is left out is counted, and the page says so."""

    events: int = 5_000
    lanes: int = 200
    """Most connections with a lane."""
    calls: int = 3_000
    """Most calls, of all connections together."""
    violations: int = 500
    payload_chars: int = 16_384
    """Longest payload, in characters."""
    all_payload_chars: int = 16_000_000
    """All payloads together, in characters. Events beyond it are shown without their payload."""
    words: int = 300
    """Longest text of an event on the timeline and in the list, in characters."""


class Contents(Struct, frozen=True, kw_only=True):
    """A page's data and what was left out of it."""

    data: dict[str, Any]
    shown: frozenset[int]
    """Indices of the records on the page."""
    notices: tuple[str, ...]


def contents_of(report: Report, timelines: Sequence[Timeline], contract: Contract, limits: PageLimits) -> Contents:
    """Choose what fits on a page, and lay it out in lanes."""
    violations = report.violations[: limits.violations]
    chosen = _choose(timelines, violations, limits.events)
    builder = _Builder(limits, _zero_ns(timelines))
    for timeline in timelines:
        builder.add(timeline, [entry for entry in timeline.entries if entry.index in chosen])
    pairings = pairings_of(contract)
    for timeline in timelines:
        for span in spans_of(timeline, pairings):
            if span.first.index in chosen:
                builder.add_span(timeline, span)
    total = sum(len(timeline.entries) + timeline.left_out for timeline in timelines)
    notices = list(builder.notices)
    if len(chosen) < total:
        notices.insert(0, _part(len(chosen), report.records))
    if len(violations) < report.violation_count:
        notices.append(f"{len(violations):,} of {counted(report.violation_count, 'violation')} are listed")
    data = {
        "part": len(chosen) < total,
        "names": builder.names_with_counts(),
        "lanes": builder.lanes_in_order(),
        "events": sorted(builder.events, key=lambda event: event["i"]),
        "violations": [_violation(violation, builder) for violation in violations],
    }
    return Contents(data=data, shown=frozenset(chosen), notices=tuple(notices))


def payload_text(value: Any, most: int) -> tuple[str, int]:
    """A payload as indented JSON, at most `most` characters of it, and how long it is in full."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        # Integers beyond 64 bits, lone surrogates: the standard library writes what msgspec will not.
        text = _by_standard_library(value)
    except RecursionError:
        text = "(nested too deeply to show)"
    return text[:most], len(text)


def _by_standard_library(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, default=str)
    except (TypeError, ValueError):
        return repr(value)
    except RecursionError:
        return "(nested too deeply to show)"


def _part(shown: int, total: int) -> str:
    return (
        f"This page shows {shown:,} of {counted(total, 'record')}: the first ones and those around violations. "
        "The verdict is about all of them"
    )


def _choose(timelines: Sequence[Timeline], violations: Sequence[Violation], most: int) -> set[int]:
    """Records that fit: those that violations name, up to half of the page, then the earliest."""
    known = sorted(entry.index for timeline in timelines for entry in timeline.entries)
    if len(known) <= most:
        return set(known)
    there = set(known)
    chosen: set[int] = set()
    for violation in violations:
        if len(chosen) >= most // 2:
            break
        chosen.update(index for index in violation.indices[-4:] if index in there)
    for index in known:
        if len(chosen) >= most:
            break
        chosen.add(index)
    return chosen


def _zero_ns(timelines: Sequence[Timeline]) -> float:
    """When the first record was seen."""
    times = (timeline.start_ns + timeline.entries[0].seconds * 1e9 for timeline in timelines if timeline.entries)
    return min(times, default=0.0)


class _Builder:
    def __init__(self, limits: PageLimits, zero_ns: float) -> None:
        self.limits = limits
        self.zero_ns = zero_ns
        self.room = limits.all_payload_chars
        self.events: list[dict[str, Any]] = []
        self.names: dict[str, int] = {}
        self.events_of_stream: set[int] = set()
        self.connections: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, list[dict[str, Any]]] = {}
        self.lane_count = 0
        self.lanes_left_out = 0
        self.call_count = 0
        self.calls_left_out = 0
        self.payloads_left_out = 0

    @property
    def notices(self) -> list[str]:
        notices = []
        for number, noun in ((self.lanes_left_out, "connection"), (self.calls_left_out, "call")):
            if number:
                notices.append(
                    f"{counted(number, f'more {noun}')} would not fit on the timeline; the events are in the list"
                )
        if self.payloads_left_out:
            notices.append(f"{counted(self.payloads_left_out, 'payload')} left out to keep the page small")
        return notices

    def time_of(self, timeline: Timeline, entry: Entry) -> float:
        """Seconds since the first record of the recording, to the microsecond."""
        return round(max(0.0, (timeline.start_ns - self.zero_ns) / 1e9 + entry.seconds), 6)

    def add(self, timeline: Timeline, entries: Sequence[Entry]) -> None:
        for entry in entries:
            lane = self.connections.get(entry.connection)
            if lane is None:
                lane = self.connections[entry.connection] = self._connection(timeline, entry.connection)
            at = self.time_of(timeline, entry)
            lane["from"] = min(lane.get("from", at), at)
            lane["to"] = max(lane.get("to", at), at)
            self.events.append(self._event(entry, at))

    def _connection(self, timeline: Timeline, connection: str) -> dict[str, Any]:
        user = timeline.user if timeline.user != connection else ""
        drawn = self.lane_count < self.limits.lanes
        self.lane_count += drawn
        self.lanes_left_out += not drawn
        return {"kind": "connection", "label": self._short(connection), "sub": self._short(user), "drawn": drawn}

    def _event(self, entry: Entry, at: float) -> dict[str, Any]:
        name = shorten(one_line(entry_name(entry)), 120)
        text, length = payload_text(entry.data, self.limits.payload_chars)
        event: dict[str, Any] = {
            "i": entry.index,
            "t": at,
            "c": entry.connection,
            "n": self._name(name, entry),
            "k": str(entry.kind),
            "w": self._short(one_line(entry.words)),
            "z": entry.size,
        }
        if entry.direction is Direction.SENT:
            event["s"] = 1
        if entry.note:
            event["o"] = self._short(entry.note)
        if len(text) <= self.room:
            self.room -= len(text)
            event["p"] = text
            if length > len(text):
                event["x"] = length
        else:
            self.payloads_left_out += 1
        return event

    def add_span(self, timeline: Timeline, span: Span) -> None:
        first = span.first
        parent = self.connections.get(first.connection)
        if parent is None or not parent["drawn"]:
            return
        if self.call_count >= self.limits.calls:
            self.calls_left_out += 1
            return
        self.call_count += 1
        lane: dict[str, Any] = {
            "kind": "call",
            "pair": span.name,
            "label": self._short(one_line(first.words)) or self._short(one_line(span.key)) or span.name,
            "sub": self._short(one_line(span.key)),
            "connection": first.connection,
        }
        if span.open is not None:
            lane |= {"open": span.open.index, "from": self.time_of(timeline, span.open)}
        if span.close is not None:
            lane |= {"close": span.close.index, "to": self.time_of(timeline, span.close)}
        self.calls.setdefault(first.connection, []).append(lane)

    def lanes_in_order(self) -> list[dict[str, Any]]:
        """Each connection, and under it its calls."""
        lanes = []
        for connection, lane in self.connections.items():
            if lane["drawn"]:
                lanes.append(lane | {"connection": connection})
                lanes += self.calls.get(connection, [])
        return lanes

    def _name(self, name: str, entry: Entry) -> int:
        number = self.names.setdefault(name, len(self.names))
        if entry.kind in (Kind.EVENT, Kind.MALFORMED):
            self.events_of_stream.add(number)
        return number

    def names_with_counts(self) -> list[dict[str, Any]]:
        """Names on the page, with how many times it has them; `life` marks those of connection changes."""
        counts = [0] * len(self.names)
        for event in self.events:
            counts[event["n"]] += 1
        return [
            {"name": name, "count": counts[number], "life": number not in self.events_of_stream}
            for name, number in self.names.items()
        ]

    def _short(self, text: str) -> str:
        return shorten(text, self.limits.words)


def _violation(violation: Violation, builder: _Builder) -> dict[str, Any]:
    connection = violation.connection if violation.connection in builder.connections else ""
    return {
        "code": violation.code,
        "message": violation.message,
        "expected": violation.expected,
        "hint": violation.hint,
        "clause": violation.clause,
        "indices": list(violation.indices[:50]),
        "pointer": violation.pointer,
        "connection": connection,
        "event": violation.event,
        "missing": violation.code == "missing-event",
        "definite": violation.definite,
    }
