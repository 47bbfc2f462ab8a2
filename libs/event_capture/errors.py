"""What can go wrong, by whose fault it is.

EventCaptureError
|-- BadInputError (ValueError)       what was handed in cannot be used; nothing was checked
|   |-- ContractError                a contract file or sentence is wrong; says line, column and the nearest right name
|   |-- VocabularyError              a vocabulary file is wrong, or no vocabulary has that name
|   `-- RecordingError               a recording cannot be read; says file, line and reason
|-- RecordingWriteError (OSError)    the recording cannot be written: the disk is full, the folder is missing
|-- ConnectionFailedError (OSError)  the server could not be reached or refused the connection
|   `-- HandshakeRejectedError       it answered the handshake with an HTTP status
|-- ConnectionEndedError             something was sent on a connection that has ended
|-- SendTimeoutError (TimeoutError)  the server does not read: a message could not leave in time
|-- AwaitedEventError (AssertionError)   an awaited event did not come; has the timeline so far
|-- MissingEventsError (AssertionError)  events that a test asked for are not in the recording
`-- ContractViolatedError (AssertionError)   a recording does not satisfy a contract; has the report

What a server sends is never an exception: a broken frame or an early close is a record.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_capture.checker import Report


class EventCaptureError(Exception):
    """Root of everything that this package raises on purpose."""


class BadInputError(EventCaptureError, ValueError):
    """Something handed in cannot be used."""


class _PlacedError(BadInputError):
    """Bad input with a place: source, line and column count from 1, 0 means unknown."""

    def __init__(self, reason: str, *, source: str = "", line: int = 0, column: int = 0, fix: str = "") -> None:
        self.reason = reason
        self.source = source
        self.line = line
        self.column = column
        self.fix = fix
        super().__init__(reason)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part)
        text = f"{place}: {self.reason}" if place else self.reason
        return f"{text}; {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.reason, self.source, self.line, self.column, self.fix)


class ContractError(_PlacedError):
    """A contract cannot be read."""


class VocabularyError(_PlacedError):
    """A vocabulary cannot be read, or none has that name."""


class RecordingError(_PlacedError):
    """A recording cannot be read."""


class RecordingWriteError(EventCaptureError, OSError):
    """A recording cannot be written."""


class ConnectionFailedError(EventCaptureError, OSError):
    """The server could not be reached, or it refused the connection."""


class HandshakeRejectedError(ConnectionFailedError):
    """The server refused the upgrade with an HTTP status."""

    def __init__(self, url: str, status: int, body: str = "") -> None:
        self.url = url
        self.status = status
        self.body = body
        said = f", saying {body!r}" if body else ""
        super().__init__(f"cannot connect to {url}: the server answered the handshake with HTTP {status}{said}")


class ConnectionEndedError(EventCaptureError):
    """Something was sent on a connection that has ended."""

    def __init__(self, connection: str, why: str) -> None:
        self.connection = connection
        self.why = why
        super().__init__(f"connection {connection} has ended ({why}); reconnect before sending")


class SendTimeoutError(EventCaptureError, TimeoutError):
    """The server did not take a message in time."""

    def __init__(self, connection: str, seconds: float) -> None:
        self.connection = connection
        self.seconds = seconds
        super().__init__(f"connection {connection}: the server did not take the message within {seconds:g} s")


class AwaitedEventError(EventCaptureError, AssertionError):
    """An awaited event did not come. `timeline` tells what came instead.

    An AssertionError too: a test that hits it has failed, it is not broken.
    """

    def __init__(self, awaited: Sequence[str], reason: str, timeline: str) -> None:
        self.awaited = tuple(awaited)
        self.reason = reason
        self.timeline = timeline
        super().__init__(f"still waiting for {' or '.join(awaited)}: {reason}\nevents so far:\n{timeline}")


class MissingEventsError(EventCaptureError, AssertionError):
    """Events that were asked for did not come. `missing` keeps the order of the question."""

    def __init__(self, missing: Sequence[str], timeline: str) -> None:
        self.missing = tuple(missing)
        self.timeline = timeline
        super().__init__(f"missing events: {', '.join(missing)}\nevents so far:\n{timeline}")


class ContractViolatedError(EventCaptureError, AssertionError):
    """A recording does not satisfy a contract. `report` is the checker's, the message its text with the timeline."""

    def __init__(self, report: "Report", text: str) -> None:
        self.report = report
        super().__init__(f"the contract does not hold: {report.verdict.value}\n{text}")


def _rebuild(kind: type[_PlacedError], reason: str, source: str, line: int, column: int, fix: str) -> _PlacedError:
    return kind(reason, source=source, line=line, column=column, fix=fix)
