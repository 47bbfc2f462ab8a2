"""`streamproof check`: does a recording satisfy a contract?"""

import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from event_capture.checker import Report
from event_capture.checker.offline import check_recording
from event_capture.command.exit_codes import OF_VERDICT
from event_capture.command.reading import note_cut, reading
from event_capture.contract import Contract, load_contract
from event_capture.recording.bare import read_recorded_or_bare
from event_capture.records import Record
from event_capture.report.json import render_json
from event_capture.report.model import Timeline, timelines_of
from event_capture.report.text import render_text

_SHOWN_RECORDS = 50_000
"""How many records at the start of a recording the timeline is made of."""


class Ending(StrEnum):
    """Whether the stream was seen to its end."""

    AUTO = "auto"
    COMPLETE = "complete"
    CUT = "cut"


class ReportFormat(StrEnum):
    """How the report is written."""

    TEXT = "text"
    JSON = "json"


def check(
    recording: Annotated[
        Path,
        typer.Argument(
            help="Recording, also compressed (.zst), or bare events, one JSON object per line.", show_default=False
        ),
    ],
    contract: Annotated[str, typer.Option("--contract", "-c", help="Name of a built-in contract, or a YAML file.")] = (
        "agent_turn"
    ),
    ending: Annotated[
        Ending,
        typer.Option(help="Was the stream seen to its end? auto: when every connection has a proper close record."),
    ] = Ending.AUTO,
    form: Annotated[ReportFormat, typer.Option("--format", "-f", help="Form of the report.")] = ReportFormat.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report here.")] = None,
    max_events: Annotated[int, typer.Option(min=0, help="Most timeline lines per user in the text report.")] = 200,
) -> None:
    """Check a recording against a contract."""
    wanted = load_contract(contract)
    with reading(recording) as progress:
        report = check_file(recording, wanted, ending, progress)
    timelines = shown_timelines(recording, wanted)
    if form is ReportFormat.JSON:
        text = render_json(report, timelines)
    else:
        text = render_text(report, timelines, colour=output is None and sys.stdout.isatty(), max_events=max_events)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
    raise typer.Exit(int(OF_VERDICT[report.verdict]))


def check_file(
    recording: Path, contract: Contract, ending: Ending, progress: Callable[[int], None] | None = None
) -> Report:
    """Check a recording on disk in bounded memory; a last line that is cut off is noted on standard error.

    Args:
        recording: the file.
        contract: what to check.
        ending: whether the stream was seen to its end.
        progress: called now and then with the bytes read since the last call.

    Raises:
        RecordingError: it cannot be read, or one of its lines is no record.
    """
    complete = None if ending is Ending.AUTO else ending is Ending.COMPLETE
    return check_recording(recording, contract, complete=complete, progress=progress, on_truncated=note_cut(recording))


def shown_timelines(recording: Path, contract: Contract) -> tuple[Timeline, ...]:
    """Timelines of the first records of a recording."""

    def beginning() -> Iterator[Record]:
        yield from islice(read_recorded_or_bare(recording), _SHOWN_RECORDS)

    return timelines_of(beginning(), contract.vocabulary)
