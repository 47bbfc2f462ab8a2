"""WebSocket close codes of the gateway: its own, and those of the protocol that it uses.

Of its own, the range says what the client does next, so that an old client handles a new code correctly:
4400-4499 means stop (the same request would fail again), 4500-4599 means reconnect and resume.
The codes lie in the private range of RFC 6455, section 7.4.2.
"""

from enum import IntEnum
from typing import Final

MAX_REASON_BYTES: Final = 123
"""RFC 6455, section 5.5: a close frame holds 125 bytes, two of them the code."""


class CloseCode(IntEnum):
    """Why the gateway closed a connection."""

    UNAUTHENTICATED = 4401
    """No token, a wrong one, or one that has expired. Get a new token first."""
    AUTH_TIMEOUT = 4408
    """The first message did not authenticate in time."""
    INTERNAL_ERROR = 4500
    """A fault of the gateway. Reconnect with backoff."""
    DRAINING = 4503
    """This instance is shutting down. Reconnect after the hint, to any instance."""
    SLOW_READER = 4508
    """The client read too slowly. Reconnect and resume from the position in the reason."""

    @property
    def reconnect(self) -> bool:
        """Whether the client should reconnect on its own."""
        return 4500 <= self <= 4599


class ProtocolCloseCode(IntEnum):
    """Why a connection was closed before the gateway could say a word of its own: RFC 6455, section 7.4.1."""

    PROTOCOL_ERROR = 1002
    """The client broke the WebSocket protocol, or did not finish an upgrade of Socket.IO."""
    INVALID_TEXT = 1007
    """The client sent text that is not UTF-8."""
    MESSAGE_TOO_BIG = 1009
    """The client sent a message so large that it was not read to its end."""
    HEARTBEAT_MISSED = 1011
    """The client did not answer a ping in time. Reconnect and resume."""

    @property
    def reconnect(self) -> bool:
        """Whether the client should reconnect on its own."""
        return self is ProtocolCloseCode.HEARTBEAT_MISSED


def shorten_reason(reason: str) -> str:
    """As much of the words as a close frame holds."""
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
