"""`streamproof sample`: a recording to begin with."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from event_capture.command.running import note
from event_capture.recording.formats import write_recording
from event_capture.samples import sample_recording, samples


def sample(
    name: Annotated[
        str | None, typer.Argument(help="Name of a vocabulary. Without it, all samples are listed.")
    ] = None,
    bad: Annotated[bool, typer.Option("--bad", help="The one in which something broke.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Recording to write: .jsonl, .jsonl.zst or .har. Must not exist."),
    ] = None,
) -> None:
    """Write a sample recording, good or bad: something to check, to replay and to look at."""
    if name is None:
        for each in samples():
            sys.stdout.write(f"{each.name}\n  {each.about}\n  --bad: {each.bad}\n")
        return
    records = sample_recording(name, bad=bad)
    path = output if output is not None else Path(f"{name}{'-bad' if bad else ''}.jsonl")
    note(f"{write_recording(records, path)} records in {path}")
