"""The command `streamproof` in this process: for tests of what is built around it."""

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Finished:
    """How the command ended, and what it said."""

    returncode: int
    """An `ExitCode`."""
    stdout: str
    stderr: str


def streamproof(*arguments: str | os.PathLike[str]) -> Finished:
    """Run the command to its end, as from a shell. A new interpreter would take longer than most commands do.

    Standard output and error of the whole process are caught while it runs: not for use beside other threads that
    print. Commands that wait for a signal (`replay`) do not end here.

    Args:
        arguments: what follows the command's name.
    """
    from event_capture.command.app import run

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            run([os.fspath(argument) for argument in arguments])
        except SystemExit as left:
            status = left.code
    said = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        said.append(stream.read())
    return Finished(status if isinstance(status, int) else 0, *said)
