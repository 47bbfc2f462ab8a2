"""The sizes and times that both sides of the wire agree on."""

from typing import Final

import msgspec

PROTOCOL_VERSION: Final = "1.0"

MAX_INBOUND_BYTES: Final = 8192
"""Largest client frame, in bytes of UTF-8. A larger one is answered with `message_too_large`."""

MAX_OUTBOUND_BYTES: Final = 1 << 20
"""Largest event, in bytes of UTF-8: what WebSocket clients take unless they are told otherwise."""

MAX_ID_LENGTH: Final = 128
"""Longest identifier a client may choose, in characters."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway tells a client about its bounds, in the `welcome` event."""

    max_inbound_bytes: int = MAX_INBOUND_BYTES
    """Largest message that a client may send."""
    max_outbound_bytes: int = MAX_OUTBOUND_BYTES
    """Largest event that it will be sent."""
    heartbeat_seconds: float = 20.0
    queue_size: int = 16
