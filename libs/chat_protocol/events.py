"""What the gateway sends: one frozen struct per event, all in the same envelope.

`type`, `id`, `user_id`, `thread_id`, `run_id`, `seq`, `epoch`, `timestamp`, `payload`. Events that belong to a
thread carry `(epoch, thread_id, seq)`, their place in the thread's log; events about the connection carry none.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from chat_protocol.limits import Limits


class ErrorCode(StrEnum):
    """What went wrong, for programs. The words for people stand beside it."""

    INVALID_JSON = "invalid_json"
    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    MESSAGE_TOO_LARGE = "message_too_large"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_SUPPORTED = "not_supported"
    EPOCH_CHANGED = "epoch_changed"
    """The position belongs to a log that is gone. The event carries the epoch of the log there is now."""
    MODEL_UNREACHABLE = "model_unreachable"
    MODEL_REFUSED = "model_refused"
    MODEL_BROKE_OFF = "model_broke_off"
    MODEL_TIMEOUT = "model_timeout"
    TURN_LIMIT = "turn_limit"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    INTERNAL_ERROR = "internal_error"


class Event(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """The envelope that every event shares."""

    id: str
    timestamp: str
    """When the gateway made the event: RFC 3339, UTC, milliseconds."""
    user_id: str | UnsetType = UNSET
    thread_id: str | UnsetType = UNSET
    run_id: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    """Place in the thread's log, from 1, without gaps within an epoch."""
    epoch: str | UnsetType = UNSET
    """Names the log that `seq` counts in. A new epoch means that old positions say nothing."""
    first_seq: int | UnsetType = UNSET
    """Set when this event stands for the places `first_seq` to `seq`: for pieces of text that were merged for a slow
    reader, or for events before it that the roles of the user hide."""


class WelcomePayload(Struct, frozen=True, kw_only=True):
    connection_id: str
    protocol_version: str
    limits: Limits


class Welcome(Event, frozen=True, kw_only=True, tag="welcome"):
    """The connection is authenticated and ready."""

    payload: WelcomePayload


class MessageAcceptedPayload(Struct, frozen=True, kw_only=True):
    message_id: str
    duplicate: bool = False
    """The message id was known already; the turn does not run again."""
    content: str | UnsetType = UNSET
    """The user's words, for whoever follows the thread and did not write them. Left out of a duplicate."""


class MessageAccepted(Event, frozen=True, kw_only=True, tag="message_accepted"):
    """A user message is stored and its turn is in the queue."""

    payload: MessageAcceptedPayload


class AgentStartedPayload(Struct, frozen=True, kw_only=True):
    message_id: str
    text: str


class AgentStarted(Event, frozen=True, kw_only=True, tag="agent_started"):
    """The turn has begun."""

    payload: AgentStartedPayload


class AgentThinkingPayload(Struct, frozen=True, kw_only=True):
    text: str


class AgentThinking(Event, frozen=True, kw_only=True, tag="agent_thinking"):
    """A piece of the model's reasoning."""

    payload: AgentThinkingPayload


class ToolExecutingPayload(Struct, frozen=True, kw_only=True):
    tool_call_id: str
    tool_name: str
    arguments: dict[str, Any]
    text: str


class ToolExecuting(Event, frozen=True, kw_only=True, tag="tool_executing"):
    """A tool is about to run."""

    payload: ToolExecutingPayload


class ToolCompletedPayload(Struct, frozen=True, kw_only=True):
    tool_call_id: str
    tool_name: str
    status: Literal["ok", "error"]
    result: Any
    duration_ms: float
    text: str


class ToolCompleted(Event, frozen=True, kw_only=True, tag="tool_completed"):
    """The tool of the same `tool_call_id` has ended, well or not."""

    payload: ToolCompletedPayload


class PartialResultPayload(Struct, frozen=True, kw_only=True):
    text: str
    """The words to append to the answer so far."""


class PartialResult(Event, frozen=True, kw_only=True, tag="partial_result"):
    """A piece of the answer."""

    payload: PartialResultPayload


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of a whole turn, summed over its model calls."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class AgentCompletedPayload(Struct, frozen=True, kw_only=True):
    text: str
    finish_reason: str
    usage: Usage
    duration_ms: float


class AgentCompleted(Event, frozen=True, kw_only=True, tag="agent_completed"):
    """The turn ended well; `text` is the whole answer."""

    payload: AgentCompletedPayload


class ErrorPayload(Struct, frozen=True, kw_only=True, omit_defaults=True):
    code: ErrorCode
    text: str
    """What happened and what to do about it, in one or two sentences."""
    field: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    retryable: bool = False


class ErrorEvent(Event, frozen=True, kw_only=True, tag="error_event"):
    """A request was refused (no run id) or a run ended badly (with its run id)."""

    payload: ErrorPayload


class ChannelMessagePayload(Struct, frozen=True, kw_only=True):
    channel: str
    content: str
    text: str


class ChannelMessage(Event, frozen=True, kw_only=True, tag="channel_message"):
    """Something published to a channel that this connection has joined."""

    payload: ChannelMessagePayload


class BusyPayload(Struct, frozen=True, kw_only=True, omit_defaults=True):
    retry_after_ms: int
    text: str
    message_id: str | UnsetType = UNSET
    """The message that was not taken, named by the gateway if the client did not. Sent again under this id, it runs
    once, even if it was being stored all the same."""
    request_id: str | UnsetType = UNSET


class Busy(Event, frozen=True, kw_only=True, tag="busy"):
    """There is no room for the message now, or it could not be stored in time."""

    payload: BusyPayload


class PongPayload(Struct, frozen=True, kw_only=True):
    nonce: str | None


class Pong(Event, frozen=True, kw_only=True, tag="pong"):
    """Answer to `ping`."""

    payload: PongPayload


class DrainingPayload(Struct, frozen=True, kw_only=True):
    retry_after_ms: int
    text: str


class Draining(Event, frozen=True, kw_only=True, tag="draining"):
    """This instance is shutting down; reconnect elsewhere."""

    payload: DrainingPayload


AgentEvent = AgentStarted | AgentThinking | ToolExecuting | ToolCompleted | PartialResult | AgentCompleted | ErrorEvent
"""The seven events of a turn."""

AnyEvent = AgentEvent | Welcome | MessageAccepted | ChannelMessage | Busy | Pong | Draining
"""Every event that the gateway may send."""

AGENT_EVENTS = tuple(event.__struct_config__.tag for event in AgentEvent.__args__)
"""Names of the seven events, in the order of a turn."""


def format_timestamp(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC with milliseconds, the form of every `timestamp` on the wire."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
