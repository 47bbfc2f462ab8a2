"""Recordings that reports are tested with, checked and laid out: good, broken, cut off, hostile."""

from collections.abc import Sequence
from typing import NamedTuple

from event_capture.checker import Report
from event_capture.contract import Contract, load_contract
from event_capture.records import Record
from event_capture.report.model import Timeline, timelines_of
from unit.event_capture.streams import TURN, Stream, check, turn

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]></testcase><testcase/>",
    "[click](https://evil.example/) ![x](https://evil.example/x.png) <b>bold</b> | cell |",
    "``` \n# heading\n@everyone #1 https://evil.example www.evil.example",
    "$data ${title} $$ {0} %s",
    "\x00\x1b[31m\u2028\u202e\ud800\ufffe",
)
"""What a server might send to break a report."""


class Case(NamedTuple):
    """A report and what it is about."""

    report: Report
    timelines: tuple[Timeline, ...]
    contract: Contract


def case_of(records: Sequence[Record], *, complete: bool = True, contract: Contract | None = None) -> Case:
    """Check a recording and lay out its timelines."""
    wanted = contract or load_contract("agent_turn")
    return Case(check(wanted, records, complete=complete), timelines_of(records, wanted.vocabulary), wanted)


def good() -> Case:
    """A turn that holds its contract."""
    return case_of(turn(*TURN))


def broken() -> Case:
    """Two users; one of them waits for a tool that never completes."""
    late = turn("agent_started", "agent_thinking", "tool_executing", "agent_completed", user="bob", start=50)
    return case_of(sorted([*turn(*TURN), *late], key=lambda record: record.monotonic_ns))


def cut() -> Case:
    """A stream that breaks off before its end."""
    return case_of(Stream().open().ask().events(*TURN[:3]).records, complete=False)


def hostile() -> Case:
    """A server that sends markup, scripts and control characters wherever text may stand."""
    records: list[Record] = []
    for number, text in enumerate(HOSTILE):
        stream = Stream(user=f"user {text}", connection=f"connection {number} {text}", start=number, thread=text)
        stream.open().ask(text).events("agent_started", "agent_thinking", run=f"run {text}")
        stream.event("tool_executing", payload={"tool_call_id": text, "tool_name": text, "text": text})
        stream.event(text, payload={text: text})
        stream.malformed(text)
        records += stream.close(note=text)
    return case_of(sorted(records, key=lambda record: record.monotonic_ns))
