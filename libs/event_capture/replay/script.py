"""A recording turned into what a server does: wait for the client's message, send, close. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, final

from event_capture.dialect import Dialect
from event_capture.errors import RecordingError
from event_capture.records import Direction, Kind, Record
from event_capture.replay.encoding import message_of
from event_capture.wire import Wire, wire_of

DEFAULT_MAX_RECORDS: Final = 1_000_000
DEFAULT_NAME_PATHS: Final = ("type", "event")

_ABNORMAL: Final = 1006


@final
@dataclass(frozen=True, slots=True)
class Emit:
    """Send a message, `delay` seconds after the step before it."""

    delay: float
    message: str | bytes


@final
@dataclass(frozen=True, slots=True)
class Await:
    """Wait for the client to send a message of this name; an empty name takes any."""

    name: str


@final
@dataclass(frozen=True, slots=True)
class Close:
    """End the connection, `delay` seconds after the step before it. Without a code it breaks off."""

    delay: float
    code: int | None
    reason: str


Step = Emit | Await | Close


@final
@dataclass(frozen=True, slots=True)
class ConnectionScript:
    """What the server does on one connection."""

    connection: str
    user: str
    subprotocol: str | None = None
    steps: tuple[Step, ...] = field(default=())
    wire: Wire = Wire.WEBSOCKET


def scripts_of(
    records: Iterable[Record],
    *,
    name_of: Callable[[Any], str] | None = None,
    max_records: int = DEFAULT_MAX_RECORDS,
    wire: Wire | None = None,
) -> list[ConnectionScript]:
    """One script per recorded connection, in the order in which they opened.

    Args:
        records: the recording.
        wire: what the server is to speak; by default, on each connection, what was spoken when it was recorded.
        name_of: reads a sent message's name; by default its `type` or `event`.
        max_records: most records taken: a script is held in memory.

    Raises:
        RecordingError: nothing in it that a server could send, or it is too long.
    """
    name_of = name_of if name_of is not None else default_name_of
    building: dict[str, _Building] = {}
    for count, record in enumerate(records):
        if count >= max_records:
            raise RecordingError(f"more than {max_records} records are too many to replay; cut the recording")
        if record.connection not in building:
            building[record.connection] = _Building(record, wire)
        building[record.connection].add(record, name_of)
    scripts = [built.script() for built in building.values()]
    if not any(isinstance(step, Emit | Close) for script in scripts for step in script.steps):
        raise RecordingError("nothing to replay: the recording holds nothing that a server sent")
    return scripts


def default_name_of(data: Any) -> str:
    """The message's `type` or `event`; empty when it has neither."""
    for path in DEFAULT_NAME_PATHS:
        name = Dialect(name=path).name_of(data)
        if name:
            return name
    return ""


class _Building:
    def __init__(self, first: Record, wire: Wire | None) -> None:
        self._wanted = wire
        self._wire = wire if wire is not None else Wire.WEBSOCKET
        self._connection = first.connection
        self._user = first.user
        self._last_ns = first.monotonic_ns
        self._subprotocol: str | None = None
        self._steps: list[Step] = []
        self._closed = False

    def add(self, record: Record, name_of: Callable[[Any], str]) -> None:
        delay = max(0, record.monotonic_ns - self._last_ns) / 1e9
        self._last_ns = record.monotonic_ns
        if self._closed:
            return
        if record.kind is Kind.OPEN:
            self._subprotocol = record.data.get("subprotocol") if isinstance(record.data, dict) else None
            self._wire = self._wanted if self._wanted is not None else wire_of(record.data)
        elif record.kind is Kind.CLOSE:
            self._close(delay, record)
        elif record.direction is Direction.SENT:
            if self._wire is not Wire.SSE:  # there, the client has said what it has to say when it connects
                self._steps.append(Await(name_of(record.data)))
        else:
            message = message_of(record, self._wire)
            if message is not None:
                self._steps.append(Emit(delay, message))

    def _close(self, delay: float, record: Record) -> None:
        self._closed = True
        if "client" in record.note:
            return  # then this server, too, leaves it to the client
        data = record.data if isinstance(record.data, dict) else {}
        code = data.get("code")
        named = code if isinstance(code, int) and 1000 <= code <= 4999 and code not in (1005, _ABNORMAL, 1015) else None
        if code == 1005:
            named = 1000
        self._steps.append(Close(delay, named, str(data.get("reason") or "")))

    def script(self) -> ConnectionScript:
        return ConnectionScript(self._connection, self._user, self._subprotocol, tuple(self._steps), self._wire)
