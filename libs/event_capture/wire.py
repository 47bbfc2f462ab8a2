"""What is spoken on a connection."""

from enum import StrEnum
from typing import Any


class Wire(StrEnum):
    """What is spoken on a connection."""

    WEBSOCKET = "websocket"
    SOCKETIO = "socketio"
    SSE = "sse"


def wire_of(opened: Any) -> Wire:
    """What was spoken on a recorded connection, by the data of the record of its opening."""
    facts = opened if isinstance(opened, dict) else {}
    url = facts.get("url")
    url = url if isinstance(url, str) else ""
    if facts.get("protocol") == "sse" or url.startswith(("http://", "https://")):
        return Wire.SSE
    return Wire.SOCKETIO if speaks_engineio(url) else Wire.WEBSOCKET


def speaks_engineio(target: str) -> bool:
    """Whether an address asks for Engine.IO, on which Socket.IO runs, in its query."""
    return "EIO=" in target.partition("?")[2]
