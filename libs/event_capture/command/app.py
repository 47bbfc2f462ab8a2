"""`streamproof`: record, check and explain streams of events."""

import sys
from typing import Final

import typer

from event_capture.command import contract_commands, io_commands, report
from event_capture.command.check import check
from event_capture.command.exit_codes import EPILOG, ExitCode
from event_capture.errors import BadInputError, ConnectionFailedError, EventCaptureError

app: Final = typer.Typer(
    name="streamproof",
    help="Prove what a real-time chat or agent backend streams: record it, check it against a contract, explain it.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _streamproof() -> None:
    """Commands stand below this one, also while there is only one of them."""


app.command(epilog=EPILOG)(check)


def run() -> None:
    """Run the command and leave the process with its exit status. An error is one line, never a traceback."""
    for module in (report, contract_commands, io_commands):
        module.register(app)
    try:
        app()
    except BadInputError as error:
        _leave(str(error), ExitCode.BAD_INPUT)
    except ConnectionFailedError as error:
        _leave(str(error), ExitCode.NO_CONNECTION)
    except EventCaptureError as error:
        _leave(str(error), ExitCode.BAD_INPUT)
    except OSError as error:
        _leave(f"{error.filename or 'cannot read or write'}: {error.strerror or error}", ExitCode.BAD_INPUT)


def _leave(message: str, code: ExitCode) -> None:
    sys.stderr.write(f"streamproof: {' '.join(message.split())}\n")
    sys.exit(int(code))
