"""The bounds of a connection: no wait without an end, no frame without a largest size."""

from dataclasses import dataclass, fields
from typing import final

from event_capture.drivers.frames import DEFAULT_MAX_DEPTH, DEFAULT_MAX_EVENT_BYTES


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Bounds of one connection. Raises ValueError when one is not greater than zero."""

    connect_timeout: float = 10.0
    """Seconds for TCP, TLS and the handshake together."""
    send_timeout: float = 10.0
    """Seconds that the server may take to read a message."""
    close_timeout: float = 2.0
    """Seconds that the server may take to answer the close frame."""
    max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES
    """Largest message that is decoded. A larger one becomes a malformed record and the connection lives on."""
    max_message_bytes: int = 4 * DEFAULT_MAX_EVENT_BYTES
    """Largest message that is read at all. A larger one closes the connection with code 1009."""
    max_depth: int = DEFAULT_MAX_DEPTH
    """Deepest nesting of a message that is taken."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"{field.name}: {value} is not greater than zero")
