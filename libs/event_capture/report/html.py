"""The report as one HTML page that needs nothing else: no network, no server, no second file.

What a server sent stands on the page as text or as data, never as markup or script: text is escaped here or set as text
by the scripts, data stands in a script element of a type that browsers do not run, and a content security policy lets
only the page's own script and styles, known by their hashes, have any effect.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any, Final

from event_capture.checker.verdict import SEVERITY, ClauseVerdict, Report, Verdict, Violation
from event_capture.contract.model import Contract
from event_capture.report.model import Timeline
from event_capture.report.page.contents import Contents, PageLimits, contents_of
from event_capture.report.phrases import counted, incomplete_words, seconds_words, shorten

_SCRIPTS: Final = ("data.js", "marks.js", "timeline.js", "list.js", "panel.js", "page.js")
"""In the order in which they build on each other."""

_UNFOLDED: Final = 3
"""How many violations of one kind are shown at once."""

_TONE: Final = {
    Verdict.HOLDS: "good",
    Verdict.PRESUMABLY_HOLDS: "unsure",
    Verdict.PRESUMABLY_VIOLATED: "unsure",
    Verdict.VIOLATED: "bad",
}
_HEADLINE: Final = {
    Verdict.HOLDS: "The stream holds its contract",
    Verdict.PRESUMABLY_HOLDS: "Nothing wrong so far",
    Verdict.PRESUMABLY_VIOLATED: "Presumably violated",
    Verdict.VIOLATED: "The contract is violated",
}
_ICON: Final = {
    "good": '<path d="M6.5 12.5l4 4 7-9"/>',
    "unsure": '<path d="M12 6.5v7M12 17.2v.3"/>',
    "bad": '<path d="M7.5 7.5l9 9M16.5 7.5l-9 9"/>',
    "idle": '<path d="M7.5 12h9"/>',
}


def render_html(
    report: Report,
    timelines: Sequence[Timeline],
    contract: Contract,
    *,
    recording: str = "",
    limits: PageLimits | None = None,
) -> str:
    """The report as one self-contained HTML page.

    Args:
        report: what the check found.
        timelines: what every user saw.
        contract: what was checked; its pairs make the lanes of tool calls.
        recording: name of the recording, shown in the head of the page.
        limits: how much the page holds; what is left out is counted on the page.
    """
    contents = contents_of(report, timelines, contract, limits or PageLimits())
    style = _file("page.css")
    script = "\n".join(_file(name) for name in _SCRIPTS)
    return Template(_file("page.html")).substitute(
        policy=_policy(style, script),
        style=style,
        script=script,
        data=script_data(contents.data),
        title=_text(f"{report.verdict}: {report.contract}{f' - {recording}' if recording else ''}"),
        tone=_TONE[report.verdict],
        icon=_icon(_TONE[report.verdict]),
        headline=_text(_HEADLINE[report.verdict]),
        subject=_subject(report, recording),
        facts=_facts(report, timelines),
        notices=_notices(report, contents),
        violations=_violations(report, contents),
        violation_count=f"{report.violation_count:,}",
        clauses="".join(_clause(clause) for clause in _worst_first(report)),
        clause_summary=_text(_clause_summary(report)),
    )


def script_data(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in, whatever strings it holds (HTML 13.1.2, 4.12.1.3)."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _file(name: str) -> str:
    return resources.files("event_capture.report.page").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Only these very styles and this very script work; nothing is loaded and nothing is sent."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _text(text: str) -> str:
    """Text for an element or a quoted attribute. Lone surrogates, which UTF-8 cannot write, are replaced."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True)


def _icon(tone: str) -> str:
    circle = '<circle cx="12" cy="12" r="11"/>'
    return f'<svg class="icon {tone}" viewBox="0 0 24 24" aria-hidden="true">{circle}{_ICON[tone]}</svg>'


def _subject(report: Report, recording: str) -> str:
    parts = [f"contract <strong>{_text(report.contract)}</strong>"]
    if recording:
        parts.append(f"recording <strong>{_text(recording)}</strong>")
    if report.vocabulary != report.contract:
        parts.append(f"vocabulary <strong>{_text(report.vocabulary)}</strong>")
    return " · ".join(parts)


