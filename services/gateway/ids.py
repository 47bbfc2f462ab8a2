"""The one place where identifiers are made."""

import secrets
import time
from collections.abc import Callable
from typing import Final, final

_BYTES: Final = 8
_POOL: Final = 256 * _BYTES


@final
class IdGenerator:
    """Makes identifiers that sort by the time they were made and cannot be guessed.

    Args:
        wall_ns: the wall clock, in nanoseconds since the Unix epoch.
    """

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._random = b""
        self._used = 0

    def connection(self) -> str:
        return self._make("conn")

    def thread(self) -> str:
        return self._make("thread")

    def message(self) -> str:
        return self._make("msg")

    def run(self) -> str:
        return self._make("run")

    def event(self) -> str:
        return self._make("evt")

    def tool_call(self) -> str:
        return self._make("call")

    def writer(self) -> str:
        return self._make("writer")

    def epoch(self) -> str:
        return self._make("epoch")

    def _make(self, prefix: str) -> str:
        return f"{prefix}_{self._wall_ns() // 1_000_000:011x}{self._entropy().hex()}"

    def _entropy(self) -> bytes:
        # One system call for many identifiers. Every byte is used once.
        if self._used == len(self._random):
            self._random = secrets.token_bytes(_POOL)
            self._used = 0
        start, self._used = self._used, self._used + _BYTES
        return self._random[start : self._used]
