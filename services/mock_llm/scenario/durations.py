"""Durations as people write them: `200ms`, `2s`, `1.5m`, or a bare number of seconds."""

import math
import re
from typing import Final

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_WRITTEN: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|ms|s|m|h)")


def seconds(value: float | str) -> float:
    """Seconds of a duration.

    Raises:
        ValueError: it is no duration, is negative or is not finite.
    """
    if isinstance(value, str):
        match = _WRITTEN.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a duration; write 200ms, 2s, 1.5m or a number of seconds")
        return float(match["number"]) * _UNITS[match["unit"]]
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is not a duration; it must be finite and not negative")
    return float(value)
