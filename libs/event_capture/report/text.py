"""The report for a terminal or a log: what every user saw, what is missing, what is wrong."""

from collections.abc import Sequence
from typing import Final

from event_capture.checker.verdict import ClauseVerdict, Report, Verdict, Violation
from event_capture.records import Direction, Kind
from event_capture.report.model import Entry, Timeline, violations_of

_BAR: Final = "=" * 79
_WORDS: Final = 100
"""Longest words of an event, in characters."""
_MARKS: Final = {
    Verdict.HOLDS: "✅",
    Verdict.PRESUMABLY_HOLDS: "⚠️",
    Verdict.PRESUMABLY_VIOLATED: "⚠️",
    Verdict.VIOLATED: "❌",
}
_COLOURS: Final = {"✅": "\x1b[32m", "❌": "\x1b[31m", "⚠️": "\x1b[33m"}
_PLAIN: Final = "\x1b[0m"
_UNTESTED: Final = "\u2796"
_SELECTORS: Final = "\ufe0f"
_SEQUENCE_CODES: Final = frozenset(
    {"wrong-order", "wrong-first-event", "wrong-last-event", "event-after-last", "unexpected-event"}
)


def render_text(
    report: Report, timelines: Sequence[Timeline], *, colour: bool = False, max_events: int = 200, verdicts: bool = True
) -> str:
    """The report as text.

    Args:
        report: what the check found.
        timelines: what every user saw, see `timelines_of`.
        colour: mark good and bad lines with ANSI colours.
        max_events: most lines of a timeline.
        verdicts: list what became of every clause.
    """
    lines: list[str] = []
    for timeline in timelines or (_empty(),):
        violations = violations_of(report, timeline, len(timelines) <= 1)
        lines += _user(report, timeline, violations, max_events)
        lines.append("")
    if verdicts:
        lines += _verdicts(report)
    lines += _conclusion(report)
    if colour:
        lines = [_coloured(line) for line in lines]
    return "\n".join(lines) + "\n"


def _empty() -> Timeline:
    return Timeline(user="(nobody)", start_ns=0, entries=(), left_out=0, counts={}, duration=0.0)


def _user(report: Report, timeline: Timeline, violations: list[Violation], max_events: int) -> list[str]:
    definite = any(violation.definite for violation in violations)
    if definite:
        status, prefix = "❌ FAILED", "❌ "
    elif violations or not report.complete:
        status, prefix = "⚠️ INCONCLUSIVE", "⚠️ "
    else:
        status, prefix = "✅ PASSED", ""
    lines = [
        _BAR,
        f"{prefix}WEBSOCKET EVENT VALIDATION REPORT - {timeline.user}",
        _BAR,
        f"Status: {status}",
        f"Total Events: {timeline.total}",
        f"Event Types: {len(timeline.counts)}",
        f"Duration: {timeline.duration:.3f}s",
        "",
        "CRITICAL EVENT COVERAGE:",
        *_coverage(report, timeline, violations),
        "",
        "EVENT TIMELINE:",
        *_events(timeline, max_events),
    ]
    if violations:
        lines += ["", "FAILURES:", *_failures(violations)]
    return lines


def _coverage(report: Report, timeline: Timeline, violations: list[Violation]) -> list[str]:
    missing = {violation.event: violation.definite for violation in violations if violation.code == "missing-event"}
    lines: dict[str, str] = {}
    for alternatives in report.required:
        seen = [name for name in alternatives if timeline.counts.get(name)]
        for name in seen or alternatives[:1]:
            count = timeline.counts.get(name, 0)
            if name in missing:
                mark, remark = ("❌" if missing[name] else "⚠️"), ""
            elif count:
                mark, remark = "✅", ""
            else:
                mark, remark = _UNTESTED, " (not required here)"
            lines[name] = f"  {mark} {name}: {count}{remark}"
    return list(lines.values()) or ["  (the contract requires no event)"]


