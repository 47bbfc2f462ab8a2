"""`streamproof` as it runs from a shell, but in this process: a new interpreter would take longer than the command."""

import io
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from event_capture.command.app import run
from event_capture.recording import encode_record
from event_capture.records import Record


@dataclass(frozen=True)
class Finished:
    """How the command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def streamproof(*arguments: str | Path) -> Finished:
    """Run the command to its end."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        run([str(argument) for argument in arguments])
    said = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        said.append(stream.read())
    return Finished(int(left.value.code or 0), *said)


def write(path: Path, records: Iterable[Record]) -> Path:
    """Write a recording."""
    path.write_bytes(b"".join(encode_record(record) + b"\n" for record in records))
    return path
