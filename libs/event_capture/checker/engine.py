"""The checker: records in, violations and verdicts out. No I/O, no clock, no threads.

    checker = Checker(contract)
    for record in records:
        found = checker.feed(record)
    report = checker.finish(complete=True)

The same engine serves a live connection, a load worker and a file. A record costs a few dictionary look-ups: which
events came before is one integer per scope, and most clauses are bits of it. Records that come together are checked
together (`feed_all`), which is much cheaper.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from event_capture.checker.audience import Audience
from event_capture.checker.batch import Batch
from event_capture.checker.completeness import Completeness
from event_capture.checker.directory import Directory
from event_capture.checker.event import MAX_NAMES
from event_capture.checker.extraction import Extract, Extraction
from event_capture.checker.fields import Values, fields_of
from event_capture.checker.layout import THREAD
from event_capture.checker.ledger import KNOWN, READABLE, Ledger
from event_capture.checker.plan import Plan
from event_capture.checker.reporting import build_report
from event_capture.checker.scopes import Line
from event_capture.checker.sweep import Sweep
from event_capture.checker.verdict import Report, Violation
from event_capture.contract.model import Contract
from event_capture.documents import describe, nearest
from event_capture.records import Direction, Kind, Record

_EVENT: Final = Kind.EVENT
_RECEIVED: Final = Direction.RECEIVED
BATCH_RECORDS: Final = 4096
"""How many records `feed_all` checks at a time."""


class Checker:
    """Checks one stream against one contract."""

    def __init__(
        self,
        contract: Contract,
        *,
        max_violations: int = 10_000,
        max_scopes: int = 20_000,
        linger: int = 256,
        max_openers: int = 1024,
        timeless: bool = False,
    ) -> None:
        """Compile the contract.

        Args:
            contract: what to check.
            max_violations: most violations kept; more are counted.
            max_scopes: most runs, threads, users or connections remembered at once. The oldest is settled as if it
                had been cut off when there are more.
            linger: how many runs that have ended are still watched for late events.
            max_openers: most unanswered sent messages remembered per connection.
            timeless: the times of the records mean nothing, so that clauses about time are not put to the test.

        Raises:
            ContractError: a clause cannot be compiled.
        """
        self.contract = contract
        self.timeless = timeless
        self.plan = Plan(contract)
        self.ledger = Ledger(max_violations)
        for monitor in self.plan.monitors:
            monitor.sink = self.ledger
        self.directory = Directory(
            self.plan, self.ledger, max_scopes=max_scopes, linger=linger, max_openers=max_openers
        )
        self.following: Completeness | None = None
        """Is shown every record that bears on whether the stream was seen to its end."""
        self.index = -1
        self.first_ns: int | None = None
        self.last_ns = 0
        self.sent: dict[str, int] = {}
        """Sent messages by name."""
        self.malformed = 0
        self.finished: Report | None = None
        self._control = frozenset(contract.vocabulary.control)
        self.fields = fields_of(self.plan)
        """Reads most messages; None when clauses look at whole ones."""
        self._extraction = Extraction(self.plan)
        self._audience = Audience(
            self.plan,
            self.ledger,
            self.directory,
            other=self._other,
            opened=self._opened,
            unknown=self._unknown,
        )
        self._sweep = Sweep(self.plan, self.ledger, self.directory, self._audience, self._other)

    @property
    def counts(self) -> dict[str, int]:
        """Received events by name, in the order in which the names came up."""
        return {track.name: track.count for track in self._audience.tracks.values() if track.count}

    # Feeding

    def feed(self, record: Record) -> list[Violation]:
        """Check one record; its index is its place in the recording. Returns the violations that it made certain."""
        self.check(self._batch((record,)))
        return self.ledger.take()

    def feed_all(self, records: Iterable[Record]) -> list[Violation]:
        """Check records in the order in which they came. The verdict is the same as when they are fed one by one.

        Returns:
            The violations that they made certain.
        """
        found: list[Violation] = []
        rest = iter(records)
        while some := tuple(islice(rest, BATCH_RECORDS)):
            self.check(self._batch(some))
            found += self.ledger.take()
        return found

    def check(self, batch: Batch) -> None:
        """Check records. The violations that they make certain are in the ledger afterwards."""
        frames = batch.frames
        if self.first_ns is None:
            self.first_ns = frames[0].monotonic_ns
        self._sweep.events(batch, self.index + 1)
        self.index += len(frames)
        self.last_ns = frames[-1].monotonic_ns

    def _batch(self, records: Sequence[Record]) -> Batch:
        """Read what clauses look at out of records."""
        if self.fields is not None:
            try:
                messages = self.fields.read([record.data for record in records])
            except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
                pass  # one of them is out of the ordinary
            else:
                return Batch(records, messages, self.fields.values, self.fields.sent_name, records.__getitem__)
        return Batch(records, [self._extract(record) for record in records], Extract.values, None, records.__getitem__)

    def _extract(self, record: Record) -> Extract:
        data = record.data
        if record.kind is _EVENT and record.direction is _RECEIVED and data.__class__ is dict:
            name = self._extraction.name(data)
            if name and name.__class__ is str:
                return self._extraction.read(name, data)
        return _NOTHING

    def _opened(self, batch: Batch, place: int) -> Line:
        """An event has come on a connection that is not open."""
        record = batch.record(place)
        if self.following is not None:
            self.following.see(record)
        return self.directory.line(record.connection, record.user)

    def _other(self, batch: Batch, place: int) -> None:
        """Check a record that is no event with a name."""
        index = self.index + 1 + place
        frame = batch.frames[place]
        connection: str = frame.connection
        line = self.directory.lines.get(connection)
        is_sent = frame.direction is not _RECEIVED and frame.kind is _EVENT
        if is_sent and batch.sent_name is not None and line is not None and not line.closed:
            message = batch.messages[place]
            line = self.directory.line(connection, frame.user)
            name = batch.sent_name(message) or ""
            self._sent_message(line, index, frame.monotonic_ns, name, batch.values(message), frame.data)
            return
        record = batch.record(place)
        if self.following is not None:
            self.following.see(record)
        match record.kind:
            case Kind.OPEN:
                self.directory.line(connection, record.user)
            case Kind.CLOSE:
                self.directory.close(record)
            case Kind.EVENT if record.direction is Direction.SENT:
                self._sent_record(record, index)
            case Kind.EVENT:
                if line is None or line.closed:
                    line = self.directory.line(connection, record.user)
                self._no_name(line, record.data, index)
            case Kind.MALFORMED if record.direction is Direction.RECEIVED:
                self._malformed(record, index)

    def _sent_record(self, record: Record, index: int) -> None:
        found = self._extraction.sent(record.data)
        name = found if isinstance(found, str) else ""
        values = self._extraction.read(name, record.data).values()
        line = self.directory.line(record.connection, record.user)
        self._sent_message(line, index, record.monotonic_ns, name, values, record.data)

    def _sent_message(self, line: Line, index: int, ns: int, name: str, values: Values, data: Any) -> None:
        """Take note of a message of the client."""
        if name in self.sent or len(self.sent) < MAX_NAMES:
            self.sent[name] = self.sent.get(name, 0) + 1
        if name not in self._control:
            self.directory.asked(line, index, ns, values[THREAD])
        self._audience.sent(line, f"sent:{name}", index, ns, values, data)

    def advance(self, monotonic_ns: int) -> list[Violation]:
        """Time has passed without a record: returns the violations of budgets that are used up for good."""
        self.last_ns = max(self.last_ns, monotonic_ns)
        self.directory.overdue(monotonic_ns)
        return self.ledger.take()

    # Finishing

    def finish(self, *, complete: bool) -> Report:
        """End the check.

        Args:
            complete: the stream was seen to its end. Otherwise what is missing might still have come, and the verdict
                is never a plain `holds`.
        """
        if self.finished is None:
            self.directory.finish(self.last_ns, complete=complete)
            self.finished = build_report(self, complete=complete)
        return self.finished

    # Rules that every contract has

    def _malformed(self, record: Record, index: int) -> None:
        self.malformed += 1
        self.directory.line(record.connection, record.user)
        if self.contract.readable:
            what = f"a frame cannot be read: {record.note or 'not a JSON object'}"
            self.ledger.break_rule(READABLE, "malformed-frame", what, index, record.connection, record.user)

    def _no_name(self, line: Line, data: Any, index: int) -> None:
        if self.contract.readable:
            name = self._extraction.name(data)
            found = "has no event name" if name is None else f"has {describe(name)} where its event name should stand"
            if data is not None and not isinstance(data, dict):
                found = f"is {describe(data)} and no object"
            self.ledger.break_rule(READABLE, "unnamed-event", f"an event {found}", index, line.name, line.user)

    def _unknown(self, line: Line, name: str, index: int) -> None:
        near = nearest(name, self.plan.known or ())
        meant = f"; did the server mean {near!r}?" if near else ""
        what = f"{name!r:.80} is no event of the vocabulary{meant}"
        self.ledger.break_rule(KNOWN, "unknown-event", what, index, line.name, line.user, name)


_NOTHING: Final = Extract()
"""What is read of a record that is no event with a name."""
