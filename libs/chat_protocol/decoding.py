"""Bytes to messages and back: strict, with legacy forms put right, and errors that name the field."""

import re
from typing import Any, Final

import msgspec

from chat_protocol.events import AnyEvent, ErrorCode
from chat_protocol.limits import MAX_INBOUND_BYTES
from chat_protocol.messages import AnyClientMessage

_MESSAGE_TYPES: Final = {message.__struct_config__.tag: message for message in AnyClientMessage.__args__}
_LEGACY_TYPES: Final = {"chat_message": "user_message"}
_LEGACY_CONTENT: Final = ("message", "text")

_message_decoder: Final[msgspec.json.Decoder[AnyClientMessage]] = msgspec.json.Decoder(AnyClientMessage)
_event_decoder: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)
_encoder: Final = msgspec.json.Encoder()

_MISSING = re.compile(r"missing required field `(?P<field>[^`]+)`")
_UNKNOWN = re.compile(r"contains unknown field `(?P<field>[^`]+)`")
_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


class MalformedMessageError(ValueError):
    """A client sent something that is not a message; `code`, `field` and `request_id` say what and where."""

    def __init__(
        self, code: ErrorCode, reason: str, *, field: str | None = None, request_id: str | None = None
    ) -> None:
        self.code = code
        self.reason = reason
        self.field = field
        self.request_id = request_id
        super().__init__(f"{field}: {reason}" if field else reason)


def decode_message(frame: str | bytes, *, max_bytes: int = MAX_INBOUND_BYTES) -> AnyClientMessage:
    """Read one client frame.

    Args:
        frame: a whole WebSocket message, text or UTF-8 bytes.
        max_bytes: largest size taken, in bytes.

    Raises:
        MalformedMessageError: the frame is too large, not JSON, or not a message of the protocol.
    """
    data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
    if len(data) > max_bytes:
        raise MalformedMessageError(
            ErrorCode.MESSAGE_TOO_LARGE, f"the message has {len(data)} bytes, the limit is {max_bytes}"
        )
    try:
        return _message_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # The common case costs one decode. Everything else is looked at again, slowly, to say what is wrong.
        return _decode_slowly(data)


def decode_event(frame: str | bytes) -> AnyEvent:
    """Read one event of the gateway. Raises msgspec.MsgspecError when it is none."""
    return _event_decoder.decode(frame)


def encode(message: AnyClientMessage | AnyEvent) -> bytes:
    """Write a message or an event as UTF-8 JSON."""
    return _encoder.encode(message)


def _decode_slowly(data: bytes) -> AnyClientMessage:
    fields = _decode_object(data)
    request_id = fields.get("id") if isinstance(fields.get("id"), str) else None
    fields = _normalise_legacy(fields)
    kind = fields.get("type")
    if not isinstance(kind, str):
        code = ErrorCode.INVALID_FIELD if "type" in fields else ErrorCode.MISSING_FIELD
        raise MalformedMessageError(code, "every message needs a type", field="type", request_id=request_id)
    if kind not in _MESSAGE_TYPES:
        known = ", ".join(sorted(map(str, _MESSAGE_TYPES)))
        raise MalformedMessageError(
            ErrorCode.UNKNOWN_TYPE, f"unknown type {kind[:64]!r}; known: {known}", field="type", request_id=request_id
        )
    try:
        message: AnyClientMessage = msgspec.convert(fields, _MESSAGE_TYPES[kind])
    except msgspec.ValidationError as error:
        raise _explain(str(error), request_id) from None
    return message


def _decode_object(data: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise MalformedMessageError(ErrorCode.INVALID_JSON, "the message is nested too deeply") from None
    except UnicodeDecodeError:
        raise MalformedMessageError(ErrorCode.INVALID_JSON, "the message is not UTF-8") from None
    except msgspec.MsgspecError as error:
        raise MalformedMessageError(ErrorCode.INVALID_JSON, f"the message is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedMessageError(ErrorCode.INVALID_MESSAGE, "a message is a JSON object")
    return value


def _normalise_legacy(fields: dict[str, Any]) -> dict[str, Any]:
    """Rewrite the forms of older clients; a field that is there under both names is left for the strict check."""
    kind = fields.get("type")
    if isinstance(kind, str):
        fields["type"] = kind = _LEGACY_TYPES.get(kind, kind)
    if kind != "user_message":
        return fields
    if "session_id" in fields and "thread_id" not in fields:
        fields["thread_id"] = fields.pop("session_id")
    for name in _LEGACY_CONTENT:
        if name in fields and "content" not in fields:
            fields["content"] = fields.pop(name)
    return fields


def _explain(error: str, request_id: str | None) -> MalformedMessageError:
    path_match = _PATH.search(error)
    path = path_match["path"] if path_match else ""
    reason = error[: path_match.start()] if path_match else error
    if missing := _MISSING.search(reason):
        field = f"{path}.{missing['field']}".lstrip(".")
        return MalformedMessageError(
            ErrorCode.MISSING_FIELD, "this field is required", field=field, request_id=request_id
        )
    if unknown := _UNKNOWN.search(reason):
        field = f"{path}.{unknown['field']}".lstrip(".")
        return MalformedMessageError(ErrorCode.INVALID_FIELD, "no such field", field=field, request_id=request_id)
    if r"matching regex '\\S'" in reason:
        reason = "must not be empty"
    return MalformedMessageError(ErrorCode.INVALID_FIELD, reason, field=path or None, request_id=request_id)