def _events(timeline: Timeline, max_events: int) -> list[str]:
    shown = [entry for entry in timeline.entries if _belongs(entry)]
    lines = [_event(entry) for entry in shown[:max_events]]
    left_out = len(shown) - len(lines) + timeline.left_out
    if left_out:
        lines.append(f"  ... {left_out} more")
    return lines or ["  (no event)"]


def _belongs(entry: Entry) -> bool:
    return entry.direction is Direction.RECEIVED and entry.kind in (Kind.EVENT, Kind.MALFORMED)


def _event(entry: Entry) -> str:
    name = entry.name or ("(malformed)" if entry.kind is Kind.MALFORMED else "(no name)")
    words = _short(_printable(entry.words or entry.note))
    return f"{entry.seconds:7.3f}s: {_printable(name)}{f' - {words}' if words else ''}"


def _failures(violations: list[Violation]) -> list[str]:
    lines = []
    for definite, level in ((True, "❌ CRITICAL"), (False, "⚠️ UNDECIDED")):
        chosen = [violation for violation in violations if violation.definite is definite]
        absent = [violation for violation in chosen if violation.code == "missing-event"]
        missing = dict.fromkeys(each.event for each in sorted(absent, key=lambda each: each.clause_index))
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            lines.append(f"  {level}: Missing required events: {{{names}}}")
        for violation in chosen:
            if violation.code != "missing-event":
                lines += _failure(violation, level)
    return lines


def _failure(violation: Violation, level: str) -> list[str]:
    prefix = "Invalid event sequence: " if violation.code in _SEQUENCE_CODES else ""
    where = []
    if violation.indices:
        where.append(f"record{'s' if len(violation.indices) > 1 else ''} {', '.join(map(str, violation.indices))}")
    if violation.pointer:
        where.append(f"at {violation.pointer}")
    if violation.scope_key:
        where.append(f"{violation.scope} {violation.scope_key}")
    place = f" ({', '.join(where)})" if where else ""
    return [
        _printable(f"  {level}: {prefix}{violation.message} [{violation.code}]{place}"),
        _printable(f"       expected: {violation.expected}; hint: {violation.hint}"),
    ]


def _verdicts(report: Report) -> list[str]:
    lines = [f"VERDICTS (contract {report.contract}):"]
    lines += [f"  {_mark(clause)} {clause.verdict}: {clause.clause}{_remark(clause)}" for clause in report.clauses]
    lines += [f"  note: {note}" for note in report.notes]
    return [*lines, ""]


def _mark(clause: ClauseVerdict) -> str:
    return _UNTESTED if clause.verdict is Verdict.HOLDS and clause.note else _MARKS[clause.verdict]


def _remark(clause: ClauseVerdict) -> str:
    if clause.violations:
        return f" ({clause.violations} violation{'s' if clause.violations > 1 else ''})"
    return f" ({clause.note})" if clause.note else ""


def _conclusion(report: Report) -> list[str]:
    if report.verdict is Verdict.HOLDS:
        return ["✅ CRITICAL TEST PASSED: All WebSocket events validated for chat flow"]
    if report.verdict is Verdict.VIOLATED:
        count = report.violation_count
        return [f"❌ CRITICAL TEST FAILED: {count} violation{'s' if count != 1 else ''} of contract {report.contract}"]
    reason = "something that must come has not come" if report.complete else "the stream was not seen to its end"
    return [f"⚠️ INCONCLUSIVE: {report.verdict}, {reason}"]


def _short(text: str) -> str:
    return text if len(text) <= _WORDS else text[: _WORDS - 3] + "..."


def _printable(text: str) -> str:
    """What a server sends must not steer the terminal: control characters are shown, not obeyed."""
    return "".join(char if char.isprintable() or char in _SELECTORS else repr(char)[1:-1] for char in text)


def _coloured(line: str) -> str:
    for mark, colour in _COLOURS.items():
        if mark in line:
            return f"{colour}{line}{_PLAIN}"
    return line
