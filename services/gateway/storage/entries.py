"""What goes into the journal, and what comes out once it is committed."""

from dataclasses import dataclass
from typing import Literal, final

from chat_protocol.events import AnyEvent, Usage
from gateway.storage.schema import ThreadAddress

RunStatus = Literal["queued", "running", "completed", "failed", "cancelled", "interrupted"]


@final
@dataclass(frozen=True, slots=True)
class NewTurn:
    """A user message to be stored with its run, unless its message id is known already."""

    address: ThreadAddress
    run_id: str
    message_id: str
    content: str
    request: str
    """What is needed to run the turn after a restart, as JSON."""
    accepted: AnyEvent
    """The `message_accepted` event, still without its place in the log."""
    session_id: str | None = None
    """The session that the client named; it is made or marked as used with the message."""
    started: AnyEvent | None = None
    """The `agent_started` event of a run that begins at once: both are one commit."""


@final
@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended; written with its last event."""

    status: RunStatus
    answer: str | None = None
    error_code: str | None = None
    usage: Usage | None = None
    duration_ms: float | None = None


@final
@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be logged, still without its place in the log."""

    address: ThreadAddress
    event: AnyEvent
    status: RunStatus | None = None
    """The run's new status, when this event changes it."""
    outcome: RunOutcome | None = None
    """Set on the last event of a run."""


@final
@dataclass(frozen=True, slots=True)
class NewAck:
    """The owner of a thread has everything up to and including `seq`."""

    address: ThreadAddress
    seq: int


@final
@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A committed event: what goes to whoever follows the thread."""

    thread_key: str
    seq: int
    event: AnyEvent
    frame: str
    """The event as JSON."""


@final
@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a `NewTurn`."""

    run_id: str
    thread_id: str
    """Where the message id arrived first: it is the user's own, whatever the thread."""
    seq: int
    """Place of the `message_accepted` event of that arrival."""
    duplicate: bool
