"""The command `streamproof-demo`.

Exit codes: 0 the stream held its contract, 1 it did not, 2 the command line is wrong.
"""

import json
import logging
import os
import signal
import sys
from enum import StrEnum
from typing import Annotated, Final

import anyio
import structlog
import typer
import uvloop

from demo.chat import BREAKS_OFF, run_chat
from demo.house import House, running_house
from event_capture.errors import EventCaptureError
from event_capture.report.model import timelines_of
from event_capture.report.text import render_text
from gateway.errors import GatewayError
from mock_llm.errors import MockModelError

DEFAULT_MESSAGE: Final = "Analyse my system performance"

app: Final = typer.Typer(name="streamproof-demo", add_completion=False, pretty_exceptions_enable=False)


class Backend(StrEnum):
    """Which event loop runs everything."""

    ASYNCIO = "asyncio"
    TRIO = "trio"


def main() -> None:
    """Entry of the console script."""
    app()


@app.command()
def demo(
    message: Annotated[str, typer.Argument(help="What the user says.")] = DEFAULT_MESSAGE,
    fail: Annotated[bool, typer.Option("--fail", help="Let the model break off in the middle of its answer.")] = False,
    backend: Annotated[Backend, typer.Option(help="Event loop that runs everything.")] = Backend.ASYNCIO,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the services up after the chat, until Ctrl-C, and print their URLs.")
    ] = False,
) -> None:
    """Run one chat through mock model, gateway and capture, and print the validation report.

    Both services listen on free loopback ports; the database lives in a temporary folder. Exit code 0 when the
    stream held its contract, 1 when it did not.
    """
    # What the services log of a turn that fails on purpose would stand in the middle of the report.
    logging.getLogger("gateway").setLevel(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    content = f"{message}, {BREAKS_OFF}" if fail else message
    options = {"loop_factory": uvloop.new_event_loop} if backend is Backend.ASYNCIO else {}
    try:
        passed = anyio.run(_demo, content, keep, backend=backend.value, backend_options=options)
    except* (EventCaptureError, GatewayError, MockModelError, OSError) as errors:
        for error in _leaves(errors):
            typer.echo(f"streamproof-demo: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if passed else 1)


async def _demo(content: str, keep: bool) -> bool:
    async with running_house() as house:
        chat = await run_chat(house, content, _say)
        _say("")
        timelines = timelines_of(chat.records, chat.contract.vocabulary)
        _say(render_text(chat.report, timelines, colour=_wants_colour()))
        if keep:
            await _keep(house)
    return chat.report.passed


async def _keep(house: House) -> None:
    """Print where the services are and leave them up until a signal comes."""
    addresses = {
        "gateway": house.gateway_url,
        "websocket": house.ws_url,
        "mock_llm": house.model_url,
        "token": house.token("you"),
    }
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        _say(json.dumps(addresses))
        async for _ in signals:
            return


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wants_colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The plain exceptions of a group, however deep they lie."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
