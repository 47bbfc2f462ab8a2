"""How good is a contract? Break a good recording in every way that matters, and see which clause notices.

Each received event is dropped, sent twice, swapped with the next one, delayed, and sent to another connection. For
every such mutant it is worked out, from the clauses' meaning alone and without the checker, which clauses must notice:
those are what the contract speaks of, and anything below 100 % there is a fault of the checker. Mutants of which no
clause speaks are listed with whether something noticed them all the same: they show what the contract leaves open.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from event_capture.checker import Checker, Verdict
from event_capture.checker.reference import violated_clauses
from event_capture.contract import Contract
from event_capture.errors import RecordingError
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.pointer import getter

MAX_EVENTS: Final = 2_000
"""Longest recording that is mutated, in received events: every event makes five mutants, each checked whole."""


class Operator(StrEnum):
    """What is done to an event."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    SWAP = "swap"
    DELAY = "delay"
    INJECT = "inject"


class Mutant(Struct, frozen=True, kw_only=True):
    """One recording with one fault."""

    operator: Operator
    index: int
    """The event, by its place in the good recording."""
    event: str
    records: tuple[Record, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one mutant."""

    operator: Operator
    index: int
    event: str
    expected: tuple[int, ...]
    """Clauses that must notice, by their place in the contract."""
    killed_by: tuple[int, ...]
    """Clauses that noticed."""

    @property
    def killed(self) -> bool:
        return bool(self.killed_by)


class ClauseScore(Struct, frozen=True, kw_only=True):
    """How one clause did."""

    clause: str
    spoken_of: int
    """Mutants that it must notice."""
    noticed: int
    """Those of them that it noticed."""
    others: int
    """Mutants that it noticed besides."""


class MutationReport(Struct, frozen=True, kw_only=True):
    """How a contract did."""

    contract: str
    mutants: int
    scores: tuple[ClauseScore, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def spoken_of(self) -> list[Outcome]:
        """Mutants that some clause must notice."""
        return [outcome for outcome in self.outcomes if outcome.expected]

    @property
    def missed(self) -> list[Outcome]:
        """Mutants that a clause must notice and did not."""
        return [each for each in self.outcomes if not set(each.expected) <= set(each.killed_by)]

    @property
    def survivors(self) -> list[Outcome]:
        """Mutants that nothing noticed."""
        return [outcome for outcome in self.outcomes if not outcome.killed]


def mutate(
    records: Sequence[Record],
    contract: Contract,
    *,
    delay_ns: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MutationReport:
    """Mutate a good recording and score the contract.

    Args:
        records: a recording that satisfies the contract, seen to its end.
        contract: whose clauses are scored.
        delay_ns: by how much an event, and all that follows it on its connection, is delayed. None: longer than the
            longest budget of the contract.
        progress: called with mutants done and mutants in all.

    Raises:
        RecordingError: the recording does not satisfy the contract as it is, or is too long.
    """
    good = _verdict(records, contract)
    if good[0] is not Verdict.HOLDS:
        raise RecordingError(
            f"the recording does not satisfy the contract {contract.name!r} as it is ({good[0]})",
            fix="mutate a recording for which streamproof check exits with 0",
        )
    longest = max((clause.limit_ns for clause in contract.clauses if hasattr(clause, "limit_ns")), default=10**9)
    pause = delay_ns if delay_ns is not None else 2 * longest
    mutants = list(_mutants(records, contract, pause))
    outcomes = []
    for done, mutant in enumerate(mutants, 1):
        _, noticed = _verdict(mutant.records, contract)
        expected = tuple(sorted(violated_clauses(mutant.records, contract)))
        outcomes.append(
            Outcome(
                operator=mutant.operator,
                index=mutant.index,
                event=mutant.event,
                expected=expected,
                killed_by=noticed,
            )
        )
        if progress is not None:
            progress(done, len(mutants))
    return MutationReport(
        contract=contract.name,
        mutants=len(mutants),
        scores=tuple(_score(place, str(clause), outcomes) for place, clause in enumerate(contract.clauses)),
        outcomes=tuple(outcomes),
    )


def _verdict(records: Sequence[Record], contract: Contract) -> tuple[Verdict, tuple[int, ...]]:
    checker = Checker(contract)
    checker.feed_all(records)
    report = checker.finish(complete=True)
    noticed = {clause.index for clause in report.clauses if clause.verdict is Verdict.VIOLATED}
    return report.verdict, tuple(sorted(noticed))


def _score(place: int, clause: str, outcomes: list[Outcome]) -> ClauseScore:
    spoken = [outcome for outcome in outcomes if place in outcome.expected]
    noticed = [outcome for outcome in outcomes if place in outcome.killed_by]
    return ClauseScore(
        clause=clause,
        spoken_of=len(spoken),
        noticed=sum(place in outcome.killed_by for outcome in spoken),
        others=sum(place not in outcome.expected for outcome in noticed),
    )


def _mutants(records: Sequence[Record], contract: Contract, pause: int) -> Iterator[Mutant]:
    name = getter(contract.vocabulary.event)
    places = [
        place
        for place, record in enumerate(records)
        if record.kind is Kind.EVENT and record.direction is Direction.RECEIVED
    ]
    if len(places) > MAX_EVENTS:
        raise RecordingError(
            f"the recording has {len(places)} events, at most {MAX_EVENTS} are mutated", fix="cut out one turn"
        )
    for place in places:
        for operator, broken in _broken(records, places, place, contract, pause):
            found = name(records[place].data)
            event = found if isinstance(found, str) else ""
            yield Mutant(operator=operator, index=place, event=event, records=tuple(broken))


def _broken(
    records: Sequence[Record], places: list[int], place: int, contract: Contract, pause: int
) -> Iterator[tuple[Operator, list[Record]]]:
    record = records[place]
    before, after = list(records[:place]), list(records[place + 1 :])
    yield Operator.DROP, [*before, *after]
    yield Operator.DUPLICATE, [*before, record, record, *after]
    following = next((p for p in places if p > place and records[p].connection == record.connection), None)
    if following is not None:
        yield Operator.SWAP, _swapped(records, place, following)
    yield Operator.DELAY, _delayed(records, place, pause)
    yield Operator.INJECT, _injected(records, place, contract)


def _swapped(records: Sequence[Record], one: int, two: int) -> list[Record]:
    """Two events change places; the moments at which something arrived stay where they are."""
    swapped = list(records)
    swapped[one] = replace(records[two], monotonic_ns=records[one].monotonic_ns, wall_ns=records[one].wall_ns)
    swapped[two] = replace(records[one], monotonic_ns=records[two].monotonic_ns, wall_ns=records[two].wall_ns)
    return swapped


def _delayed(records: Sequence[Record], place: int, pause: int) -> list[Record]:
    late = records[place].connection
    moved = [
        replace(record, monotonic_ns=record.monotonic_ns + pause, wall_ns=record.wall_ns + pause)
        if number >= place and record.connection == late
        else record
        for number, record in enumerate(records)
    ]
    return sorted(moved, key=lambda record: record.monotonic_ns)


def _injected(records: Sequence[Record], place: int, contract: Contract) -> list[Record]:
    """The event comes to somebody else as well: on another user's connection, or, if there is none, as a stranger's."""
    record = records[place]
    other = next(
        (each for each in records[place + 1 :] if each.user != record.user and each.kind is not Kind.CLOSE), None
    ) or next((each for each in records[:place] if each.user != record.user and each.kind is not Kind.CLOSE), None)
    if other is not None:
        copy = replace(record, connection=other.connection, user=other.user)
        position = _open_until(records, other.connection, place)
        copy = replace(copy, monotonic_ns=records[position - 1].monotonic_ns)
        return [*records[:position], copy, *records[position:]]
    data = record.data
    for steps in contract.vocabulary.user:
        data = _with(data, steps, "somebody else")
    return [*records[: place + 1], replace(record, data=data), *records[place + 1 :]]


def _open_until(records: Sequence[Record], connection: str, place: int) -> int:
    """Where on a connection, as near to the place as can be, an event may come: after its opening, before its close."""
    mine = [number for number, record in enumerate(records) if record.connection == connection]
    last = mine[-1] if records[mine[-1]].kind is Kind.CLOSE else mine[-1] + 1
    return min(max(place + 1, mine[0] + 1), last)


def _with(data: Any, steps: tuple[str, ...], value: Any) -> Any:
    if not steps:
        return value
    if not isinstance(data, dict):
        return data
    return {**data, steps[0]: _with(data.get(steps[0], {}), steps[1:], value)}
