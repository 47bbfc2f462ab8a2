"""The commands that bring recordings in and out: record, replay, import, export, delays, sample."""

import typer

from event_capture.command.convert import export_recording, import_recording
from event_capture.command.delays import delays
from event_capture.command.exit_codes import EPILOG
from event_capture.command.record import record
from event_capture.command.replay import replay
from event_capture.command.sample import sample


def register(app: typer.Typer) -> None:
    """Add them to the command."""
    app.command(epilog=EPILOG)(record)
    app.command(epilog=EPILOG)(replay)
    app.command(epilog=EPILOG)(delays)
    app.command(epilog=EPILOG)(sample)
    app.command("import", epilog=EPILOG)(import_recording)
    app.command("export", epilog=EPILOG)(export_recording)
