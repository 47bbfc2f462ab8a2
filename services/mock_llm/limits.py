"""Rate limits that count: one bucket for requests, one for tokens, refilled all the time as the providers do it."""

from datetime import UTC, datetime
from typing import final

from mock_llm.errors import RequestRefusedError
from mock_llm.exchange import Headers
from mock_llm.requests import Protocol
from mock_llm.scenario.model import RateLimit

_MINUTE = 60.0


@final
class Bucket:
    """Holds up to `limit` units and refills to the full in a minute."""

    __slots__ = ("_at", "_level", "limit")

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._level = float(limit)
        self._at = now

    def refill(self, now: float) -> None:
        """Bring the level up to now."""
        self._level = min(self.limit, self._level + max(now - self._at, 0.0) * self.limit / _MINUTE)
        self._at = now

    def wait_for(self, units: int) -> float:
        """Seconds until so many units are there; 0 when they are. More than the limit waits for a full bucket."""
        missing = min(units, self.limit) - self._level
        return max(missing, 0.0) * _MINUTE / self.limit

    def take(self, units: int) -> None:
        """Use units; a request larger than the limit empties the bucket."""
        self._level = max(self._level - units, 0.0)

    @property
    def remaining(self) -> int:
        """Whole units left."""
        return int(self._level + 1e-9)

    @property
    def seconds_to_full(self) -> float:
        """Until the bucket is full again."""
        return (self.limit - self._level) * _MINUTE / self.limit


@final
class RateLimiter:
    """The limits of one namespace."""

    __slots__ = ("_buckets",)

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._buckets: dict[str, Bucket] = {}
        if limit.requests_per_minute is not None:
            self._buckets["requests"] = Bucket(limit.requests_per_minute, now)
        if limit.tokens_per_minute is not None:
            self._buckets["tokens"] = Bucket(limit.tokens_per_minute, now)

    def admit(self, tokens: int, now: float) -> tuple[RequestRefusedError, float] | None:
        """Count a request of so many tokens, or say why it is refused and for how many seconds."""
        for kind, bucket in self._buckets.items():
            bucket.refill(now)
            wait = bucket.wait_for(1 if kind == "requests" else tokens)
            if wait > 0:
                message = (
                    f"Rate limit reached on {kind} per min: limit {bucket.limit}, remaining {bucket.remaining}. "
                    f"Please try again in {written(wait)}."
                )
                refused = RequestRefusedError(message, status=429, kind=kind, code="rate_limit_exceeded")
                return refused, wait
        for kind, bucket in self._buckets.items():
            bucket.take(1 if kind == "requests" else tokens)
        return None

    def headers(self, protocol: Protocol, wall: float) -> Headers:
        """The live headers of a provider; `wall` is seconds since 1970, for the provider that names moments."""
        found: list[tuple[bytes, bytes]] = []
        for kind, bucket in self._buckets.items():
            if protocol == "messages":
                full = datetime.fromtimestamp(wall + bucket.seconds_to_full, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                shown = {"limit": bucket.limit, "remaining": bucket.remaining, "reset": full}
                found.extend(
                    (f"anthropic-ratelimit-{kind}-{name}".encode(), str(each).encode()) for name, each in shown.items()
                )
            else:
                shown = {"limit": bucket.limit, "remaining": bucket.remaining, "reset": written(bucket.seconds_to_full)}
                found.extend(
                    (f"x-ratelimit-{name}-{kind}".encode(), str(each).encode()) for name, each in shown.items()
                )
        return tuple(found)


def written(seconds: float) -> str:
    """A duration as OpenAI writes it: `120ms`, `1s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
