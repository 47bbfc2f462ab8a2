"""`streamproof`: record, check and explain streams of events."""

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from event_capture.command import contract_commands, io_commands, report
from event_capture.command.check import check
from event_capture.command.exit_codes import EPILOG, ExitCode
from event_capture.errors import (
    BadInputError,
    ConnectionEndedError,
    ConnectionFailedError,
    EventCaptureError,
    SendTimeoutError,
)


def build() -> typer.Typer:
    """The command with all its subcommands."""
    app = typer.Typer(
        name="streamproof",
        help="Prove what a real-time chat or agent backend streams: record it, check it, explain it.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.command(epilog=EPILOG)(check)
    for module in (report, contract_commands, io_commands):
        module.register(app)
    return app


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit status. An error is one line, never a traceback.

    Args:
        arguments: what follows the command's name. None: what the process was started with.

    Raises:
        SystemExit: always; its code is an `ExitCode`.
    """
    _write_what_can_be_written()
    try:
        build()(args=arguments, prog_name="streamproof")
    except BadInputError as error:
        _leave(str(error), ExitCode.BAD_INPUT)
    except (ConnectionFailedError, ConnectionEndedError, SendTimeoutError) as error:
        _leave(str(error), ExitCode.NO_CONNECTION)
    except EventCaptureError as error:
        _leave(str(error), ExitCode.BAD_INPUT)
    except OSError as error:
        _leave(f"{error.filename or 'cannot read or write'}: {error.strerror or error}", ExitCode.BAD_INPUT)
    sys.exit(int(ExitCode.HOLDS))


def _write_what_can_be_written() -> None:
    """Streams hold what a terminal's encoding may not: better a question mark than no report."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _leave(message: str, code: ExitCode) -> NoReturn:
    sys.stderr.write(f"streamproof: {' '.join(message.split())}\n")
    sys.exit(int(code))
