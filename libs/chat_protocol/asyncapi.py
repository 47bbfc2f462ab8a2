"""The protocol as an AsyncAPI 3.0 document, made from the structs.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from typing import Any, Final

import msgspec

from chat_protocol.close_codes import CloseCode, ProtocolCloseCode
from chat_protocol.events import AnyEvent
from chat_protocol.limits import MAX_INBOUND_BYTES, PROTOCOL_VERSION
from chat_protocol.messages import AnyClientMessage

_REF: Final = "#/components/schemas/{name}"


def asyncapi_document() -> dict[str, Any]:
    """The whole document, ready for JSON."""
    client: tuple[type[msgspec.Struct], ...] = AnyClientMessage.__args__
    server: tuple[type[msgspec.Struct], ...] = AnyEvent.__args__
    _, schemas = msgspec.json.schema_components([*client, *server], ref_template=_REF)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Streamproof chat gateway",
            "version": PROTOCOL_VERSION,
            "description": (
                f"JSON messages over a WebSocket. A client message has at most {MAX_INBOUND_BYTES} bytes. "
                "Events of a thread carry epoch, thread_id and seq, their place in the thread's log."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "chat": {
                "address": "/ws",
                "description": "Token in the Authorization header, the subprotocol bearer.TOKEN or the message auth.",
                "messages": {_tag(kind): {"$ref": f"#/components/messages/{_tag(kind)}"} for kind in client + server},
                "bindings": {"ws": {"bindingVersion": "0.1.0", "method": "GET"}},
            }
        },
        "operations": {
            "take": {
                "action": "receive",
                "summary": "What the gateway takes from a client.",
                "channel": {"$ref": "#/channels/chat"},
                "messages": [_channel_ref(kind) for kind in client],
            },
            "tell": {
                "action": "send",
                "summary": "What the gateway sends to a client.",
                "channel": {"$ref": "#/channels/chat"},
                "messages": [_channel_ref(kind) for kind in server],
            },
        },
        "components": {
            "messages": {_tag(kind): _message(kind) for kind in client + server},
            "schemas": schemas,
        },
        "x-close-codes": {
            str(code.value): {
                "name": code.name.lower(),
                "then": "reconnect and resume" if code.reconnect else "stop",
            }
            for code in (*ProtocolCloseCode, *CloseCode)
        },
    }


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "name": _tag(kind),
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").strip().splitlines()[0],
        "payload": {"$ref": _REF.format(name=kind.__name__)},
    }


def _channel_ref(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/channels/chat/messages/{_tag(kind)}"}


def _tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)
