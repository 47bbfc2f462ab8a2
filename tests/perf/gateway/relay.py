"""Messages per second that reach clients, beside a bare Starlette echo under the same uvicorn, in one run.

    PYTHONPATH=libs:services:tests python -m perf.gateway.relay --clients 100 --seconds 5 --rounds 3

    echo               each client has one message of 92 bytes under way; the server sends it back
    gateway, channel   a publisher posts messages of 92 bytes to a channel; the server sends each to every client
    gateway, log       a model streams answers of 200 pieces to each client, as fast as it can; every piece is an event
                       that is committed to PostgreSQL before it is sent. Counted are the events of whole turns, those
                       included that were merged for a client with too much unread

Only what arrives at a client is counted. The server has one core; clients, model and database the other.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httpx2
import uvloop

from perf.gateway import stage
from perf.gateway.sockets import CountingSocket, open_socket

CHANNEL: Final = "guide"
PIECES: Final = 200
TURN: Final = PIECES + 3
"""Events of a turn: accepted, started, the pieces, completed."""
POSTS_AT_ONCE: Final = 4
SCENARIO: Final = f"""
name: stream
rules:
  - name: answer
    match: {{}}
    reply: [{{text: {json.dumps(["word "] * PIECES)}}}]
"""


@dataclass(frozen=True)
class Result:
    """One side of one round."""

    per_second: float
    cpu_us: float
    """Processor time of the server for one message that arrived."""


async def measure(server: stage.Server, arrived: Callable[[], int], seconds: float) -> Result:
    """Count what arrives from now on."""
    before, cpu, began = arrived(), server.cpu_seconds, time.perf_counter()
    await asyncio.sleep(seconds)
    count, elapsed = arrived() - before, time.perf_counter() - began
    return Result(count / elapsed, (server.cpu_seconds - cpu) * 1e6 / max(count, 1))


async def echo_side(server: stage.Server, number: int, seconds: float) -> Result:
    clients = [await open_socket(f"{server.ws_base}/ws") for _ in range(number)]
    message = json.dumps({"type": "echo", "content": "x" * 62}).encode()
    for client in clients:

        def send_again(count: int, client: CountingSocket = client) -> None:
            for _ in range(count):
                client.send(message)

        client.on_frames = send_again
        client.send(message)
    return await measure(server, lambda: sum(client.frames for client in clients), seconds)


async def channel_side(server: stage.Server, number: int, seconds: float) -> Result:
    clients = [await open_socket(f"{server.ws_base}/ws", stage.headers(f"u{index}")) for index in range(number)]
    for client in clients:
        client.send(json.dumps({"type": "subscribe", "channel": CHANNEL}).encode())
        client.send(json.dumps({"type": "ping", "nonce": "joined"}).encode())
    await until(lambda: all(client.frames >= 2 for client in clients))
    message = {"content": "x" * 92}
    url = f"{server.url}/channels/{CHANNEL}/messages"
    async with (
        httpx2.AsyncClient(headers=stage.headers("publisher", "publisher")) as http,
        asyncio.TaskGroup() as group,
    ):

        async def post() -> None:
            while True:
                due = min(client.frames for client in clients) + 1
                (await http.post(url, json=message)).raise_for_status()
                # Never far ahead of the slowest client, or it would be evicted.
                await until(lambda due=due: min(client.frames for client in clients) >= due)  # type: ignore[misc]  # a default

        posts = [group.create_task(post()) for _ in range(POSTS_AT_ONCE)]
        result = await measure(server, lambda: sum(client.frames for client in clients), seconds)
        for task in posts:
            task.cancel()
    return result


async def log_side(server: stage.Server, number: int, seconds: float) -> Result:
    clients = [await open_socket(f"{server.ws_base}/ws", stage.headers(f"u{index}")) for index in range(number)]
    message = json.dumps({"type": "user_message", "content": "tell me", "thread_id": "talk"}).encode()
    turns = 0
    for client in clients:

        def ask_again(_count: int, client: CountingSocket = client) -> None:
            nonlocal turns
            if b"agent_completed" in client.last[:40]:
                turns += 1
                client.send(message)

        client.on_frames = ask_again
        client.send(message)
    return await measure(server, lambda: turns * TURN, seconds)


async def until(holds: Callable[[], bool]) -> None:
    """Give the loop away until it holds."""
    while not holds():  # noqa: ASYNC110  this loop has nothing else to do, and an event per frame would slow it down
        await asyncio.sleep(0)


def main() -> None:
    """Run all sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a round for each side")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    stage.stay_on_the_clients_core()

    def echo() -> Result:
        with stage.peer("echo_peer") as server:
            return uvloop.run(echo_side(server, options.clients, options.seconds))

    def relay(side: Callable[[stage.Server, int, float], Coroutine[Any, Any, Result]]) -> Result:
        with stage.gateway(database.dsn, llm) as server:
            return uvloop.run(side(server, options.clients, options.seconds))

    with stage.database() as database, stage.model(SCENARIO) as llm:
        results: dict[str, list[Result]] = stage.in_turns(
            options.rounds,
            {
                "echo": echo,
                "gateway, channel": partial(relay, channel_side),
                "gateway, log": partial(relay, log_side),
            },
        )
    rates = {name: statistics.median(one.per_second for one in result) for name, result in results.items()}
    costs = {name: statistics.median(one.cpu_us for one in result) for name, result in results.items()}
    stage.print_table(
        f"{options.clients} clients, one core for the server",
        ["messages/s", "of the echo", "CPU us/message"],
        [(name, [f"{rate:,.0f}", f"{rate / rates['echo']:.2f}", f"{costs[name]:.1f}"]) for name, rate in rates.items()],
    )


if __name__ == "__main__":
    main()
