"""A contract as an assertion: for tests that hold a recording in their hands."""

from collections.abc import Callable, Iterable
from pathlib import Path

from event_capture.checker import Checker, Report
from event_capture.checker.completeness import Completeness
from event_capture.contract import Contract, load_contract
from event_capture.errors import ContractViolatedError
from event_capture.records import Kind, Record
from event_capture.report.model import timelines_of
from event_capture.report.text import render_text

Source = Callable[[], Iterable[Record]]
"""Yields the records anew each time: a recording may be larger than memory."""


def check_records(source: Source, contract: Contract | str | Path, *, complete: bool | None = None) -> Report:
    """Check a recording.

    Args:
        source: yields the records.
        contract: a contract, or the name or path of one.
        complete: whether the stream was seen to its end. None: it was, unless a connection was cut off for good; a
            connection that is still open counts as ended here, where its test looks at it.

    Raises:
        ContractError: the contract cannot be read.
    """
    wanted = contract if isinstance(contract, Contract) else load_contract(str(contract))
    checker = Checker(wanted)
    following = Completeness()
    still_open: dict[str, Record] = {}
    for record in source():
        checker.feed(record)
        following.see(record)
        if record.kind is Kind.CLOSE:
            still_open.pop(record.connection, None)
        elif record.kind is Kind.OPEN:
            still_open[record.connection] = record
    for record in still_open.values():
        following.see(
            Record(
                monotonic_ns=record.monotonic_ns,
                wall_ns=record.wall_ns,
                connection=record.connection,
                kind=Kind.CLOSE,
                data={"code": 1000, "reason": ""},
                user=record.user,
            )
        )
    return checker.finish(complete=following.complete if complete is None else complete)


def assert_contract(
    source: Source, contract: Contract | str | Path, *, complete: bool | None = None, max_events: int = 200
) -> Report:
    """Check a recording and fail unless the contract holds. Parameters as for `check_records`.

    Raises:
        ContractViolatedError: it does not hold; the message is the report, with the timeline.
        ContractError: the contract cannot be read.
    """
    __tracebackhide__ = True
    wanted = contract if isinstance(contract, Contract) else load_contract(str(contract))
    report = check_records(source, wanted, complete=complete)
    if not report.passed:
        text = render_text(report, timelines_of(source(), wanted.vocabulary), max_events=max_events)
        raise ContractViolatedError(report, text)
    return report
