"""What the commands that run an event loop share: the choice of one, an end by signal, a word on progress."""

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final

import anyio
from anyio.abc import TaskStatus

from event_capture.drivers.background import Background

_REFRESH_SECONDS: Final = 0.2


class Backend(StrEnum):
    """Which event loop runs."""

    ASYNCIO = "asyncio"
    TRIO = "trio"


def note(text: str) -> None:
    """Tell the person at the terminal; standard output is for results."""
    sys.stderr.write(f"streamproof: {text}\n")


@asynccontextmanager
async def until_signal(stop: anyio.Event) -> AsyncIterator[None]:
    """While the block runs, SIGINT and SIGTERM set `stop` instead of ending the process."""

    async def watch(task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                stop.set()

    async with Background() as background:
        await background.start(watch)
        yield


@asynccontextmanager
async def progress(text: Callable[[], str]) -> AsyncIterator[None]:
    """While the block runs, show what `text` says on a terminal; nothing where there is none."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    async def refresh(task_status: TaskStatus[None]) -> None:
        task_status.started()
        while True:
            status.update(text())
            await anyio.sleep(_REFRESH_SECONDS)

    with Console(stderr=True).status(text()) as status:
        async with Background() as background:
            await background.start(refresh)
            yield
