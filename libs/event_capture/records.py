"""What a recording is made of: one record per frame and per connection change.

A recording is a list of records in the order in which this process saw them. Both clocks are kept: the monotonic
one for durations, the wall clock to set beside the server's own timestamps.
"""

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Direction(StrEnum):
    """Which way a frame went, seen from the client."""

    RECEIVED = "received"
    SENT = "sent"


class Kind(StrEnum):
    """What happened."""

    OPEN = "open"
    """The connection is established; `data` holds its address and subprotocol."""
    EVENT = "event"
    """A frame that decoded to an object; `data` holds the object."""
    MALFORMED = "malformed"
    """A frame that is not an object; `data` holds what arrived (cut short) and `note` says what is wrong."""
    CLOSE = "close"
    """The connection ended; `data` holds the close code and reason, `note` says who closed it."""


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One frame or connection change, as it was seen."""

    monotonic_ns: int
    """Monotonic clock in nanoseconds. Only differences mean anything, and only within one recording."""
    wall_ns: int
    """Wall clock in nanoseconds since the Unix epoch."""
    connection: str
    """Name of the connection, unique in the recording."""
    kind: Kind = Kind.EVENT
    direction: Direction = Direction.RECEIVED
    size: int = 0
    """Bytes of the frame's payload on the wire, before decoding."""
    data: Any = None
    note: str = ""
    user: str = ""
    """Who the tester connected as, when known; isolation checks compare it with what the events say."""
