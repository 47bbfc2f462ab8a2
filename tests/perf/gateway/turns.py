"""Turns per second and the delay of the first event, beside a python-socketio server, in one run.

    PYTHONPATH=libs:services python tests/perf/gateway/turns.py --turns 1000 --concurrency 200 --rounds 3

Both sides serve the same turn over WebSocket: the same scripted model (a process of its own) thinks, calls a tool and
answers, and what is said is committed to PostgreSQL. The server has one core, the client and the model the other.
Sides take turns within a round, each with a fresh process; the table shows medians over the rounds. `first event` is
from sending a message to `agent_started`. The gateway commits every event before it sends it, the peer only messages.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import connect

from gateway.identity.tokens import TokenIssuer
from service_fixtures.provision import Provision
from service_fixtures.settings import ServiceSettings

ROOT: Final = Path(__file__).resolve().parents[3]
KEY: Final = "k" * 32
SCENARIO: Final = """
name: bench
rules:
  - name: told
    match: {tool_result: true}
    reply: [{text: ["The answer is forty-two."]}]
  - name: ask
    match: {}
    reply: [{reasoning: ["Let me compute."]}, {tool_call: {name: calculator, arguments: {expression: "6 * 7"}}}]
"""


@dataclass(frozen=True)
class Result:
    """One side of one round."""

    turns_per_second: float
    first_ms: list[float]
    cpu_ms: float
    """Processor time of the server for one turn: the figure that a busy machine distorts least."""
    megabytes: float


def pinned(core: int) -> list[str]:
    """A prefix that keeps a process on one core, where the machine has several."""
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


@contextmanager
def process(arguments: list[str], *, core: int, **variables: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A server that prints one JSON line when it is ready."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), **variables}
    with subprocess.Popen(
        [*pinned(core), sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            yield child.pid, json.loads(child.stdout.readline())
        finally:
            child.terminate()


class GatewayUser:
    """Speaks the gateway's JSON."""

    def __init__(self, url: str, token: str) -> None:
        self.url = f"ws{url.removeprefix('http')}/ws"
        self.headers = {"Authorization": f"Bearer {token}"}

    async def greet(self, websocket: Any) -> None:
        await websocket.recv()

    def message(self, thread: str) -> str:
        return json.dumps({"type": "user_message", "content": "six times seven", "thread_id": thread})

    def name(self, frame: str) -> str:
        # Reading the whole frame is the client's cost, not the server's; the name is all that is wanted.
        return frame[9 : frame.index('"', 9)]


class SocketIOUser:
    """Speaks Socket.IO over its WebSocket transport."""

    def __init__(self, url: str) -> None:
        self.url = f"ws{url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket"
        self.headers: dict[str, str] = {}

    async def greet(self, websocket: Any) -> None:
        await websocket.recv()
        await websocket.send("40")
        await websocket.recv()

    def message(self, thread: str) -> str:
        return "42" + json.dumps(["chat_message", {"content": "six times seven", "session_id": thread}])

    def name(self, frame: str) -> str:
        return frame[4 : frame.index('"', 4)] if frame.startswith("42") else ""


async def drive(user: GatewayUser | SocketIOUser, turns: int, concurrency: int) -> tuple[float, list[float]]:
    """Run `turns` turns, `concurrency` at a time, and return the seconds it took and the delays of first events."""
    delays: list[float] = []
    left = iter(range(turns))
    begin = asyncio.Event()
    ready = 0
    all_ready = asyncio.Event()

    async def client() -> None:
        nonlocal ready
        async with connect(user.url, additional_headers=user.headers, compression=None, max_queue=None) as websocket:
            await user.greet(websocket)
            ready += 1
            if ready == concurrency:
                all_ready.set()
            await begin.wait()
            for number in left:
                sent = time.perf_counter()
                await websocket.send(user.message(f"t{number}"))
                while (name := user.name(str(await websocket.recv()))) != "agent_completed":
                    if name == "agent_started":
                        delays.append((time.perf_counter() - sent) * 1000)
                    if name in {"error_event", "busy"}:
                        raise RuntimeError(name)

    tasks = [asyncio.create_task(client()) for _ in range(concurrency)]
    await all_ready.wait()
    began = time.perf_counter()
    begin.set()
    await asyncio.gather(*tasks)
    return time.perf_counter() - began, delays


