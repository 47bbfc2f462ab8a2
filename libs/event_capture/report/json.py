"""The report for programs: one JSON object, everything in it."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from event_capture.checker.verdict import Report
from event_capture.records import Direction, Kind
from event_capture.report.model import Timeline

FORMAT: Final = "streamproof-report/1"
"""Name and version of the form. A change that breaks readers raises the version."""


def report_document(report: Report, timelines: Sequence[Timeline]) -> dict[str, Any]:
    """The report as plain data. Payloads are left out: the recording has them."""
    document: dict[str, Any] = {"format": FORMAT, "passed": report.passed}
    document |= msgspec.to_builtins(report)
    document["users"] = [
        {
            "user": timeline.user,
            "total": timeline.total,
            "duration_s": timeline.duration,
            "events": timeline.counts,
            "timeline": [
                {"index": entry.index, "seconds": entry.seconds, "event": entry.name, "words": entry.words}
                for entry in timeline.entries
                if entry.kind is Kind.EVENT and entry.direction is Direction.RECEIVED
            ],
            "left_out": timeline.left_out,
        }
        for timeline in timelines
    ]
    return document


def render_json(report: Report, timelines: Sequence[Timeline]) -> str:
    """The report as JSON text."""
    encoded = msgspec.json.encode(report_document(report, timelines))
    return msgspec.json.format(encoded, indent=2).decode() + "\n"
