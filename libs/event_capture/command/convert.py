"""`streamproof import` and `streamproof export`: recordings of other tools in, recordings for other tools out."""

from pathlib import Path
from typing import Annotated

import typer

from event_capture.command.reading import counting, read_noting
from event_capture.command.running import note
from event_capture.recording import Redaction
from event_capture.recording.foreign import LineShape
from event_capture.recording.formats import Source, read_foreign, write_recording
from event_capture.recording.redaction import DEFAULT_FIELDS


def import_recording(
    source: Annotated[Path, typer.Argument(help="HAR (Chrome, Playwright), saved server-sent events, JSON lines.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Recording to write. Must not exist.")],
    form: Annotated[Source, typer.Option("--format", "-f", help="What the source is.")] = Source.AUTO,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="PATH", help="JSON lines: where the event stands, like `payload.raw`."),
    ] = None,
    time: Annotated[
        list[str] | None, typer.Option("--time", metavar="PATH", help="JSON lines: where the time stands.")
    ] = None,
    direction: Annotated[
        list[str] | None, typer.Option("--direction", metavar="PATH", help="JSON lines: where the direction stands.")
    ] = None,
    connection: Annotated[
        list[str] | None, typer.Option("--connection", metavar="PATH", help="JSON lines: where the connection stands.")
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="PATH", help="JSON lines: where the user stands.")
    ] = None,
    redact: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Field to redact, besides the usual ones. Repeatable.")
    ] = None,
) -> None:
    """Turn a file of another tool into a recording."""
    usual = LineShape()
    shape = LineShape(
        time=tuple(time or usual.time),
        direction=tuple(direction or usual.direction),
        data=tuple(data or usual.data),
        connection=tuple(connection or usual.connection),
        user=tuple(user or usual.user),
    )
    redaction = Redaction(fields=DEFAULT_FIELDS | set(redact or ()))
    foreign = read_foreign(source, form, shape=shape, redaction=redaction)
    count = write_recording(counting(foreign, source, "importing"), output)
    note(f"{count} records in {output}")


def export_recording(
    recording: Annotated[Path, typer.Argument(help="Recording, JSON lines, also compressed (.zst).")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; its suffix says the form: .har, .jsonl, .jsonl.zst.")
    ],
) -> None:
    """Write a recording for another tool, or compress it."""
    count = write_recording(read_noting(recording, "exporting"), output)
    note(f"{count} records in {output}")
