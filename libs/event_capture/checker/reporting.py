"""Turns a finished checker into its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from event_capture.checker.time_monitors import SpanMonitor
from event_capture.checker.verdict import ClauseVerdict, Report, Verdict, worst
from event_capture.contract.clauses import Count, Require, Scope
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
    fired = _fired(checker, monitor)
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
        note="" if fired or monitor.violations or monitor.presumed else _why_silent(checker, monitor),
    )


def _settled(monitor: Monitor[Any]) -> bool:
    """Whatever else comes cannot break it: something that had to come, once in the whole recording, has come."""
    clause = monitor.clause
    if monitor.scope is not Scope.RECORDING or monitor.guarded:
        return False
    return isinstance(clause, Require) or (isinstance(clause, Count) and clause.at_most is None)


def _fired(checker: Checker, monitor: Monitor[Any]) -> int:
    """Events that the clause could judge."""
    counts = checker.counts
    if monitor.watched is None:
        return sum(counts.values())
    if isinstance(monitor, SpanMonitor):
        names = (*monitor.start, *monitor.stop)
    else:
        names = monitor.clause.events() or tuple(counts)
    seen = sum(counts.get(name, 0) for name in names if not name.startswith("sent:"))
    return seen + sum(checker.sent.get(name[5:], 0) for name in names if name.startswith("sent:"))


def _why_silent(checker: Checker, monitor: Monitor[Any]) -> str:
    names = monitor.clause.events()
    strangers = [name for name in names if not name.startswith("sent:") and name not in checker.counts]
    for name in strangers:
        near = nearest(name, checker.counts, cutoff=0.8)
        if near:
            return f"never put to the test: {name!r} did not occur; the stream has {near!r}"
    return "never put to the test: none of its events occurred"


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
