"""Proof that a stream that was interrupted and resumed is the stream that it would have been.

Events have a place in the log of a thread: `(epoch, thread, sequence)`. What came over several connections is merged in
the order of arrival; in each log every place must come once, none may be left out, and what stands at each place must
be what the uninterrupted stream has there. How the logs of several threads lie between each other is nobody's promise.

Events of a thread or run without a sequence number have no place, and are compared thread by thread, in their order.
Only counted are those that name neither (greetings, answers to pings) and those that the uninterrupted stream has
nothing like: answers to what the client asked again when it came back.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final

from msgspec import Struct

from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Vocabulary
from event_capture.vocabulary.pointer import format_pointer, getter, parse_pointer

_MISSING: Final = object()
_Log = tuple[str, str]
"""Thread and epoch."""


class Difference(Struct, frozen=True, kw_only=True):
    """One place at which the two streams differ."""

    kind: str
    """`duplicate`, `gap`, `missing`, `extra` or `changed`."""
    message: str
    index: int
    """Record of the interrupted recording that shows it; -1 when it is the lack of one."""
    other: int = -1
    """Record of the uninterrupted recording to compare it with."""
    pointer: str = ""
    expected: Any = None
    found: Any = None


class ResumeReport(Struct, frozen=True, kw_only=True):
    """What the comparison found."""

    events: int
    """Events of the uninterrupted stream."""
    connections: int
    """Connections over which the interrupted stream came."""
    differences: tuple[Difference, ...]
    unproven: str = ""
    """Why the recordings prove nothing, whatever they have in common; empty when they do."""
    aside: tuple[int, int] = (0, 0)
    """Events of each recording that are no part of the stream, and were not compared."""

    @property
    def equal(self) -> bool:
        """The same events in the same order, each once, and the stream was interrupted indeed."""
        return not self.differences and not self.unproven

    @property
    def first(self) -> Difference | None:
        """The difference that comes first in the interrupted stream."""
        return self.differences[0] if self.differences else None

    def explain(self) -> str:
        """The report in one line."""
        if self.first is not None:
            more = f" ({len(self.differences) - 1} more)" if len(self.differences) > 1 else ""
            return f"{self.first.kind}: {self.first.message}{more}"
        if self.unproven:
            return f"nothing is proven: {self.unproven}"
        apart = (
            f" ({self.aside[0]} and {self.aside[1]} events beside the stream not compared)" if any(self.aside) else ""
        )
        return f"equal: {self.events} events over {self.connections} connections{apart}"


class _Placed(Struct):
    index: int
    name: Any
    thread: Any
    epoch: Any
    seq: Any
    data: Any

    def __str__(self) -> str:
        place = "no sequence number" if self.seq is None else f"sequence {self.seq}"
        return f"{self.name} ({place})"


class _Stream(Struct):
    """The events of one recording."""

    placed: list[_Placed]
    unplaced: list[_Placed]
    connections: int
    aside: int

    def set_aside(self, other: "_Stream", *, by_thread: bool) -> None:
        """Leave out what has no place, and nothing like it in the other stream."""

        def like(event: _Placed) -> tuple[str, str]:
            return repr(event.name), repr(event.thread) if by_thread else ""

        known = {like(event) for event in other.unplaced}
        kept = [event for event in self.unplaced if like(event) in known]
        self.aside += len(self.unplaced) - len(kept)
        self.unplaced = kept

    def logs(self) -> dict[_Log, list[_Placed]]:
        """Events by log, in the order in which the logs begin, and behind them those without a place, by thread."""
        found: dict[_Log, list[_Placed]] = {}
        for event in self.placed:
            found.setdefault(_key(event)[:2], []).append(event)
        for event in self.unplaced:
            found.setdefault((repr(event.thread), "no sequence number"), []).append(event)
        return found


def compare_resumed(
    uninterrupted: Iterable[Record],
    interrupted: Iterable[Record],
    vocabulary: Vocabulary,
    *,
    ignoring: Iterable[str] = (),
    joining: Mapping[str, str] | None = None,
    same_log: bool = True,
) -> ResumeReport:
    """Compare a stream with one that was interrupted and resumed.

    Args:
        uninterrupted: recording of the stream as it should be.
        interrupted: recording of the stream that came in several connections.
        vocabulary: where names, threads, epochs and sequence numbers stand.
        ignoring: paths that may differ.
        joining: per event name the path of a text that may come in other pieces; events of a thread that follow each
            other are joined before they are compared, and gaps between them are not asked for.
        same_log: both recordings are of the same events. False: they are of two turns that went alike, so ids,
            epochs, sequence numbers and timestamps may differ; threads are matched in the order in which they begin.
    """
    left, right = _read(uninterrupted, vocabulary), _read(interrupted, vocabulary)
    pieces = {name: parse_pointer(path) for name, path in (joining or {}).items()}
    differences = _log_faults(right.placed, pieces)
    right.placed = _without_repeats(right.placed)
    right.set_aside(left, by_thread=same_log)
    ignored = {parse_pointer(path) for path in ignoring}
    if not same_log:
        for role in ("user", "thread", "run", "sequence", "epoch", "timestamp"):
            ignored |= set(vocabulary.place(role))
        ignored.add(("id",))
    if pieces:
        ignored |= set(vocabulary.sequence) | set(vocabulary.timestamp) | {("id",)}
    for one, two in _matched(left.logs(), right.logs(), same_log=same_log):
        differences += _compare(_joined(one, pieces), _joined(two, pieces), ignored)
    differences.sort(key=lambda each: each.index if each.index >= 0 else sys.maxsize)
    return ResumeReport(
        events=len(left.placed) + len(left.unplaced),
        connections=right.connections,
        differences=tuple(differences),
        unproven=_unproven(left, right, vocabulary),
        aside=(left.aside, right.aside),
    )


def _unproven(left: _Stream, right: _Stream, vocabulary: Vocabulary) -> str:
    if not vocabulary.sequence:
        return f"the vocabulary {vocabulary.name!r} does not say where sequence numbers stand"
    for stream, what in ((left, "uninterrupted"), (right, "interrupted")):
        if not stream.placed:
            return f"no event of the {what} recording has a sequence number"
    if right.connections < 2:  # what is resumed came over one connection before and over another after
        return "the interrupted recording has events on one connection only, so nothing was resumed"
    return ""


def _read(records: Iterable[Record], vocabulary: Vocabulary) -> _Stream:
    name, thread, run = getter(vocabulary.event), getter(vocabulary.thread), getter(vocabulary.run)
    epoch, seq = getter(vocabulary.epoch), getter(vocabulary.sequence)
    stream = _Stream([], [], 0, 0)
    connections: set[str] = set()
    for index, record in enumerate(records):
        if record.kind is not Kind.EVENT or record.direction is not Direction.RECEIVED:
            continue
        data = record.data
        event = _Placed(index, name(data), thread(data), epoch(data), seq(data), data)
        if event.seq is not None:
            connections.add(record.connection)
            stream.placed.append(event)
        elif event.thread is not None or run(data) is not None:
            stream.unplaced.append(event)
        else:
            stream.aside += 1
    stream.connections = len(connections)
    return stream


def _matched(
    left: dict[_Log, list[_Placed]], right: dict[_Log, list[_Placed]], *, same_log: bool
) -> Iterator[tuple[list[_Placed], list[_Placed]]]:
    """Logs of the two streams that belong together."""
    if same_log:
        for log in dict.fromkeys((*left, *right)):
            yield left.get(log, []), right.get(log, [])
    else:
        yield from zip_longest(left.values(), right.values(), fillvalue=[])


def _key(event: _Placed) -> tuple[str, str, str]:
    return repr(event.thread), repr(event.epoch), repr(event.seq)


def _without_repeats(events: list[_Placed]) -> list[_Placed]:
    return list({_key(event): event for event in reversed(events)}.values())[::-1]


def _log_faults(events: list[_Placed], pieces: Mapping[str, Any]) -> list[Difference]:
    """Places that came twice, and places left out."""
    faults = []
    seen: dict[tuple[str, str, str], _Placed] = {}
    last: dict[tuple[str, str], _Placed] = {}
    for event in events:
        earlier = seen.setdefault(_key(event), event)
        if earlier is not event:
            what = f"sequence {event.seq} of thread {event.thread!r} came twice ({event.name})"
            faults.append(Difference(kind="duplicate", message=what, index=event.index, other=earlier.index))
            continue
        log = _key(event)[:2]
        before = last.get(log)
        last[log] = event
        if before is None or not (isinstance(before.seq, int) and isinstance(event.seq, int)):
            continue
        if event.seq != before.seq + 1 and not (before.name in pieces or event.name in pieces):
            what = f"sequence of thread {event.thread!r} goes from {before.seq} to {event.seq} ({event.name})"
            faults.append(
                Difference(kind="gap", message=what, index=event.index, expected=before.seq + 1, found=event.seq)
            )
    return faults


def _joined(events: list[_Placed], pieces: Mapping[str, tuple[str, ...]]) -> list[_Placed]:
    joined: list[_Placed] = []
    for event in events:
        path = pieces.get(event.name) if isinstance(event.name, str) else None
        before = joined[-1] if joined else None
        if path and before is not None and before.name == event.name and before.thread == event.thread:
            one, two = getter((path,))(before.data), getter((path,))(event.data)
            if isinstance(one, str) and isinstance(two, str):
                before.data = _with(before.data, path, one + two)
                continue
        joined.append(_Placed(event.index, event.name, event.thread, event.epoch, event.seq, event.data))
    return joined


def _with(data: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    return {**data, path[0]: _with(data[path[0]], path[1:], value)}


def _compare(left: list[_Placed], right: list[_Placed], ignored: set[tuple[str, ...]]) -> list[Difference]:
    """The first place at which the streams part; what follows it would only repeat it."""
    for expected, found in zip_longest(left, right):
        if found is None:
            what = f"{expected} never came"
            return [Difference(kind="missing", message=what, index=-1, other=expected.index, expected=expected.data)]
        if expected is None:
            what = f"{found} has no counterpart"
            return [Difference(kind="extra", message=what, index=found.index, found=found.data)]
        path = _first_unlike(expected.data, found.data, ignored, ())
        if path is not None:
            want, got = getter((path,))(expected.data), getter((path,))(found.data)
            pointer = format_pointer(path)
            what = f"{found} differs at {pointer}: expected {want!r:.80}, found {got!r:.80}"
            return [
                Difference(
                    kind="changed",
                    message=what,
                    index=found.index,
                    other=expected.index,
                    pointer=pointer,
                    expected=want,
                    found=got,
                )
            ]
    return []


def _first_unlike(
    left: Any, right: Any, ignored: set[tuple[str, ...]], path: tuple[str, ...]
) -> tuple[str, ...] | None:
    if path in ignored or left == right:
        return None
    if isinstance(left, dict) and isinstance(right, dict):
        for key in [*left, *(key for key in right if key not in left)]:
            inner = _first_unlike(left.get(key, _MISSING), right.get(key, _MISSING), ignored, (*path, key))
            if inner is not None:
                return inner
        return None
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for place, (one, two) in enumerate(zip(left, right, strict=True)):
            inner = _first_unlike(one, two, ignored, (*path, str(place)))
            if inner is not None:
                return inner
        return None
    return path
