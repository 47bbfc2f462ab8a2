"""What a client may send: one frozen struct per message type, told apart by the field `type`."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from chat_protocol.limits import MAX_ID_LENGTH

# The end of the pattern: `$` alone would also stand before a line end in Python, unlike in JSON Schema.
Identifier = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[A-Za-z0-9_.:-]+$(?!\n)")]
Content = Annotated[str, Meta(pattern=r"\S")]


class Priority(StrEnum):
    """How urgent a user message is. Order within one thread holds whatever the priority."""

    CONTROL = "control"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class ClientMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """The part that every client message shares."""

    id: Identifier | None = None
    """The client's own name for this request. An error about it carries it as `request_id`."""


class Auth(ClientMessage, frozen=True, kw_only=True, tag="auth"):
    """First message of a connection that could not send its token in the handshake; later, a fresh token."""

    token: str


class UserMessage(ClientMessage, frozen=True, kw_only=True, tag="user_message"):
    """Words of the user that start a turn."""

    content: Content
    thread_id: Identifier | None = None
    """The conversation. The gateway makes a new one when it is left out."""
    message_id: Identifier | None = None
    """Idempotency key among all messages of the user, whatever the thread: sent twice, the turn runs once."""
    priority: Priority = Priority.NORMAL
    enable_thinking: bool = True


class Subscribe(ClientMessage, frozen=True, kw_only=True, tag="subscribe"):
    """Join a channel."""

    channel: Identifier


class Unsubscribe(ClientMessage, frozen=True, kw_only=True, tag="unsubscribe"):
    """Leave a channel."""

    channel: Identifier


class Resume(ClientMessage, frozen=True, kw_only=True, tag="resume"):
    """Ask for everything of a thread after the last event that was seen, and for what comes from then on."""

    thread_id: Identifier
    epoch: str
    seq: Annotated[int, Meta(ge=0)] | None = None
    """The last event that was seen; 0 for all of them, left out for those after the last `ack`."""


class Ack(ClientMessage, frozen=True, kw_only=True, tag="ack"):
    """Everything of a thread up to and including `seq` has arrived."""

    thread_id: Identifier
    epoch: str
    seq: Annotated[int, Meta(ge=0)]


class Cancel(ClientMessage, frozen=True, kw_only=True, tag="cancel"):
    """Stop a run."""

    run_id: Identifier


class Ping(ClientMessage, frozen=True, kw_only=True, tag="ping"):
    """Ask for a `pong` with the same nonce."""

    nonce: str | None = None


AnyClientMessage = Auth | UserMessage | Subscribe | Unsubscribe | Resume | Ack | Cancel | Ping
"""Every message that a client may send."""
