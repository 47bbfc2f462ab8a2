"""Times as other tools write them, in nanoseconds."""

from datetime import UTC, datetime
from typing import Any, Final

_SCALES: Final = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000))
"""Smallest count since 1970 that can only be of this unit, and the unit in nanoseconds. Below all: seconds."""


def moment_ns(value: Any) -> int | None:
    """A moment in nanoseconds since the Unix epoch; None when it is none.

    Takes RFC 3339 texts and numbers; whether a number counts seconds, milliseconds, microseconds or nanoseconds shows
    in its size.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if not 0 < value < 1e19:
            return None
        scale = next((scale for least, scale in _SCALES if value >= least), 1_000_000_000)
        if isinstance(value, int):
            return value * scale
        whole = int(value)
        return whole * scale + round((value - whole) * scale)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    return None


_EARLIEST_NS: Final = -62_135_596_800 * 1_000_000_000
_LATEST_NS: Final = 253_402_300_800 * 1_000_000_000 - 1
"""The years 1 to 9999: others have no RFC 3339 form."""


def format_moment(wall_ns: int) -> str:
    """A moment as RFC 3339 in UTC, with milliseconds. One beyond what can be written becomes the nearest that can."""
    wall_ns = min(max(wall_ns, _EARLIEST_NS), _LATEST_NS)
    moment = datetime.fromtimestamp(wall_ns // 1_000_000_000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ns // 1_000_000 % 1000:03d}Z"
