"""The report as SARIF 2.1.0 (OASIS): violations as results, records as lines of the recording."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any, Final
from urllib.parse import quote

from event_capture.checker.verdict import Report, Verdict, Violation
from event_capture.report.model import Entry, Timeline
from event_capture.report.phrases import entry_line, incomplete_words

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_DISTRIBUTION: Final = "streamproof-event-capture"
_SNIPPET: Final = 200
"""Longest words of a record beside a location, in characters."""


def render_sarif(report: Report, timelines: Sequence[Timeline], *, recording: str = "recording.jsonl") -> str:
    """The report as SARIF.

    Args:
        report: what the check found.
        timelines: what every user saw; gives the locations their words.
        recording: path of the recording, as the log should name it. Record n stands on its line n + 1.
    """
    return json.dumps(sarif_document(report, timelines, recording=recording), indent=2) + "\n"


def sarif_document(report: Report, timelines: Sequence[Timeline], *, recording: str) -> dict[str, Any]:
    """The same as plain data."""
    entries = {entry.index: entry for timeline in timelines for entry in timeline.entries}
    codes = list(dict.fromkeys(violation.code for violation in report.violations))
    place = _Places(_uri(recording), entries)
    fingerprints = _Fingerprints()
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(report, codes)},
                "invocations": [_invocation(report)],
                "artifacts": [{"location": {"uri": _uri(recording), "index": 0}, "roles": ["analysisTarget"]}],
                "columnKind": "unicodeCodePoints",
                "results": [_result(v, codes, place, fingerprints.of(v)) for v in report.violations],
                "properties": {
                    "contract": report.contract,
                    "vocabulary": report.vocabulary,
                    "verdict": str(report.verdict),
                    "complete": report.complete,
                    "records": report.records,
                    "violations": report.violation_count,
                },
            }
        ],
    }


def _uri(path: str) -> str:
    """A URI reference (RFC 3986). A relative path stays relative; a colon in its first segment is no scheme."""
    text = quote(path.replace("\\", "/").encode("utf-8", "surrogatepass"), safe="/")
    return f"file://{text}" if text.startswith("/") else text or "recording.jsonl"


def _driver(report: Report, codes: list[str]) -> dict[str, Any]:
    first = {code: next(v for v in report.violations if v.code == code) for code in codes}
    driver: dict[str, Any] = {"name": "streamproof", "rules": [_rule(code, first[code]) for code in codes]}
    with suppress(metadata.PackageNotFoundError):  # run from sources: there is no version to tell
        driver["version"] = metadata.version(_DISTRIBUTION)
    return driver


def _rule(code: str, example: Violation) -> dict[str, Any]:
    words = code.replace("-", " ")
    return {
        "id": code,
        "name": "".join(part.capitalize() for part in code.split("-")),
        "shortDescription": {"text": words[:1].upper() + words[1:]},
        "fullDescription": {"text": _text(f"{words[:1].upper() + words[1:]}. Expected: {example.expected}.")},
        "help": {"text": _text(example.hint) or "Look at the records that the result names."},
        "defaultConfiguration": {"level": "error"},
    }


def _invocation(report: Report) -> dict[str, Any]:
    notes = [*report.notes]
    if not report.complete:
        notes.insert(0, incomplete_words(report))
    notes += [f"{clause.clause}: {clause.note}" for clause in report.clauses if clause.note]
    invocation: dict[str, Any] = {"executionSuccessful": True}
    if report.verdict is Verdict.VIOLATED:
        invocation["exitCode"] = 1
    if notes:
        invocation["toolExecutionNotifications"] = [
            {"level": "warning", "message": {"text": _text(note)}} for note in notes
        ]
    return invocation


class _Places:
    """Makes locations of records."""

    def __init__(self, uri: str, entries: dict[int, Entry]) -> None:
        self.uri = uri
        self.entries = entries

    def of(self, index: int, *, number: int | None = None) -> dict[str, Any]:
        """The location of one record."""
        region: dict[str, Any] = {"startLine": index + 1}
        location: dict[str, Any] = {
            "physicalLocation": {"artifactLocation": {"uri": self.uri, "index": 0}, "region": region}
        }
        entry = self.entries.get(index)
        if entry is not None:
            location["message"] = {"text": _text(entry_line(entry, most=_SNIPPET).strip())}
            location["logicalLocations"] = [{"name": _text(entry.connection), "kind": "connection"}]
        if number is not None:
            location["id"] = number
        return location

    @property
    def whole(self) -> dict[str, Any]:
        """The recording itself."""
        return {"physicalLocation": {"artifactLocation": {"uri": self.uri, "index": 0}}}


def _result(violation: Violation, codes: list[str], place: _Places, fingerprint: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": violation.code,
        "ruleIndex": codes.index(violation.code),
        "level": "error" if violation.definite else "warning",
        "kind": "fail",
        "message": {"text": _text(f"{violation.message}. Expected: {violation.expected}. Hint: {violation.hint}.")},
        "locations": [place.of(violation.indices[-1]) if violation.indices else place.whole],
        "partialFingerprints": {"violation/v1": fingerprint},
        "properties": {
            "clause": violation.clause,
            "expected": violation.expected,
            "hint": violation.hint,
            "indices": list(violation.indices),
            "pointer": violation.pointer,
            "scope": str(violation.scope),
            "scopeKey": violation.scope_key,
            "connection": violation.connection,
            "user": violation.user,
            "definite": violation.definite,
        },
    }
    if len(violation.indices) > 1:
        result["relatedLocations"] = [
            place.of(index, number=number) for number, index in enumerate(violation.indices[:-1], start=1)
        ]
    return result


class _Fingerprints:
    """The same in the next recording of the same flow: made of what broke, and the how manieth of its like it is."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def of(self, violation: Violation) -> str:
        facts = f"{violation.code}\0{violation.clause}\0{violation.event}\0{violation.pointer}"
        digest = hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self.seen[digest] += 1
        return f"{digest}:{self.seen[digest]}"


def _text(text: str) -> str:
    """Text of a message in which nothing reads as an embedded link (section 3.11.6)."""
    return text.replace("](", "] (")
