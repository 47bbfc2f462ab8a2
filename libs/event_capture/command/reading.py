"""How far a command is through long work, on standard error, and what it has to say of the recordings it reads."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from event_capture.command.running import note
from event_capture.recording import read_recording
from event_capture.records import Record

PATIENCE_SECONDS: Final = 2.0
"""How long a command works in silence, and how often it says a word where there is no terminal."""
_REFRESH_SECONDS: Final = 0.1
_MIB: Final = 2**20


def note_cut(recording: Path) -> Callable[[int], None]:
    """Tells, given its number, that the last line of a recording is cut off."""
    return lambda line: note(f"{recording}:{line}: the last line is cut off and left out")


def read_noting(recording: Path, verb: str, cut: list[int] | None = None) -> Iterator[Record]:
    """Read a recording record by record; show how far the reading is, and note a last line that is cut off.

    Args:
        recording: the file.
        verb: what is done with it.
        cut: takes the number of that line. One that is there already is not noted again.
    """
    noted = cut if cut is not None else []
    tell = note_cut(recording)

    def truncated(line: int) -> None:
        if line not in noted:
            noted.append(line)
            tell(line)

    with reading(recording, verb) as progress:
        yield from read_recording(recording, on_truncated=truncated, progress=progress)


def counting(records: Iterable[Record], source: Path, verb: str) -> Iterator[Record]:
    """The records, while their number is shown: for files of which it cannot be told how much is read."""
    shown = Progress(sys.stderr)
    try:
        for count, record in enumerate(records, 1):
            shown.at("{} {}: {:,} records", verb, source.name, count)
            yield record
    finally:
        shown.end()


@contextmanager
def steps(verb: str, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of how many steps are done.

    Yields:
        Takes steps done and steps in all.
    """
    shown = Progress(sys.stderr)
    try:
        yield lambda done, total: shown.at("{}: {:,} of {:,} {}", verb, done, total, what)
    finally:
        shown.end()


@contextmanager
def reading(recording: Path, verb: str = "checking") -> Iterator[Callable[[int], None]]:
    """Show how far the reading of a recording is.

    Yields:
        Takes the bytes read since the last call.
    """
    shown = Reading(recording, sys.stderr, verb=verb)
    try:
        yield shown.advance
    finally:
        shown.end()


class Progress:
    """Says how far some work is: in place on a terminal, else as a line now and then once it takes long.

    Args:
        out: where to say it.
        clock: seconds, only ever more.
    """

    def __init__(self, out: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._in_place = out.isatty()
        self._pause = _REFRESH_SECONDS if self._in_place else PATIENCE_SECONDS
        self._next = clock() + self._pause
        self._said = False

    def at(self, text: str, *values: str | float) -> None:
        """The work is here; the text takes the values as `str.format` does, when it is time to say a word."""
        now = self._clock()
        if now >= self._next:
            self._next = now + self._pause
            said = text.format(*values)
            self._out.write(f"\r\x1b[K{said}" if self._in_place else f"{said}\n")
            self._out.flush()
            self._said = True

    def end(self) -> None:
        """The work is done, or given up: leave a terminal as it was."""
        if self._said and self._in_place:
            self._out.write("\r\x1b[K")
            self._out.flush()


class Reading:
    """Counts the bytes of a recording and says so.

    Args:
        recording: what is read. Of a compressed one the share cannot be told, its content being larger than the file.
        out: where to say it.
        clock: seconds, only ever more.
        verb: what is done with it.
    """

    def __init__(
        self, recording: Path, out: IO[str], clock: Callable[[], float] = time.monotonic, *, verb: str = "checking"
    ) -> None:
        self._what = f"{verb} {recording.name}"
        self._total = recording.stat().st_size if recording.suffix != ".zst" and recording.is_file() else 0
        self._progress = Progress(out, clock)
        self._done = 0
        self.end = self._progress.end

    def advance(self, count: int) -> None:
        """So many bytes more are read."""
        self._done += count
        if self._total:
            share = min(self._done / self._total, 1)
            self._progress.at("{}: {:.0%} of {:,.0f} MiB", self._what, share, self._total / _MIB)
        else:
            self._progress.at("{}: {:,.0f} MiB", self._what, self._done / _MIB)
