"""Memory of connections that say nothing, beside python-socketio, in one run.

    PYTHONPATH=libs:services:tests python -m perf.gateway.idle --connections 5000

Each connection is authenticated and ready (the gateway has sent `welcome`, python-socketio its namespace's answer). The
figure is the difference of resident memory with and without them, by their number. The clients are one process.
"""

import argparse
import asyncio
import resource
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import uvloop

from perf.gateway import stage
from perf.gateway.sockets import CountingSocket, open_socket

AT_ONCE: Final = 50
"""Handshakes under way at a time."""
MODEL: Final = "http://127.0.0.1:9/v1"
"""Nobody asks it anything."""


@dataclass(frozen=True)
class Result:
    """One side."""

    empty_kib: int
    full_kib: int


async def gateway_client(server: stage.Server, headers: dict[str, str]) -> CountingSocket:
    return await ready(await open_socket(f"{server.ws_base}/ws", headers), 1)


async def socketio_client(server: stage.Server, _headers: dict[str, str]) -> CountingSocket:
    client = await ready(await open_socket(f"{server.ws_base}/socket.io/?EIO=4&transport=websocket"), 1)
    client.send(b"40")
    return await ready(client, 2)


async def ready(client: CountingSocket, frames: int) -> CountingSocket:
    """Wait until so many frames have come."""
    if client.frames < frames:
        arrived = asyncio.Event()
        client.on_frames = lambda _: arrived.set() if client.frames >= frames else None
        await arrived.wait()
        client.on_frames = None
    return client


Connect = Callable[[stage.Server, dict[str, str]], Coroutine[Any, Any, CountingSocket]]


async def fill(server: stage.Server, connect: Connect, number: int) -> Result:
    headers = stage.headers("idle")
    # What is loaded with the first connections belongs to none of them.
    for client in [await connect(server, headers) for _ in range(10)]:
        client.close()
    empty = server.memory_kib
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> CountingSocket:
        async with room:
            return await connect(server, headers)

    clients = await asyncio.gather(*(one() for _ in range(number)))
    full = server.memory_kib
    for client in clients:
        client.close()
    return Result(empty, full)


def allow_open_files(number: int) -> None:
    """Raise the limit of this process, and of the servers that it starts, as far as it may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"idle: {wanted} open files are needed and {hard} allowed; raise the limit with ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def side(serve: Callable[[], AbstractContextManager[stage.Server]], connect: Connect, number: int) -> Result:
    with serve() as server:
        return uvloop.run(fill(server, connect, number))


def main() -> None:
    """Run both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=5000)
    options = parser.parse_args()
    allow_open_files(options.connections)
    stage.stay_on_the_clients_core()
    with stage.database() as database:
        dsn = database.dsn
        results: dict[str, list[Result]] = stage.in_turns(
            1,
            {
                "gateway": partial(side, partial(stage.gateway, dsn), gateway_client, options.connections),
                "python-socketio": partial(
                    side,
                    partial(stage.peer, "socketio_peer", dsn, MODEL, "messages"),
                    socketio_client,
                    options.connections,
                ),
            },
        )
    stage.print_table(
        f"{options.connections} idle connections",
        ["MiB before", "MiB with them", "KiB each"],
        [
            (name, [f"{one.empty_kib / 1024:.0f}", f"{one.full_kib / 1024:.0f}", f"{each:.1f}"])
            for name, (one,) in results.items()
            for each in [(one.full_kib - one.empty_kib) / options.connections]
        ],
    )


if __name__ == "__main__":
    main()