def _facts(report: Report, timelines: Sequence[Timeline]) -> str:
    received = sum(report.events.values())
    clauses = len(report.clauses)
    kept = clauses - sum(1 for clause in report.clauses if clause.violations)
    facts = [
        ("Violations", f"{report.violation_count:,}", _count_tone(report)),
        ("Clauses kept", f"{kept} of {clauses}", ""),
        ("Events received", f"{received:,}", ""),
        ("Kinds of event", f"{len(report.events):,}", ""),
        ("Duration", seconds_words(report.duration_ns / 1e9), ""),
        ("Users", f"{len(timelines):,}", ""),
        ("Connections", f"{report.scopes.get('connections', report.scopes.get('connection', 0)):,}", ""),
        ("Seen to its end", "yes" if report.complete else "no", "" if report.complete else "unsure"),
    ]
    if report.malformed:
        facts.append(("Unreadable frames", f"{report.malformed:,}", "bad"))
    return "".join(
        f'<div class="fact {tone}"><dt>{name}</dt><dd>{_text(value)}</dd></div>' for name, value, tone in facts
    )


def _count_tone(report: Report) -> str:
    if not report.violation_count:
        return "good"
    return "bad" if report.verdict is Verdict.VIOLATED else "unsure"


def _notices(report: Report, contents: Contents) -> str:
    words = incomplete_words(report)
    notices = [words[:1].upper() + words[1:]] if words else []
    notices += [*report.notes, *contents.notices]
    return "".join(f'<p class="notice">{_text(notice)}.</p>' for notice in notices)


def _violations(report: Report, contents: Contents) -> str:
    listed = contents.data["violations"]
    if not listed:
        return '<p class="empty">No clause is violated.</p>'
    groups: dict[tuple[str, str], list[str]] = {}
    for number, violation in enumerate(report.violations[: len(listed)]):
        card = _violation(number, violation, contents.shown)
        groups.setdefault((violation.code, violation.clause), []).append(card)
    return "".join(_group(code, cards) for (code, _), cards in groups.items())


def _group(code: str, cards: list[str]) -> str:
    """Violations of one kind: the first ones, and the rest to unfold."""
    first, rest = cards[:_UNFOLDED], cards[_UNFOLDED:]
    text = f'<ol class="violations">{"".join(first)}</ol>'
    if rest:
        text += (
            f'<details class="more"><summary>{len(rest):,} more of {_text(code)}</summary>'
            f'<ol class="violations">{"".join(rest)}</ol></details>'
        )
    return text


def _violation(number: int, violation: Violation, shown: frozenset[int]) -> str:
    level = "bad" if violation.definite else "unsure"
    where = [_record(index, shown) for index in violation.indices[-8:]]
    if len(violation.indices) > 8:
        where.insert(0, f"<span>{len(violation.indices) - 8:,} earlier, </span>")
    if violation.pointer:
        where.append(f"<code>{_text(violation.pointer)}</code>")
    if violation.scope_key:
        where.append(f"<span>{_text(violation.scope)} <code>{_text(shorten(violation.scope_key, 80))}</code></span>")
    if violation.connection and violation.connection != violation.scope_key:
        where.append(f"<span>connection <code>{_text(shorten(violation.connection, 80))}</code></span>")
    undecided = "" if violation.definite else '<span class="chip unsure">not final</span>'
    return (
        f'<li class="violation {level}" id="violation-{number}" tabindex="-1">'
        f"<h3>{_text(shorten(violation.message, 600))}</h3>"
        f'<p class="chips"><span class="chip {level}">{_text(violation.code)}</span>{undecided}'
        f"<code>{_text(shorten(violation.clause, 300))}</code></p>"
        f"<dl><dt>Expected</dt><dd>{_text(violation.expected)}</dd><dt>Hint</dt><dd>{_text(violation.hint)}</dd></dl>"
        f'<p class="where">{" ".join(where)}</p></li>'
    )


def _record(index: int, shown: frozenset[int]) -> str:
    if index in shown:
        return f'<button type="button" class="jump" data-index="{index}">record {index}</button>'
    return f'<span title="This record is not on the page">record {index}</span>'


def _clause_summary(report: Report) -> str:
    kinds = [str(clause.verdict) for clause in report.clauses]
    return ", ".join(f"{kinds.count(verdict)} {verdict}" for verdict in Verdict if verdict in kinds) or "none"


def _worst_first(report: Report) -> list[ClauseVerdict]:
    """What is wrong first, then what was never put to the test."""
    return sorted(report.clauses, key=lambda one: (SEVERITY.index(one.verdict), bool(one.note)), reverse=True)


def _clause(clause: ClauseVerdict) -> str:
    idle = bool(clause.note) and not clause.violations
    tone = "idle" if idle and clause.verdict is Verdict.HOLDS else _TONE[clause.verdict]
    remark = counted(clause.violations, "violation") if clause.violations else clause.note
    return (
        f'<tr class="{tone}"><td>{_icon(tone)}<span>{_text(clause.verdict)}</span></td>'
        f"<td><code>{_text(clause.clause)}</code></td>"
        f'<td class="number">{clause.fired:,}</td><td>{_text(remark)}</td></tr>'
    )
