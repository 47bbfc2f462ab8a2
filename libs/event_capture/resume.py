"""Proof that a stream that was interrupted and resumed is the stream that it would have been.

Events count that have a place in the log of a thread: `(epoch, thread, sequence)`. What came over several connections
is merged in the order of arrival; every place must come once, none may be left out, and what stands at each place must
be what the uninterrupted stream has there.
"""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final

from msgspec import Struct

from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Vocabulary
from event_capture.vocabulary.pointer import format_pointer, getter, parse_pointer

_MISSING: Final = object()


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

    @property
    def equal(self) -> bool:
        """The same events in the same order, each once."""
        return not self.differences

    @property
    def first(self) -> Difference | None:
        """The difference that comes first in the interrupted stream."""
        return self.differences[0] if self.differences else None

    def explain(self) -> str:
        """The report in one line."""
        if self.first is None:
            return f"equal: {self.events} events over {self.connections} connections"
        more = f" ({len(self.differences) - 1} more)" if len(self.differences) > 1 else ""
        return f"{self.first.kind}: {self.first.message}{more}"


class _Placed(Struct):
    index: int
    name: Any
    thread: Any
    epoch: Any
    seq: Any
    data: Any


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
        joining: per event name the path of a text that may come in other pieces; events that follow each other are
            joined before they are compared, and gaps between them are not asked for.
        same_log: both recordings are of the same events. False: they are of two turns that went alike, so ids,
            epochs, sequence numbers and timestamps may differ.
    """
    left, _ = _placed(uninterrupted, vocabulary)
    right, connections = _placed(interrupted, vocabulary)
    pieces = {name: parse_pointer(path) for name, path in (joining or {}).items()}
    differences = _log_faults(right, pieces)
    ignored = {parse_pointer(path) for path in ignoring}
    if not same_log:
        for role in ("user", "thread", "run", "sequence", "epoch", "timestamp"):
            ignored |= set(vocabulary.place(role))
        ignored.add(("id",))
    if pieces:
        ignored |= set(vocabulary.sequence) | set(vocabulary.timestamp) | {("id",)}
    once = _without_repeats(right)
    differences += _compare(_joined(left, pieces), _joined(once, pieces), ignored)
    differences.sort(key=lambda each: each.index if each.index >= 0 else len(right) + 1)
    return ResumeReport(events=len(left), connections=connections, differences=tuple(differences))


def _placed(records: Iterable[Record], vocabulary: Vocabulary) -> tuple[list[_Placed], int]:
    name, thread = getter(vocabulary.event), getter(vocabulary.thread)
    epoch, seq = getter(vocabulary.epoch), getter(vocabulary.sequence)
    found = []
    connections: set[str] = set()
    for index, record in enumerate(records):
        if record.kind is not Kind.EVENT or record.direction is not Direction.RECEIVED:
            continue
        place = seq(record.data)
        if place is not None:
            connections.add(record.connection)
            data = record.data
            found.append(_Placed(index, name(data), thread(data), epoch(data), place, data))
    return found, len(connections)


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
            what = f"{expected.name} (sequence {expected.seq}) never came"
            return [Difference(kind="missing", message=what, index=-1, other=expected.index, expected=expected.data)]
        if expected is None:
            what = f"{found.name} (sequence {found.seq}) has no counterpart"
            return [Difference(kind="extra", message=what, index=found.index, found=found.data)]
        path = _first_unlike(expected.data, found.data, ignored, ())
        if path is not None:
            want, got = getter((path,))(expected.data), getter((path,))(found.data)
            pointer = format_pointer(path)
            what = f"{found.name} (sequence {found.seq}) differs at {pointer}: expected {want!r:.80}, found {got!r:.80}"
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
