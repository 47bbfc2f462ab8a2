"""A draft of a contract from recordings that are known to be good, with the evidence for every clause.

What is drafted holds for each of the recordings: it is checked against them before it is handed out. It is a draft all
the same: a recording shows what happened, not what must.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from event_capture.checker import Checker, Verdict
from event_capture.checker.reference import Group, Seen, group_records
from event_capture.contract import (
    AnyClause,
    Contract,
    Count,
    First,
    Isolate,
    Last,
    Monotonic,
    Order,
    Pair,
    Require,
    Same,
    Scope,
    Within,
)
from event_capture.contract.clauses import format_duration
from event_capture.contract.loading import parse_contract, write_contract
from event_capture.contract.words import is_speakable
from event_capture.errors import ContractError, RecordingError, VocabularyError
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import FIELD_ROLES, Vocabulary
from event_capture.vocabulary.pointer import getter

_HEADROOM = 2
"""A budget is this many times the longest that was seen."""
_MAX_ALTERNATIVES = 3
"""More first or last events than these are no rule."""
_MAX_LEFT_OUT = 20
"""Most names listed that no clause can speak of."""


class Evidence(Struct, frozen=True, kw_only=True):
    """A clause, and what speaks for it."""

    clause: AnyClause
    words: str


class Draft(Struct, frozen=True, kw_only=True):
    """A contract as inferred."""

    contract: Contract
    evidence: tuple[Evidence, ...]
    runs: int
    left_out: tuple[str, ...] = ()
    """Events of which no clause can speak, for the sake of their names."""

    def yaml(self) -> str:
        """The contract document, with the evidence as comments; it has been read back."""
        remarks = {str(evidence.clause): evidence.words for evidence in self.evidence}
        lines = [
            f"# Inferred from {_counted(self.runs, 'run')}. A draft: keep what must hold, drop what only happened to."
        ]
        if self.left_out:
            names = ", ".join(map(ascii, self.left_out[:_MAX_LEFT_OUT]))
            more = f" and {len(self.left_out) - _MAX_LEFT_OUT} more" if len(self.left_out) > _MAX_LEFT_OUT else ""
            lines.append(f"# No clause can name these events: {names}{more}")
        section = ""
        for line in write_contract(self.contract).splitlines():
            if not line.startswith(("- ", " ")):
                section = line.partition(":")[0]
            remark = remarks.get(f"{section}: {_item(line)}") if line.startswith("- ") else None
            lines.append(f"{line}  # {remark}" if remark else line)
        text = "\n".join(lines) + "\n"
        parse_contract(text, source="the draft")
        return text


def infer(
    recordings: Sequence[Sequence[Record]],
    vocabulary: Vocabulary,
    *,
    name: str = "inferred",
    progress: Callable[[int, int], None] | None = None,
) -> Draft:
    """Draft a contract.

    Args:
        recordings: good ones, each seen to its end.
        vocabulary: how to read them.
        name: what to call the contract.
        progress: called with clauses put to the test and clauses in all.

    Raises:
        RecordingError: there is no event of a run in them, or no clause holds for all of them.
    """
    names = _run_names(recordings, vocabulary)
    left_out = tuple(each for each in names if not is_speakable(each))
    # These count as events of a run, so that streams without run ids are cut into runs, too.
    named = Contract(name=name, vocabulary=vocabulary, clauses=(Require(event=names),))
    runs: list[Group] = []
    for records in recordings:
        for group in group_records(records, named)[Scope.RUN]:
            group.events = [seen for seen in group.events if seen.name not in left_out]
            if group.events:
                runs.append(group)
    if not runs:
        fix = f"say with --vocabulary how to read it; {vocabulary.name!r} was taken"
        raise RecordingError("no event of a run in it, so there is nothing to infer from", fix=fix)
    drafts = list(_drafts(runs, vocabulary))
    kept = []
    for done, draft in enumerate(drafts, 1):
        alone = Contract(name=name, vocabulary=vocabulary, clauses=(draft.clause,), readable=False)
        if _reads_back(alone) and _holds(alone, recordings):
            kept.append(draft)
        if progress is not None:
            progress(done, len(drafts))
    if not kept:
        raise RecordingError("no clause holds for all of it, so there is nothing to draft")
    clauses = tuple(draft.clause for draft in kept)
    used = {each for clause in clauses for each in clause.events()}
    own = tuple(each for each in names if each in used and each not in vocabulary.known_events())
    contract = Contract(name=name, vocabulary=vocabulary, clauses=clauses, events=own)
    return Draft(contract=contract, evidence=tuple(kept), runs=len(runs), left_out=left_out)


def _run_names(recordings: Sequence[Sequence[Record]], vocabulary: Vocabulary) -> tuple[str, ...]:
    """Events of runs: those that carry a run's id, or, in streams without ids, come from a beginning to an end.

    A greeting is neither: it would be a run of its own.
    """
    name, run = getter(vocabulary.event), getter(vocabulary.run)
    carrying: dict[str, None] = {}
    between: dict[str, None] = {}
    for records in recordings:
        running: set[str] = set()
        for record in records:
            found = name(record.data)
            if record.kind is not Kind.EVENT or record.direction is Direction.SENT or not isinstance(found, str):
                continue
            if run(record.data) is not None:
                carrying[found] = None
            if found in vocabulary.begins:
                running.add(record.connection)
            if record.connection in running or vocabulary.segmented or not vocabulary.begins:
                between[found] = None
            if found in vocabulary.ends:
                running.discard(record.connection)
    return tuple(each for each in (between if vocabulary.segmented else carrying or between) if each)


def _reads_back(contract: Contract) -> bool:
    """The contract can be written and loaded, which refuses what could never be broken."""
    try:
        return parse_contract(write_contract(contract)).clauses == contract.clauses
    except (ContractError, VocabularyError):
        return False


def _item(line: str) -> str:
    """The text of one item of a YAML list."""
    import yaml

    try:
        (item,) = yaml.safe_load(line)
    except yaml.YAMLError:  # the first line of a text that goes on in the next one
        return ""
    return str(item)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _holds(contract: Contract, recordings: Sequence[Sequence[Record]]) -> bool:
    for records in recordings:
        checker = Checker(contract)
        checker.feed_all(records)
        if checker.finish(complete=True).verdict is not Verdict.HOLDS:
            return False
    return True


def _drafts(runs: list[Group], vocabulary: Vocabulary) -> Iterator[Evidence]:
    failures = _failures(runs, vocabulary)
    good = [run for run in runs if not failures or not any(seen.name in failures for seen in run.events)]
    yield from _occurrence(good, failures)
    yield from _ends(runs)
    yield from _orders(good)
    yield from _pairs(runs, vocabulary, failures)
    yield from _budgets(runs, vocabulary, failures)
    yield from _fields(runs, vocabulary)


def _failures(runs: list[Group], vocabulary: Vocabulary) -> tuple[str, ...]:
    """Events that end a run badly: those ends that cut short what other runs have."""
    usual = Counter(run.events[-1].name for run in runs if run.events[-1].name in vocabulary.ends)
    if not usual:
        return ()
    best = usual.most_common(1)[0][0]
    return tuple(name for name in vocabulary.ends if name != best)


def _occurrence(good: list[Group], failures: tuple[str, ...]) -> Iterator[Evidence]:
    if not good:
        return
    for name in dict.fromkeys(seen.name for run in good for seen in run.events):
        counts = [sum(seen.name == name for seen in run.events) for run in good]
        if min(counts) > 0:
            words = f"in {len(good)} of {len(good)} runs{' without ' + ' or '.join(failures) if failures else ''}"
            yield Evidence(clause=Require(event=(name,), unless=failures), words=words)
        if max(counts) == 1:
            yield Evidence(clause=Count(event=(name,), at_most=1), words=f"never twice in {_counted(len(good), 'run')}")


def _ends(runs: list[Group]) -> Iterator[Evidence]:
    firsts = Counter(run.events[0].name for run in runs)
    lasts = Counter(run.events[-1].name for run in runs)
    for kind, found in ((First, firsts), (Last, lasts)):
        if len(found) <= _MAX_ALTERNATIVES:
            words = ", ".join(f"{name} {count} of {len(runs)}" for name, count in found.most_common())
            yield Evidence(clause=kind(event=tuple(found)), words=words)


def _orders(good: list[Group]) -> Iterator[Evidence]:
    """a before b, where a run with b always has an a before it; only the nearest such a is worth a clause."""
    firsts = [_first_places(run) for run in good]
    names = list(dict.fromkeys(name for first in firsts for name in first))
    before = {
        (one, two)
        for one in names
        for two in names
        if one != two and all(one in first and first[one] < first[two] for first in firsts if two in first)
    }
    for one, two in sorted(before, key=lambda pair: (names.index(pair[0]), names.index(pair[1]))):
        if not any((one, between) in before and (between, two) in before for between in names):
            support = sum(two in first for first in firsts)
            yield Evidence(
                clause=Order(before=(one,), after=(two,)), words=f"in {support} of {support} runs with {two}"
            )


def _first_places(run: Group) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, seen in enumerate(run.events):
        places.setdefault(seen.name, place)
    return places


def _pairs(runs: list[Group], vocabulary: Vocabulary, failures: tuple[str, ...]) -> Iterator[Evidence]:
    for pair in vocabulary.pairs.values():
        count = sum(seen.name == pair.open for run in runs for seen in run.events)
        if count:
            left_open = any(_unclosed(run, pair.open, pair.close) for run in runs)
            clause = Pair(
                open=(pair.open,), close=(pair.close,), by=(pair.by,), abandoned=failures if left_open else ()
            )
            yield Evidence(clause=clause, words=_counted(count, "pair"))


def _unclosed(run: Group, opening: str, closing: str) -> bool:
    names = [seen.name for seen in run.events]
    return names.count(opening) != names.count(closing)


def _budgets(runs: list[Group], vocabulary: Vocabulary, failures: tuple[str, ...]) -> Iterator[Evidence]:
    asked = [run for run in runs if run.start_ns is not None]
    if asked:
        waits = [run.events[0].ns - (run.start_ns or 0) for run in asked]
        yield _budget("first_event", max(waits), len(waits))
    totals = [run.events[-1].ns - (run.start_ns if run.start_ns is not None else run.events[0].ns) for run in runs]
    yield _budget("total", max(totals), len(totals))
    for alias, pair in vocabulary.pairs.items():
        spans = [span for run in runs for span in _spans(run.events, pair.open, pair.close, pair.by)]
        if spans:
            found = _budget(alias, max(spans), len(spans))
            yield found
            if failures and isinstance(found.clause, Within):
                clause = Within(what=alias, limit_ns=found.clause.limit_ns, unless=failures)
                yield Evidence(clause=clause, words=found.words)


def _spans(events: list[Seen], opening: str, closing: str, by: tuple[str, ...]) -> Iterator[int]:
    key = getter((by,))
    running: dict[str, int] = {}
    for seen in events:
        if seen.name == opening:
            running[repr(key(seen.data))] = seen.ns
        elif seen.name == closing and repr(key(seen.data)) in running:
            yield seen.ns - running.pop(repr(key(seen.data)))


def _budget(what: str, longest: int, count: int) -> Evidence:
    limit = _round_up(max(longest, 1_000_000) * _HEADROOM)
    words = f"longest of {count}: {format_duration(max(longest // 1_000_000, 1) * 1_000_000)}"
    return Evidence(clause=Within(what=what, limit_ns=limit), words=words)


def _round_up(nanoseconds: int) -> int:
    """Up to one or two digits that people would choose: 1, 2, 3, 5 times a power of ten."""
    power = int(10 ** math.floor(math.log10(nanoseconds)))
    return next(step * power for step in (1, 2, 3, 5, 10) if step * power >= nanoseconds)


def _fields(runs: list[Group], vocabulary: Vocabulary) -> Iterator[Evidence]:
    clauses: tuple[Monotonic | Same | Isolate, ...] = (
        Monotonic(field="seq", strict=True, gapless=True, scope=Scope.THREAD),
        Monotonic(field="seq", strict=True, scope=Scope.THREAD),
        Monotonic(field="timestamp", scope=Scope.THREAD),
        Same(field="run_id"),
        Same(field="thread_id"),
        Same(field="user_id"),
        Isolate(field="user_id", scope=Scope.CONNECTION),
    )
    for clause in clauses:
        read = getter(vocabulary.place(FIELD_ROLES[clause.field]))
        count = sum(read(seen.data) is not None for run in runs for seen in run.events)
        if count:
            yield Evidence(clause=clause, words=f"in {_counted(count, 'event')}")
