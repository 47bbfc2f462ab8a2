"""The wire vocabulary of the chat gateway: messages, events, limits, close codes, contracts."""

from chat_protocol.close_codes import CloseCode
from chat_protocol.decoding import MalformedMessageError, decode_event, decode_message, encode
from chat_protocol.events import AGENT_EVENTS, AnyEvent, ErrorCode, format_timestamp
from chat_protocol.limits import MAX_INBOUND_BYTES, PROTOCOL_VERSION, Limits
from chat_protocol.messages import AnyClientMessage

__all__ = [
    "AGENT_EVENTS",
    "MAX_INBOUND_BYTES",
    "PROTOCOL_VERSION",
    "AnyClientMessage",
    "AnyEvent",
    "CloseCode",
    "ErrorCode",
    "Limits",
    "MalformedMessageError",
    "decode_event",
    "decode_message",
    "encode",
    "format_timestamp",
]
