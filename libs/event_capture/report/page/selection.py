"""Which records of a long recording a page is made of: its beginning, and what surrounds each violation."""

from collections.abc import Iterable
from typing import Final

import msgspec

from event_capture.checker.verdict import Report
from event_capture.contract.model import Contract
from event_capture.records import Record
from event_capture.report.model import Timeline, timelines_of
from event_capture.report.page.contents import PageLimits

NEIGHBOURS: Final = 5
"""Records before and after each one that a violation names."""


def page_timelines(
    records: Iterable[Record], contract: Contract, report: Report, limits: PageLimits | None = None
) -> tuple[Timeline, ...]:
    """Timelines of what a page has room for. Reads the records once and keeps no more of them than that.

    Args:
        records: all records of the recording, in order.
        contract: tells how to read them.
        report: tells which records matter.
        limits: how much the page holds.
    """
    most = (limits or PageLimits()).events
    wanted = _wanted(report, most // 2) if report.records > most else set()
    first = _beginning(wanted, most)
    kept: list[Record] = []
    indices: list[int] = []
    for index, record in enumerate(records):
        if index < first or index in wanted:
            kept.append(record)
            indices.append(index)
    timelines = timelines_of(kept, contract.vocabulary, max_entries=most)
    left_out = max(0, report.records - len(kept))
    return tuple(
        _in_place(timeline, indices, left_out if position == 0 else 0) for position, timeline in enumerate(timelines)
    )


def _wanted(report: Report, most: int) -> set[int]:
    wanted: set[int] = set()
    for violation in report.violations:
        for index in violation.indices[-4:]:
            around = range(max(0, index - NEIGHBOURS), min(report.records, index + NEIGHBOURS + 1))
            if len(wanted) + len(around) > most:
                return wanted
            wanted.update(around)
    return wanted


def _beginning(wanted: set[int], most: int) -> int:
    """How many records from the beginning have room beside the wanted ones that come later."""
    first = most - len(wanted)
    while (room := most - sum(index >= first for index in wanted)) > first:
        first = room
    return first


def _in_place(timeline: Timeline, indices: list[int], left_out: int) -> Timeline:
    """The timeline with the indices that its records have in the recording."""
    entries = tuple(msgspec.structs.replace(entry, index=indices[entry.index]) for entry in timeline.entries)
    return msgspec.structs.replace(timeline, entries=entries, left_out=timeline.left_out + left_out)
