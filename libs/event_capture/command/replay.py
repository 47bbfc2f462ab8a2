"""`streamproof replay`: serve a recording as a gateway."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
import typer
from anyio.abc import TaskStatus

from event_capture.command.reading import note_cut
from event_capture.command.running import Backend, progress, until_signal
from event_capture.drivers.background import Background
from event_capture.recording import read_recording
from event_capture.replay import ConnectionScript, Pace, ReplayServer, scripts_of
from event_capture.wire import Wire


class Time(StrEnum):
    """How time passes in a replay."""

    REAL = "real"
    VIRTUAL = "virtual"


def replay(
    recording: Annotated[Path, typer.Argument(help="Recording, JSON lines, also compressed (.zst).")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    time: Annotated[
        Time, typer.Option(help="real keeps the recorded gaps; virtual has none: as fast as the client reads.")
    ] = Time.REAL,
    speed: Annotated[float, typer.Option(min=0.001, help="Real time, so many times as fast.")] = 1.0,
    wire: Annotated[
        Wire | None, typer.Option(help="What to speak. By default what was spoken on each recorded connection.")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Event loop to run on.")] = Backend.ASYNCIO,
) -> None:
    """Serve a recording over WebSocket, Socket.IO or server-sent events until Ctrl-C.

    Prints one line of JSON with its address when it is ready. Each client gets the next recorded connection. Where the
    recording has a message of the client, the replay waits for one of that name.

    Of a binary or malformed frame a recording holds the beginning, so the replay sends that. Socket.IO is served over
    WebSocket alone, without long polling.
    """
    scripts = scripts_of(read_recording(recording, on_truncated=note_cut(recording)), wire=wire)
    pace = Pace(speed=None) if time is Time.VIRTUAL else Pace(speed=speed)
    anyio.run(_serve, scripts, pace, host, port, backend=str(backend))


async def _serve(scripts: list[ConnectionScript], pace: Pace, host: str, port: int) -> None:
    server = ReplayServer(scripts, pace=pace)
    stop = anyio.Event()

    async def run(task_status: TaskStatus[str]) -> None:
        await server.serve(host, port, task_status=task_status)

    async with until_signal(stop), Background() as background:
        url = await background.start(run)
        sys.stdout.write(msgspec.json.encode({"url": url, "connections": len(scripts)}).decode() + "\n")
        sys.stdout.flush()
        async with progress(lambda: f"{server.statistics.connections} clients, {server.statistics.sent} messages"):
            await stop.wait()
