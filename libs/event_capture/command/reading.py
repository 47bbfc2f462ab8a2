"""How far a command is through a long recording, on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

PATIENCE_SECONDS: Final = 2.0
"""How long a command works in silence, and how often it says a word where there is no terminal."""
_REFRESH_SECONDS: Final = 0.1
_MIB: Final = 2**20


@contextmanager
def reading(recording: Path) -> Iterator[Callable[[int], None]]:
    """Show how far the reading is: in place on a terminal, else as a line now and then once it takes long.

    Yields:
        Takes the bytes read since the last call.
    """
    shown = Reading(recording, sys.stderr)
    try:
        yield shown.advance
    finally:
        shown.end()


class Reading:
    """Counts bytes and says so.

    Args:
        recording: what is read. Of a compressed one the share cannot be told, its content being larger than the file.
        out: where to say it.
        clock: seconds, only ever more.
    """

    def __init__(self, recording: Path, out: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._name = recording.name
        self._total = recording.stat().st_size if recording.suffix != ".zst" and recording.is_file() else 0
        self._out = out
        self._clock = clock
        self._in_place = out.isatty()
        self._done = 0
        self._next = clock() + (_REFRESH_SECONDS if self._in_place else PATIENCE_SECONDS)
        self._said = False

    def advance(self, count: int) -> None:
        """So many bytes more are read."""
        self._done += count
        now = self._clock()
        if now >= self._next:
            self._next = now + (_REFRESH_SECONDS if self._in_place else PATIENCE_SECONDS)
            self._say()

    def end(self) -> None:
        """The reading is done, or given up: leave a terminal as it was."""
        if self._said and self._in_place:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _say(self) -> None:
        share = f"{min(self._done / self._total, 1):.0%} of {self._total / _MIB:,.0f}" if self._total else ""
        text = f"checking {self._name}: {share or f'{self._done / _MIB:,.0f}'} MiB"
        self._out.write(f"\r\x1b[K{text}" if self._in_place else f"{text}\n")
        self._out.flush()
        self._said = True
