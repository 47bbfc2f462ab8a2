"""What differs between two recordings, run by run: names, and what stands in the events.

Ids, clocks and numbers that count are made anew each time, so they are not compared as they are. Ids must stand for
each other: where the first recording has one id twice, the second one has the same id twice, and nowhere else. Of
sequence numbers the steps are compared, of timestamps only whether there is one.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

from msgspec import Struct

from event_capture.contract.clauses import speak_duration
from event_capture.meaning import Change
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Vocabulary
from event_capture.vocabulary.pointer import format_pointer, getter

_ID: Final = re.compile(r"(?:.*[_-])?id|.*(?:Id|ID)")
_CLOCK: Final = re.compile(r"(?i:(?:.*[_-])?(?:timestamp|time|at|created|updated))|.*(?:Timestamp|At)")
_NAMED: Final = re.compile(r"\d{4}-\d\d-\d\d[T ].*|\d+(?:\.\d+)?")
"""A time in words, or a number."""
_MISSING: Final = object()


class RunDifference(Struct, frozen=True, kw_only=True):
    """How one run differs from its counterpart."""

    run: int
    """Number of the run, from 1, in the order in which they began."""
    place: int
    """Number of the event within the run, from 1."""
    before: str
    """Name of the event; where only what stands in it differs, that."""
    after: str
    event: str = ""
    """Name of the event in which something else stands."""
    pointer: str = ""
    """Where in it."""
    before_index: int = -1
    after_index: int = -1

    def __str__(self) -> str:
        where = f", {self.event} at {self.pointer or 'the whole of it'}" if self.event else ""
        return f"run {self.run}, event {self.place}{where}: {self.before or '(nothing)'} -> {self.after or '(nothing)'}"


class RecordingComparison(Struct, frozen=True, kw_only=True):
    """How two recordings differ."""

    runs: tuple[int, int]
    events: tuple[int, int]
    counts: tuple[Change, ...]
    """Events that came more or less often."""
    differences: tuple[RunDifference, ...]
    """Per run the first place at which names part, else the first at which something else stands in an event."""
    timing: tuple[str, ...]
    """Per run how long it took, both sides."""

    @property
    def alike(self) -> bool:
        """The same events in the same order in every run, and the same in them; ids and times may differ."""
        return not self.differences and not self.counts and self.runs[0] == self.runs[1]


def compare_recordings(
    before: Sequence[Record], after: Sequence[Record], vocabulary: Vocabulary, *, names_only: bool = False
) -> RecordingComparison:
    """Compare two recordings run by run.

    Args:
        before: one recording.
        after: the other.
        vocabulary: how to read them.
        names_only: compare the names of events, and nothing that stands in them.
    """
    old, new = _runs(before, vocabulary), _runs(after, vocabulary)
    counts_old, counts_new = _counts(old), _counts(new)
    changes = tuple(
        Change(kind="changed", what=name, before=str(counts_old.get(name, 0)), after=str(counts_new.get(name, 0)))
        for name in dict.fromkeys((*counts_old, *counts_new))
        if counts_old.get(name) != counts_new.get(name)
    )
    likeness = None if names_only else _Likeness(vocabulary)
    differences = []
    timing = []
    for number, (one, two) in enumerate(zip(old, new, strict=False), 1):
        timing.append(f"run {number}: {_took(one)} -> {_took(two)}")
        found = _names_part(number, one, two) or (likeness and _contents_part(number, one, two, likeness))
        if found:
            differences.append(found)
    return RecordingComparison(
        runs=(len(old), len(new)),
        events=(sum(map(len, old)), sum(map(len, new))),
        counts=changes,
        differences=tuple(differences),
        timing=tuple(timing),
    )


class _Step(Struct):
    """One event of a run."""

    index: int
    name: str
    ns: int
    data: Any


def _names_part(run: int, one: list[_Step], two: list[_Step]) -> RunDifference | None:
    for place, (left, right) in enumerate(zip_longest(one, two), 1):
        if left is None or right is None or left.name != right.name:
            return RunDifference(
                run=run,
                place=place,
                before=left.name if left else "",
                after=right.name if right else "",
                before_index=left.index if left else -1,
                after_index=right.index if right else -1,
            )
    return None


def _contents_part(run: int, one: list[_Step], two: list[_Step], likeness: "_Likeness") -> RunDifference | None:
    likeness.begin()
    for place, (left, right) in enumerate(zip(one, two, strict=True), 1):
        found = next(likeness.unlike(left.data, right.data, ()), None)
        if found is not None:
            path, before, after = found
            return RunDifference(
                run=run,
                place=place,
                before=_shown(before),
                after=_shown(after),
                event=left.name,
                pointer=format_pointer(path),
                before_index=left.index,
                after_index=right.index,
            )
    return None


_Unlike = tuple[tuple[str, ...], Any, Any]
"""Where two events differ, and what stands there."""


class _Likeness:
    """What may differ between two events that are alike."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        ids = (vocabulary.user, vocabulary.thread, vocabulary.run, vocabulary.epoch)
        self.ids = {steps for places in ids for steps in places} | {pair.by for pair in vocabulary.pairs.values()}
        self.clocks = set(vocabulary.timestamp)
        self.counters = set(vocabulary.sequence)
        self.forth: dict[Any, Any] = {}
        self.back: dict[Any, Any] = {}
        self.shifts: dict[tuple[str, ...], int] = {}

    def begin(self) -> None:
        """A new run: its numbers may begin anywhere."""
        self.shifts.clear()

    def unlike(self, left: Any, right: Any, path: tuple[str, ...]) -> Iterator[_Unlike]:
        """Every place at which two documents differ by more than may be."""
        if isinstance(left, dict) and isinstance(right, dict):
            for key in (*left, *(key for key in right if key not in left)):
                yield from self.unlike(left.get(key, _MISSING), right.get(key, _MISSING), (*path, str(key)))
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            for place, (one, two) in enumerate(zip(left, right, strict=True)):
                yield from self.unlike(one, two, (*path, str(place)))
        elif not self.stand_for_each_other(left, right, path):
            yield path, left, right

    def stand_for_each_other(self, left: Any, right: Any, path: tuple[str, ...]) -> bool:
        key = path[-1] if path else ""
        if path in self.counters and type(left) is int and type(right) is int:
            return self.shifts.setdefault(path, right - left) == right - left
        if (path in self.clocks or _CLOCK.fullmatch(key)) and _is_time(left) and _is_time(right):
            return True
        if (path in self.ids or _ID.fullmatch(key)) and _is_id(left) and _is_id(right):
            return bool(self.forth.setdefault(left, right) == right and self.back.setdefault(right, left) == left)
        return bool(left == right and type(left) is type(right))


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    if isinstance(value, str):
        return _NAMED.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return "(nothing)" if value is _MISSING else f"{value!r:.80}"


