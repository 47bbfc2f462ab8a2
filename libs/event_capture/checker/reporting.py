"""Turns a finished checker into its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from event_capture.checker.verdict import ClauseVerdict, Report, Verdict, worst
from event_capture.contract.clauses import Count, Require, Scope, Within, any_of
from event_capture.documents import nearest

if TYPE_CHECKING:
    from event_capture.checker.engine import Checker
    from event_capture.checker.monitors import Monitor


def build_report(checker: Checker, *, complete: bool) -> Report:
    """Everything that the checker found."""
    clauses = [_clause_verdict(checker, monitor, complete) for monitor in checker.plan.monitors]
    clauses += _rules(checker, complete)
    duration = checker.last_ns - checker.first_ns if checker.first_ns is not None else 0
    notes = []
    if checker.directory.retired:
        notes.append(
            f"{checker.directory.retired} scopes were settled early: "
            f"more than {checker.directory.max_scopes} were open at once"
        )
    if checker.ledger.violation_count > len(checker.ledger.violations):
        notes.append(
            f"{checker.ledger.violation_count - len(checker.ledger.violations)} violations are counted but not listed"
        )
    return Report(
        contract=checker.contract.name,
        vocabulary=checker.contract.vocabulary.name,
        verdict=worst([clause.verdict for clause in clauses] + ([] if complete else [Verdict.PRESUMABLY_HOLDS])),
        complete=complete,
        records=checker.index + 1,
        events=checker.counts,
        malformed=checker.malformed,
        clauses=tuple(clauses),
        violations=tuple(checker.ledger.violations + checker.ledger.presumed),
        violation_count=checker.ledger.violation_count + sum(monitor.presumed for monitor in checker.plan.monitors),
        duration_ns=duration,
        scopes={str(scope): count for scope, count in checker.directory.counts.items() if count},
        required=tuple(clause.event for clause in checker.contract.clauses if isinstance(clause, Require)),
        notes=tuple(notes),
    )


def _clause_verdict(checker: Checker, monitor: Monitor[Any], complete: bool) -> ClauseVerdict:
    counts = checker.counts | {f"sent:{name}": count for name, count in checker.sent.items()}
    untimed = checker.timeless and isinstance(monitor.clause, Within)
    fired = (
        0
        if untimed or not monitor.tested
        else monitor.judged(counts if monitor.clause.own_events() else checker.counts)
    )
    if monitor.violations:
        verdict = Verdict.VIOLATED
    elif monitor.presumed:
        verdict = Verdict.PRESUMABLY_VIOLATED
    elif complete or _settled(monitor):
        verdict = Verdict.HOLDS
    else:
        verdict = Verdict.PRESUMABLY_HOLDS
    return ClauseVerdict(
        clause=monitor.title,
        section=monitor.clause.section,
        index=monitor.index,
        verdict=verdict,
        scopes=checker.directory.counts[monitor.scope],
        violations=monitor.violations + monitor.presumed,
        fired=fired,
        note="" if fired or monitor.violations or monitor.presumed else _why_silent(checker, monitor, counts),
    )


def _settled(monitor: Monitor[Any]) -> bool:
    """Whatever else comes cannot break it: something that had to come, once in the whole recording, has come."""
    clause = monitor.clause
    if monitor.scope is not Scope.RECORDING or monitor.guarded:
        return False
    return isinstance(clause, Require) or (isinstance(clause, Count) and clause.at_most is None)


def _why_silent(checker: Checker, monitor: Monitor[Any], counts: Mapping[str, int]) -> str:
    return f"never put to the test: {_what_lacked(checker, monitor, counts)}"


def _what_lacked(checker: Checker, monitor: Monitor[Any], counts: Mapping[str, int]) -> str:
    clause, contract = monitor.clause, checker.contract
    if checker.timeless and isinstance(clause, Within):
        return "bare events do not say when they came; record them with `streamproof record`"
    # A name that is known means what it says; it is no other name's right spelling.
    known = {*contract.known_events(), *(name for each in contract.clauses for name in each.events())}
    strangers = [name for name in counts if name not in known]
    for name in clause.events():
        near = nearest(name, strangers, cutoff=0.8) if name not in counts else None
        if near:
            return f"{name!r} did not occur; the stream has {near!r}"
    if not monitor.applied:
        if clause.when and not any(name in counts for name in clause.when):
            return f"{any_of(clause.when)} never came"
        return f"{any_of(clause.unless)} came in each {monitor.scope}" if clause.unless else "it applied nowhere"
    names = clause.own_events() or monitor.watched or ()
    if monitor.looks_at and (not names or any(name in counts for name in names)):
        return f"no event had {monitor.looks_at}"
    return "none of its events occurred"


def _rules(checker: Checker, complete: bool) -> list[ClauseVerdict]:
    rules = []
    for rule, count in checker.ledger.rules.items():
        asked = checker.contract.readable if rule == next(iter(checker.ledger.rules)) else checker.contract.closed
        if not asked:
            continue
        holds = Verdict.HOLDS if complete else Verdict.PRESUMABLY_HOLDS
        rules.append(
            ClauseVerdict(
                clause=rule,
                section="rule",
                index=-1,
                verdict=Verdict.VIOLATED if count else holds,
                scopes=1,
                violations=count,
                fired=checker.index + 1,
            )
        )
    return rules
