"""What differs: between two recordings, run by run, and between two contracts, by what they mean."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from event_capture.contract import AnyClause, Contract
from event_capture.contract.clauses import speak_duration
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Vocabulary
from event_capture.vocabulary.pointer import getter


class Change(Struct, frozen=True, kw_only=True):
    """One thing that differs."""

    kind: str
    """`added`, `removed` or `changed`."""
    what: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        mark = {"added": "+", "removed": "-", "changed": "~"}[self.kind]
        if self.kind == "changed":
            return f"{mark} {self.what}: {self.before} -> {self.after}"
        return f"{mark} {self.what}"


def compare_contracts(before: Contract, after: Contract) -> tuple[Change, ...]:
    """What the second contract demands otherwise than the first, whatever way each is written.

    Names joined by "or" in another order, another unit for the same time, a scope that is said or left to the
    contract, clauses of one's own or inherited: none of these is a difference.
    """
    old, new = _meanings(before), _meanings(after)
    removed = [clause for meaning, clause in old.items() if meaning not in new]
    added = [clause for meaning, clause in new.items() if meaning not in old]
    changes = []
    for clause in list(removed):
        partner = next((other for other in added if _subject(other) == _subject(clause)), None)
        if partner is not None:
            removed.remove(clause)
            added.remove(partner)
            what = clause.section
            changes.append(Change(kind="changed", what=what, before=clause.sentence(), after=partner.sentence()))
    changes += [Change(kind="removed", what=str(clause)) for clause in removed]
    changes += [Change(kind="added", what=str(clause)) for clause in added]
    for rule in ("closed", "readable"):
        one, two = getattr(before, rule), getattr(after, rule)
        if one != two:
            changes.append(Change(kind="changed", what=rule, before=str(one).lower(), after=str(two).lower()))
    return tuple(changes)


def _meanings(contract: Contract) -> dict[str, AnyClause]:
    """Clauses by what they mean: scope filled in, names in one order, paths of roles resolved."""
    return {repr(_canonical(clause, contract)): clause for clause in contract.clauses}


def _canonical(clause: AnyClause, contract: Contract) -> AnyClause:
    fields = asdict(clause)
    sorted_names = {
        name: tuple(sorted(value))
        for name, value in fields.items()
        if isinstance(value, tuple)
        and all(isinstance(each, str) for each in value)
        and name not in ("by", "key", "keeping", "owner")
    }
    return replace(clause, scope=contract.scope_of(clause), **sorted_names)


def _subject(clause: AnyClause) -> tuple[Any, ...]:
    """What a clause is about, apart from how much of it: two clauses about the same thing are one that changed."""
    fields = asdict(clause)
    for name in (
        "scope",
        "when",
        "unless",
        "limit_ns",
        "at_least",
        "at_most",
        "strict",
        "gapless",
        "reusable",
        "schema",
    ):
        fields.pop(name, None)
    for name in ("around", "abandoned", "keeping", "once", "only"):
        fields.pop(name, None)
    return clause.section, repr(
        {name: sorted(map(str, v)) if isinstance(v, tuple) else v for name, v in fields.items()}
    )


class RunDifference(Struct, frozen=True, kw_only=True):
    """How one run differs from its counterpart."""

    run: int
    """Number of the run, from 1, in the order in which they began."""
    place: int
    """Number of the event within the run, from 1."""
    before: str
    after: str
    before_index: int = -1
    after_index: int = -1

    def __str__(self) -> str:
        return f"run {self.run}, event {self.place}: {self.before or '(nothing)'} -> {self.after or '(nothing)'}"


class RecordingComparison(Struct, frozen=True, kw_only=True):
    """How two recordings differ."""

    runs: tuple[int, int]
    events: tuple[int, int]
    counts: tuple[Change, ...]
    """Events that came more or less often."""
    differences: tuple[RunDifference, ...]
    """Per run the first place at which names part."""
    timing: tuple[str, ...]
    """Per run how long it took, both sides."""

    @property
    def alike(self) -> bool:
        """The same events in the same order in every run; times may differ."""
        return not self.differences and not self.counts and self.runs[0] == self.runs[1]


def compare_recordings(
    before: Sequence[Record], after: Sequence[Record], vocabulary: Vocabulary
) -> RecordingComparison:
    """Compare two recordings run by run, by the names of their events; ids, texts and times may differ."""
    old, new = _runs(before, vocabulary), _runs(after, vocabulary)
    counts_old, counts_new = _counts(old), _counts(new)
    changes = tuple(
        Change(kind="changed", what=name, before=str(counts_old.get(name, 0)), after=str(counts_new.get(name, 0)))
        for name in dict.fromkeys((*counts_old, *counts_new))
        if counts_old.get(name) != counts_new.get(name)
    )
    differences = []
    timing = []
    for number, (one, two) in enumerate(zip(old, new, strict=False), 1):
        timing.append(f"run {number}: {_took(one)} -> {_took(two)}")
        for place in range(max(len(one), len(two))):
            left = one[place] if place < len(one) else None
            right = two[place] if place < len(two) else None
            if (left and left[1]) != (right and right[1]):
                differences.append(
                    RunDifference(
                        run=number,
                        place=place + 1,
                        before=left[1] if left else "",
                        after=right[1] if right else "",
                        before_index=left[0] if left else -1,
                        after_index=right[0] if right else -1,
                    )
                )
                break
    return RecordingComparison(
        runs=(len(old), len(new)),
        events=(sum(map(len, old)), sum(map(len, new))),
        counts=changes,
        differences=tuple(differences),
        timing=tuple(timing),
    )


_Step = tuple[int, str, int]
"""Index in the recording, name, monotonic nanoseconds."""


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
        over = steps is not None and steps[-1][1] in vocabulary.ends
        by_id = not vocabulary.segmented and run(record.data) is not None
        if steps is None or (over and not by_id):
            steps = current[key] = []
            runs.append(steps)
        steps.append((index, found if isinstance(found, str) else "(no name)", record.monotonic_ns))
    return runs


def _counts(runs: list[list[_Step]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for steps in runs:
        for _, name, _ in steps:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _took(steps: list[_Step]) -> str:
    return speak_duration(steps[-1][2] - steps[0][2])
