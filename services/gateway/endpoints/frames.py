"""Frames of a WebSocket: one is read, and the last one says why there will be no more."""

from typing import Final

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected, WebSocketState

from chat_protocol.close_codes import shorten_reason

GONE: Final = (WebSocketDisconnect, WebSocketDisconnected)
"""What reading and writing raise when the client is no longer there."""

_CLOSE_SECONDS: Final = 5.0


async def receive(websocket: WebSocket) -> str | bytes:
    """The next message of the client, text or binary. Raises WebSocketDisconnect at the end."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006), message.get("reason"))
    text = message.get("text")
    return text if text is not None else message.get("bytes") or b""


async def close(websocket: WebSocket, code: int, reason: str) -> None:
    """Close, when it is open, with as much of the reason as there is room for. Shielded and bounded in time."""
    if websocket.application_state is not WebSocketState.CONNECTED:
        return
    # A client that does not read cannot hold the connection open.
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        try:
            await websocket.close(code, shorten_reason(reason))
        except GONE:
            return
