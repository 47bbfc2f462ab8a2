"""The report as JUnit XML: one test case per clause, so that a CI server lists clauses like tests."""

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from event_capture.checker.verdict import ClauseVerdict, Report, Verdict, Violation
from event_capture.report.model import Timeline
from event_capture.report.phrases import counted, incomplete_words, place_words, timeline_lines

_MOST_PER_CLAUSE: Final = 50
"""Most violations that are written out in one test case."""
_END_CASE: Final = "the stream is seen to its end"


def render_junit(report: Report, timelines: Sequence[Timeline], *, max_events: int = 200) -> str:
    """The report as JUnit XML.

    A violated clause is a failure. A clause that is presumably violated is an error, and so is a stream that was cut
    off: the suite is then never green. A clause that was never put to the test, or holds only as far as was seen, is
    skipped and says why.

    Args:
        report: what the check found.
        timelines: what every user saw; written to the suite's output.
        max_events: most lines of timeline in it.
    """
    suite = ET.Element("testsuite", name=xml_text(report.contract))
    properties = ET.SubElement(suite, "properties")
    for name, value in _facts(report):
        ET.SubElement(properties, "property", name=name, value=xml_text(value))
    cases = [_clause_case(report, clause) for clause in report.clauses]
    cases.append(_end_case(report))
    suite.extend(cases)
    lines = timeline_lines(timelines, max_events=max_events)
    ET.SubElement(suite, "system-out").text = xml_text("\n".join(lines))
    totals = {
        "tests": str(len(cases)),
        "failures": str(_with(cases, "failure")),
        "errors": str(_with(cases, "error")),
        "skipped": str(_with(cases, "skipped")),
        "time": f"{report.duration_ns / 1e9:.3f}",
    }
    suite.attrib.update(totals)
    root = ET.Element("testsuites", {"name": "streamproof"} | totals)
    root.append(suite)
    ET.indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ET.tostring(root, encoding="unicode") + "\n"


def xml_text(text: str) -> str:
    """The text with every character that XML 1.0 cannot hold (section 2.2) replaced by its escape."""
    return "".join(char if _allowed(ord(char)) else f"\\u{ord(char):04x}" for char in text)


def _allowed(code: int) -> bool:
    return 0x20 <= code <= 0xD7FF or code in (0x9, 0xA, 0xD) or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF


def _facts(report: Report) -> list[tuple[str, str]]:
    return [
        ("contract", report.contract),
        ("vocabulary", report.vocabulary),
        ("verdict", report.verdict),
        ("complete", "true" if report.complete else "false"),
        ("records", str(report.records)),
        ("violations", str(report.violation_count)),
        *(("note", note) for note in report.notes),
    ]


def _with(cases: list[ET.Element], outcome: str) -> int:
    return sum(case.find(outcome) is not None for case in cases)


def _clause_case(report: Report, clause: ClauseVerdict) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=xml_text(f"{report.contract}.{clause.section}"),
        name=xml_text(clause.clause),
        time="0",
    )
    listed = [v for v in report.violations if v.clause == clause.clause and v.clause_index == clause.index]
    match clause.verdict:
        case Verdict.VIOLATED:
            _outcome(case, "failure", clause, listed)
        case Verdict.PRESUMABLY_VIOLATED:
            _outcome(case, "error", clause, listed)
        case Verdict.PRESUMABLY_HOLDS:
            message = f"presumably holds: {incomplete_words(report) or 'the scope was settled early'}"
            ET.SubElement(case, "skipped", message=xml_text(message))
        case Verdict.HOLDS if clause.note:
            ET.SubElement(case, "skipped", message=xml_text(clause.note))
        case Verdict.HOLDS:
            pass
    return case


def _outcome(case: ET.Element, kind: str, clause: ClauseVerdict, listed: list[Violation]) -> None:
    first = listed[0].message if listed else str(clause.verdict)
    more = f" (and {counted(clause.violations - 1, 'more violation')})" if clause.violations > 1 else ""
    codes = dict.fromkeys(violation.code for violation in listed)
    element = ET.SubElement(
        case, kind, message=xml_text(first + more), type=xml_text(" ".join(codes) or str(clause.verdict))
    )
    blocks = [_block(violation) for violation in listed[:_MOST_PER_CLAUSE]]
    hidden = clause.violations - len(blocks)
    if hidden > 0:
        blocks.append(f"... {counted(hidden, 'more violation')}, not listed")
    element.text = xml_text("\n\n".join(blocks))


def _block(violation: Violation) -> str:
    place = place_words(violation)
    return "\n".join(
        (
            f"{violation.message} [{violation.code}]{f' ({place})' if place else ''}",
            f"  expected: {violation.expected}",
            f"  hint: {violation.hint}",
        )
    )


def _end_case(report: Report) -> ET.Element:
    case = ET.Element("testcase", classname=xml_text(f"{report.contract}.stream"), name=_END_CASE, time="0")
    if not report.complete:
        ET.SubElement(case, "error", message=xml_text(incomplete_words(report)), type="inconclusive")
    return case