def _runs(records: Sequence[Record], vocabulary: Vocabulary) -> list[list[_Step]]:
    """Events by run: by its id where events have one, else cut where one ends."""
    name, run, thread = getter(vocabulary.event), getter(vocabulary.run), getter(vocabulary.thread)
    runs: list[list[_Step]] = []
    current: dict[Any, list[_Step]] = {}
    for index, record in enumerate(records):
        if record.kind is not Kind.EVENT or record.direction is not Direction.RECEIVED:
            continue
        found = name(record.data)
        key = (record.connection, None if vocabulary.segmented else repr(run(record.data) or thread(record.data)))
        steps = current.get(key)
        over = steps is not None and steps[-1].name in vocabulary.ends
        by_id = not vocabulary.segmented and run(record.data) is not None
        if steps is None or (over and not by_id):
            steps = current[key] = []
            runs.append(steps)
        called = found if isinstance(found, str) else "(no name)"
        steps.append(_Step(index, called, record.monotonic_ns, record.data))
    return runs


def _counts(runs: list[list[_Step]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for steps in runs:
        for step in steps:
            counts[step.name] = counts.get(step.name, 0) + 1
    return counts


def _took(steps: list[_Step]) -> str:
    return speak_duration(steps[-1].ns - steps[0].ns)