def memory_of(pid: int) -> float:
    """Resident megabytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def cpu_seconds_of(pid: int) -> float:
    """Processor time that a process has used, in its own code and in the kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(pid: int, user: GatewayUser | SocketIOUser, turns: int, concurrency: int) -> Result:
    """Drive one server that is ready."""
    before = cpu_seconds_of(pid)
    seconds, delays = asyncio.run(drive(user, turns, concurrency))
    cpu_ms = (cpu_seconds_of(pid) - before) * 1000 / turns
    return Result(turns / seconds, delays, cpu_ms, memory_of(pid))


def gateway_round(dsn: str, llm: str, turns: int, concurrency: int) -> Result:
    issuer = TokenIssuer({"main": KEY.encode()}, issuer="streamproof", audience="streamproof-gateway")
    arguments = ["-m", "gateway", "serve", "--port", "0", "--database-url", dsn, "--llm-base-url", llm]
    variables = {"GATEWAY_JWT_KEYS": f"main={KEY}", "GATEWAY_LOG_LEVEL": "error", "GATEWAY_QUEUE_SIZE": "1000"}
    variables |= {"GATEWAY_RUNS_PER_USER": "1000"}
    with process(arguments, core=0, **variables) as (pid, ready):
        return measure(pid, GatewayUser(ready["url"], issuer.mint("bench")), turns, concurrency)


def peer_round(dsn: str, llm: str, turns: int, concurrency: int) -> Result:
    script = str(Path(__file__).with_name("socketio_peer.py"))
    with process([script, dsn, llm], core=0) as (pid, ready):
        return measure(pid, SocketIOUser(ready["url"]), turns, concurrency)


def show(name: str, results: list[Result]) -> str:
    rate = statistics.median(result.turns_per_second for result in results)
    p50 = statistics.median(statistics.median(result.first_ms) for result in results)
    p99 = statistics.median(statistics.quantiles(result.first_ms, n=100)[98] for result in results)
    memory = statistics.median(result.megabytes for result in results)
    cpu = statistics.median(result.cpu_ms for result in results)
    return f"{name:<24}{rate:>10.1f}{cpu:>14.1f}{p50:>14.1f}{p99:>14.1f}{memory:>10.0f}"


def main() -> None:
    """Run both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sides: dict[str, list[Result]] = {"gateway": [], "python-socketio": []}
    with ExitStack() as stack:
        provision = stack.enter_context(Provision(ServiceSettings.from_environment(None, ROOT)))
        dsn = provision.postgres.dsn
        scenario = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bench.yaml"
        scenario.write_text(SCENARIO, encoding="utf-8")
        arguments = ["-m", "mock_llm", "serve", "--scenario", str(scenario), "--port", "0"]
        _, ready = stack.enter_context(process(arguments, core=1))
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(0, {1})
        for number in range(options.rounds):
            sys.stderr.write(f"round {number + 1} of {options.rounds}\n")
            for name, run in (("gateway", gateway_round), ("python-socketio", peer_round)):
                sides[name].append(run(dsn, f"{ready['url']}/v1", options.turns, options.concurrency))
    # What a benchmark is for goes to stdout; progress has gone to stderr.
    print(f"{options.turns} turns of 7 events, {options.concurrency} at a time, PostgreSQL, one core for the server")
    print(f"{'':<24}{'turns/s':>10}{'CPU ms/turn':>14}{'first p50 ms':>14}{'first p99 ms':>14}{'MiB':>10}")
    for name, results in sides.items():
        print(show(name, results))


if __name__ == "__main__":
    main()
