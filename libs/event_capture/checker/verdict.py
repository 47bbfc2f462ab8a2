"""What a check finds: verdicts of four values, violations with codes, and the report that holds them."""

from enum import StrEnum

from msgspec import Struct

from event_capture.contract.clauses import Scope


class Verdict(StrEnum):
    """How sure a check is. A stream that was cut off, or is still going on, never gets a plain `holds`."""

    HOLDS = "holds"
    PRESUMABLY_HOLDS = "presumably holds"
    """Nothing is wrong so far; what is still missing of the stream could change that."""
    PRESUMABLY_VIOLATED = "presumably violated"
    """Something that must come has not come yet; what is still missing of the stream could bring it."""
    VIOLATED = "violated"
    """Whatever comes, this stays broken."""


SEVERITY = (Verdict.HOLDS, Verdict.PRESUMABLY_HOLDS, Verdict.PRESUMABLY_VIOLATED, Verdict.VIOLATED)
"""Verdicts from best to worst."""


class Violation(Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    code: str
    """Stable name of the kind of violation, for programs."""
    clause: str
    """The clause in words, with its section."""
    clause_index: int
    """Place of the clause in the contract from 0; -1 for the rules that every contract has."""
    message: str
    """What happened, in one sentence."""
    expected: str
    hint: str
    indices: tuple[int, ...]
    """Records involved, by their place in the recording from 0, the one that showed the violation last."""
    pointer: str = ""
    """JSON pointer into `data` of the last of these records; empty: the whole of it."""
    scope: Scope = Scope.RECORDING
    scope_key: str = ""
    """Which run, thread, user or connection."""
    connection: str = ""
    user: str = ""
    definite: bool = True
    """False: what is still missing of the stream could mend it."""
    event: str = ""
    """Name of the event that is missing or wrong, when it is about one."""


class ClauseVerdict(Struct, frozen=True, kw_only=True):
    """What became of one clause."""

    clause: str
    section: str
    index: int
    verdict: Verdict
    scopes: int
    """Scopes that the clause was checked in."""
    violations: int
    fired: int
    """Events that the clause had something to say about. 0: it was never put to the test."""
    note: str = ""
    """Why the clause says less than it seems to."""


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a check found."""

    contract: str
    vocabulary: str
    verdict: Verdict
    complete: bool
    """The stream was seen to its end."""
    records: int
    events: dict[str, int]
    """Received events by name, in the order in which the names came up."""
    malformed: int
    clauses: tuple[ClauseVerdict, ...]
    violations: tuple[Violation, ...]
    violation_count: int
    """All of them; `violations` keeps the first ones up to the checker's limit."""
    duration_ns: int
    """From the first record to the last."""
    scopes: dict[str, int]
    """How many runs, threads, users and connections were seen."""
    required: tuple[tuple[str, ...], ...] = ()
    """What the contract requires: alternatives in one group."""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Every clause holds, and the stream was seen to its end."""
        return self.verdict is Verdict.HOLDS


def worst(verdicts: "list[Verdict]") -> Verdict:
    """The most severe of the verdicts; HOLDS when there is none."""
    return max(verdicts, key=SEVERITY.index, default=Verdict.HOLDS)
