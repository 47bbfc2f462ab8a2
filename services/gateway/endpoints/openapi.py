"""The HTTP side as an OpenAPI 3.1 document, made from the structs of `gateway.endpoints.bodies`.

https://spec.openapis.org/oas/v3.1.1
"""

from typing import Any, Final

import msgspec

from chat_protocol.limits import PROTOCOL_VERSION
from gateway.endpoints.bodies import Health, Publication, Published, Refusal, WebSocketHealth

_REF: Final = "#/components/schemas/{name}"
_STRUCTS: Final = (Health, WebSocketHealth, Publication, Published, Refusal)


def openapi_document() -> dict[str, Any]:
    """The whole document, ready for JSON."""
    _, schemas = msgspec.json.schema_components(_STRUCTS, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Streamproof chat gateway",
            "version": PROTOCOL_VERSION,
            "description": (
                "What the gateway offers over HTTP. Chats go over the WebSocket at /ws, which /asyncapi.json "
                "describes, or over Socket.IO."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that served this document."}],
        "security": [],
        "tags": [
            {"name": "operations", "description": "Is it up, and what is it doing?"},
            {"name": "channels", "description": "Messages to everyone who has joined."},
            {"name": "chat", "description": "Where chats connect."},
            {"name": "documents", "description": "The page and the descriptions of the interfaces."},
        ],
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "responses": {
                "Unauthenticated": {
                    "description": "There is no token, or it is not good. The text says why.",
                    "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
                    "content": _json(Refusal),
                }
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _paths() -> dict[str, Any]:
    failing = "The database does not answer."
    return {
        "/health": {
            "get": _operation(
                "health",
                "operations",
                "Whether the gateway can do its work.",
                {"200": _says("It can.", Health), "503": _says(failing, Health)},
            )
        },
        "/ready": {
            "get": _operation(
                "ready",
                "operations",
                "Whether to send clients here.",
                {
                    "200": _says("New messages are taken.", Health),
                    "503": _says(f"{failing} Or the gateway is shutting down.", Health),
                },
            )
        },
        "/ws/health": {
            "get": _operation(
                "websocketHealth",
                "operations",
                "Counts of connections, turns and journal entries.",
                {
                    "200": _says("The log is being written.", WebSocketHealth),
                    "503": _says("It is not, or the gateway is shutting down.", WebSocketHealth),
                },
            )
        },
        "/channels/{channel}/messages": {
            "post": _operation(
                "publish",
                "channels",
                "Send a message to everyone of the tenant who has joined the channel. Needs the role publisher.",
                {
                    "202": _says("It is on its way.", Published),
                    "400": _says("The body or the channel's name is wrong.", Refusal),
                    "401": {"$ref": "#/components/responses/Unauthenticated"},
                    "403": _says("The token's roles do not suffice.", Refusal),
                    "413": _says("The body is too large.", Refusal),
                },
            )
            | {
                "security": [{"token": []}],
                "parameters": [_parameter("channel", "path", "Such as guide or pillar:content.")],
                "requestBody": {"required": True, "content": _json(Publication)},
            }
        },
        "/ws": {
            "get": _operation(
                "connect",
                "chat",
                "The WebSocket. Its messages are described by /asyncapi.json.",
                {
                    "101": {"description": "The connection is open."},
                    "401": {"$ref": "#/components/responses/Unauthenticated"},
                },
            )
            | {"security": [{"token": []}, {}]}
        },
        "/socket.io/": {
            "parameters": [
                _parameter("EIO", "query", "The version of Engine.IO, which is 4."),
                _parameter("transport", "query", "polling or websocket."),
                _parameter("sid", "query", "The session, once there is one.", required=False),
            ],
            "get": _operation("poll", "chat", "Socket.IO: handshake, and what waits for the client.", _socketio()),
            "post": _operation("post", "chat", "Socket.IO: packets of the client.", _socketio())
            | {"requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}},
        },
        "/": {"get": _operation("page", "documents", "The chat page.", _file("text/html"))},
        "/page/{name}": {
            "get": _operation(
                "pageFile",
                "documents",
                "A part of the page.",
                _file("text/css", "text/javascript") | {"404": _says("There is no such file.", Refusal)},
            )
            | {"parameters": [_parameter("name", "path", "The file's name.")]}
        },
        "/asyncapi.json": {
            "get": _operation("asyncapi", "documents", "The WebSocket's protocol.", _file("application/json"))
        },
        "/openapi.json": {"get": _operation("openapi", "documents", "This document.", _file("application/json"))},
    }


def _operation(name: str, tag: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "tags": [tag], "summary": summary, "responses": responses}


def _says(description: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"description": description, "content": _json(kind)}


def _json(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}


def _file(*media_types: str) -> dict[str, Any]:
    return {"200": {"description": "The file.", "content": {name: {} for name in media_types}}}


def _socketio() -> dict[str, Any]:
    return {
        "200": {"description": "Packets of Engine.IO.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        "400": {"description": "Not a request of Engine.IO, or no session of that name."},
        "413": {"description": "The body is too large."},
        "503": {"description": "Too many sessions."},
    }


def _parameter(name: str, place: str, description: str, *, required: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }
