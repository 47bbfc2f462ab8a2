"""Between the gateway's messages and the events of Socket.IO clients. Pure.

In:  `chat_message` with `content` and `session_id`, which is the thread; `auth` with a fresh `token`; `cancel` with a
     `run_id`; `resume` and `ack` with a `session_id`, its `epoch` and a `seq`.
Out: `chat_thinking` and `chat_chunk` as the answer comes, `chat_response` with all of it, `chat_complete` when the turn
     has ended well, `error` when it or a request has not.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from chat_protocol.decoding import MalformedMessageError, decode_event
from chat_protocol.events import (
    AgentCompleted,
    AgentThinking,
    AnyEvent,
    Busy,
    Draining,
    ErrorCode,
    ErrorEvent,
    PartialResult,
)

CHAT_MESSAGE: Final = "chat_message"
TAKEN: Final = (CHAT_MESSAGE, "auth", "cancel", "resume", "ack")
"""Names of the events that a client may send."""
_OF_A_SESSION: Final = ("resume", "ack")


def to_frame(data: Sequence[Any]) -> str:
    """The JSON message of the gateway that a Socket.IO event stands for.

    Raises:
        MalformedMessageError: the event is not one that the gateway knows, or carries no object.
    """
    name = data[0] if data else None
    if name not in TAKEN:
        shown = repr(name[:64]) if isinstance(name, str) else "without a name"
        raise MalformedMessageError(
            ErrorCode.UNKNOWN_TYPE, f"unknown event {shown}; known: {', '.join(TAKEN)}", field="event"
        )
    if len(data) != 2 or not isinstance(data[1], dict):
        raise MalformedMessageError(ErrorCode.INVALID_MESSAGE, f"{name} carries one object")
    fields = {**data[1], "type": name}
    if name in _OF_A_SESSION and "session_id" in fields and "thread_id" not in fields:
        fields["thread_id"] = fields.pop("session_id")
    try:
        return msgspec.json.encode(fields).decode()
    except (UnicodeEncodeError, OverflowError, RecursionError):
        raise MalformedMessageError(
            ErrorCode.INVALID_MESSAGE, "holds half a character pair, too large a number or too deep a nesting"
        ) from None


def from_frame(frame: str) -> list[tuple[str, dict[str, Any]]]:
    """The Socket.IO events that an event of the gateway stands for; for some there are none."""
    event = decode_event(frame)
    match event:
        case AgentThinking():
            return [("chat_thinking", _place(event) | {"content": event.payload.text})]
        case PartialResult():
            return [("chat_chunk", _place(event) | {"content": event.payload.text})]
        case AgentCompleted():
            payload = event.payload
            ended = {
                "finish_reason": payload.finish_reason,
                "usage": msgspec.to_builtins(payload.usage),
                "duration_ms": payload.duration_ms,
            }
            return [
                ("chat_response", _place(event) | {"content": payload.text}),
                ("chat_complete", _place(event) | ended),
            ]
        case ErrorEvent():
            return [("error", _place(event) | {"message": event.payload.text} | msgspec.to_builtins(event.payload))]
        case Busy():
            return [("error", {"code": "busy", "message": event.payload.text} | msgspec.to_builtins(event.payload))]
        case Draining():
            return [("error", {"code": "draining", "message": event.payload.text} | msgspec.to_builtins(event.payload))]
        case _:
            return []


def _place(event: AnyEvent) -> dict[str, Any]:
    place = {
        "session_id": event.thread_id,
        "run_id": event.run_id,
        "epoch": event.epoch,
        "first_seq": event.first_seq,
        "seq": event.seq,
        "timestamp": event.timestamp,
    }
    return {name: value for name, value in place.items() if value is not UNSET}
