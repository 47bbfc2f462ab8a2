"""What the gateway adds to the model's first token, in one run.

    PYTHONPATH=libs:services:tests python -m perf.gateway.first_token --requests 200

One client asks the model itself and through the gateway, in turns. Both times are from sending the request to having
the first piece of the answer; the gateway authenticates, stores the message, tells that the turn has begun, asks the
model, and commits the piece before it is sent. What it adds is the difference of the medians.
"""

import argparse
import json
import statistics
import time
from typing import Any, Final

import httpx2
import uvloop
from websockets.asyncio.client import connect

from perf.gateway import stage

SCENARIO: Final = """
name: first-token
rules:
  - name: answer
    match: {}
    reply: [{text: ["The ", "answer ", "is ", "forty-two."]}]
    timing: {first_token: 0.05, tokens_per_second: 200}
"""
BODY: Final = {"model": "mock", "stream": True, "messages": [{"role": "user", "content": "six times seven"}]}


async def ask_model(http: httpx2.AsyncClient, url: str) -> float:
    """Milliseconds to the first piece, from the model itself."""
    began = time.perf_counter()
    found = 0.0
    async with http.stream("POST", f"{url}/chat/completions", json=BODY) as response:
        async for chunk in response.aiter_bytes():
            if not found and b'"content":"The ' in chunk.replace(b'": "', b'":"'):
                found = (time.perf_counter() - began) * 1000
    return found


async def ask_gateway(websocket: Any, thread: str) -> float:
    """Milliseconds to the first piece, through the gateway."""
    message = json.dumps({"type": "user_message", "content": "six times seven", "thread_id": thread})
    began = time.perf_counter()
    found = 0.0
    await websocket.send(message)
    while True:
        frame = str(await websocket.recv())
        if not found and frame.startswith('{"type":"partial_result"'):
            found = (time.perf_counter() - began) * 1000
        if frame.startswith('{"type":"agent_completed"'):
            return found
        if frame.startswith(('{"type":"error_event"', '{"type":"busy"')):
            raise RuntimeError(frame)


async def run(server: stage.Server, llm: str, requests: int, warm_up: int) -> tuple[list[float], list[float]]:
    direct, through = [], []
    async with (
        httpx2.AsyncClient(headers={"Authorization": "Bearer any"}) as http,
        connect(f"{server.ws_base}/ws", additional_headers=stage.headers("alice"), compression=None) as websocket,
    ):
        await websocket.recv()
        for number in range(warm_up + requests):
            direct.append(await ask_model(http, llm))
            through.append(await ask_gateway(websocket, f"t{number}"))
    return direct[warm_up:], through[warm_up:]


def main() -> None:
    """Run both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=10, help="requests before those, which are not counted")
    options = parser.parse_args()
    stage.stay_on_the_clients_core()
    with (
        stage.database() as database,
        stage.model(SCENARIO) as llm,
        stage.gateway(database.dsn, llm) as server,
    ):
        stage.say(f"{options.requests} requests of each side, in turns")
        direct, through = uvloop.run(run(server, llm, options.requests, options.warm_up))

    def centiles(times: list[float]) -> list[float]:
        cuts = statistics.quantiles(times, n=100)
        return [statistics.median(times), cuts[89], cuts[98]]

    model, gateway = centiles(direct), centiles(through)
    rows = {"model": model, "gateway": gateway, "added": [b - a for a, b in zip(model, gateway, strict=True)]}
    stage.print_table(
        f"first token of {options.requests} answers, ms",
        ["p50", "p90", "p99"],
        [(name, [f"{value:.2f}" for value in values]) for name, values in rows.items()],
    )


if __name__ == "__main__":
    main()
