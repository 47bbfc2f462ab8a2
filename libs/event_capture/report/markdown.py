"""The report as Markdown for a pull request: the verdict at once, the rest to unfold, no longer than a comment may be.

What a server sent is data here, too: it must not become a link, an image, a heading or a mention of somebody.
"""

import html
import re
from collections.abc import Sequence
from typing import Final

from event_capture.checker.verdict import ClauseVerdict, Report, Verdict, Violation
from event_capture.report.model import Timeline
from event_capture.report.phrases import (
    MARKS,
    counted,
    incomplete_words,
    one_line,
    place_words,
    seconds_words,
    shorten,
    timeline_lines,
)

MAX_CHARS: Final = 60_000
"""Longest report, in characters. GitHub takes comments of 65,536."""
_MOST_WORDS: Final = 400
"""Longest text that comes from the stream, in characters."""
_MOST_LINE: Final = 160
_MOST_USERS: Final = 8
_IDLE: Final = "\N{HEAVY MINUS SIGN}"
_CLOSING: Final = "\n_The report is cut here: it would be longer than a comment may be._\n"
_RESERVE: Final = 400
"""Characters kept free for the ends of open blocks and the sentence that says what was cut."""


def render_markdown(
    report: Report,
    timelines: Sequence[Timeline],
    *,
    max_chars: int = MAX_CHARS,
    max_events: int = 200,
    max_violations: int = 20,
) -> str:
    """The report as GitHub-flavoured Markdown.

    Args:
        report: what the check found.
        timelines: what every user saw.
        max_chars: longest report, in characters, at least 1,000. What does not fit is left out, and the report says so.
        max_events: most lines of timeline.
        max_violations: most violations that are described.

    Raises:
        ValueError: `max_chars` leaves no room for the summary.
    """
    if max_chars < 1_000:
        raise ValueError(f"max_chars is {max_chars}; the summary alone needs 1000")
    page = _Page(max_chars)
    page.add(_heading(report))
    page.add(_summary(report, timelines))
    page.add_each(_violation_blocks(report, max_violations))
    page.add_folded("Clauses", [_clause_line(clause) for clause in report.clauses], "", "")
    lines = timeline_lines(timelines, max_events=max_events, most=_MOST_LINE)
    fence = fence_for(lines)
    total = sum(timeline.total for timeline in timelines)
    page.add_folded(f"Timeline, {counted(total, 'event')} received", lines, f"{fence}text\n", f"{fence}\n")
    return page.text


class _Page:
    """Collects blocks up to a length. Whole blocks only, so that nothing is left open."""

    def __init__(self, max_chars: int) -> None:
        self.room = max_chars - _RESERVE
        self.parts: list[str] = []
        self.full = False

    @property
    def text(self) -> str:
        return "".join(self.parts) + (_CLOSING if self.full else "")

    def add(self, block: str) -> bool:
        if self.full or len(block) > self.room:
            self.full = True
            return False
        self.parts.append(block)
        self.room -= len(block)
        return True

    def add_each(self, blocks: Sequence[str]) -> None:
        for block in blocks:
            if not self.add(block):
                return

    def add_folded(self, title: str, lines: Sequence[str], opening: str, closing: str) -> None:
        """A section to unfold, with as many lines as there is room for."""
        if not lines or self.full:
            return
        head = f"\n<details>\n<summary>{title}</summary>\n\n{opening}"
        tail = f"{closing}\n</details>\n"
        free = self.room - len(head) - len(tail)
        kept: list[str] = []
        for line in lines:
            free -= len(line) + 1
            if free < 0:
                break
            kept.append(line + "\n")
        if kept:
            self.add(head + "".join(kept) + tail)
        if len(kept) < len(lines):
            self.full = True


def _heading(report: Report) -> str:
    return f"### {MARKS[report.verdict]} Stream contract {code_span(report.contract)}: {report.verdict}\n\n"


def _summary(report: Report, timelines: Sequence[Timeline]) -> str:
    broken = sum(1 for clause in report.clauses if clause.violations)
    idle = sum(1 for clause in report.clauses if clause.note)
    rows = [
        ("Violations", f"{report.violation_count:,}"),
        ("Clauses", f"{len(report.clauses) - broken} of {len(report.clauses)} without a violation"),
        ("Events received", f"{sum(report.events.values()):,}, {counted(len(report.events), 'kind')}"),
        ("Duration", seconds_words(report.duration_ns / 1e9)),
        ("Users", _users(timelines)),
        ("Seen to its end", "yes" if report.complete else f"no: {incomplete_words(report)}"),
    ]
    if idle:
        rows.append(("Never put to the test", counted(idle, "clause")))
    if report.malformed:
        rows.append(("Unreadable frames", f"{report.malformed:,}"))
    rows += [("Note", escape(note)) for note in report.notes]
    return "| | |\n| --- | --- |\n" + "".join(f"| **{name}** | {value} |\n" for name, value in rows)


def _users(timelines: Sequence[Timeline]) -> str:
    # Inside a table a bar ends the cell, even in code; an escaped one shows as a bar (GFM 4.10).
    named = ", ".join(code_span(timeline.user).replace("|", "\\|") for timeline in timelines[:_MOST_USERS])
    more = f" and {len(timelines) - _MOST_USERS:,} more" if len(timelines) > _MOST_USERS else ""
    return named + more if named else "none"


def _violation_blocks(report: Report, most: int) -> list[str]:
    if not report.violations:
        return []
    shown = report.violations[:most]
    blocks = ["\n#### What is wrong\n\n", *map(_violation, shown)]
    hidden = report.violation_count - len(shown)
    if hidden > 0:
        blocks.append(f"\n_And {counted(hidden, 'more violation')}._\n")
    return blocks


def _violation(violation: Violation) -> str:
    mark = MARKS[Verdict.VIOLATED if violation.definite else Verdict.PRESUMABLY_VIOLATED]
    place = place_words(violation)
    lines = [
        f"- {mark} **{escape(violation.message)}** {code_span(violation.code)}",
        f"  - expected: {escape(violation.expected)}",
        f"  - hint: {escape(violation.hint)}",
    ]
    if place:
        lines.append(f"  - where: {code_span(place)}")
    return "\n".join(lines) + "\n"


def _clause_line(clause: ClauseVerdict) -> str:
    mark = _IDLE if clause.note and not clause.violations else MARKS[clause.verdict]
    remark = f" ({counted(clause.violations, 'violation')})" if clause.violations else ""
    if clause.note and not clause.violations:
        remark = f" ({escape(clause.note)})"
    return f"- {mark} {code_span(clause.clause)} {clause.verdict}{remark}"


def code_span(text: str) -> str:
    """The text as inline code: nothing in it is markup (CommonMark 6.1)."""
    line = shorten(one_line(text), _MOST_WORDS) or " "
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if "`" in line[:1] + line[-1:] else ""
    return f"{fence}{blank}{line}{blank}{fence}"


def escape(text: str) -> str:
    """The text on one line, with nothing in it that reads as markup, a link, a mention or a reference."""
    line = shorten(one_line(text), _MOST_WORDS)
    line = re.sub(r"([\\`*_{}\[\]()+\-.!|~^$])", r"\\\1", line)
    line = html.escape(line, quote=False)
    # A zero-width space breaks what the site would link by itself: @somebody, #1, https://, www.
    return re.sub(r"(?<!&)([@#:])|(?<=[wW])(\\\.)", lambda match: f"{match.group()}&#8203;", line)


def fence_for(lines: Sequence[str]) -> str:
    """A code fence that no line can close."""
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    return "`" * max(3, longest + 1)
