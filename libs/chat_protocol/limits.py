"""The sizes and times that both sides of the wire agree on."""

from typing import Final

import msgspec

PROTOCOL_VERSION: Final = "1.0"

MAX_INBOUND_BYTES: Final = 8192
"""Largest client frame, in bytes of UTF-8. A larger one is answered with `message_too_large`."""

MAX_ID_LENGTH: Final = 128
"""Longest identifier a client may choose, in characters."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway tells a client about its bounds, in the `welcome` event."""

    max_inbound_bytes: int = MAX_INBOUND_BYTES
    heartbeat_seconds: float = 20.0
    queue_size: int = 16
