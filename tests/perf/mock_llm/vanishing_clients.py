"""Ten thousand clients connect, half of them ask, all vanish; then some ask for a lot and never read. What is left?

`python -m perf.mock_llm.vanishing_clients`
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import httpx
from rich.console import Console
from rich.table import Table

from perf.mock_llm.stream_load import request_bytes

SETTLE_SECONDS = 5.0
SILENT_SECONDS = 2.0  # in which the server could write on, if it did not mind
LARGE_PIECES, LARGE_PIECE = 1_500, "x" * 10_000  # as much as a scenario may hold
SCENARIO = {
    "name": "slow",
    "rules": [
        {"name": "large", "match": {"user": "large"}, "reply": [{"text": [LARGE_PIECE] * LARGE_PIECES}]},
        {"name": "slow", "reply": [{"text": "x"}], "timing": {"first_token": "1h"}},
    ],
}


def body(word: str) -> bytes:
    """A request with this word."""
    return json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": word}]}).encode()


async def vanish(port: int, clients: int, workers: int) -> None:
    """Connect and leave, so many times."""
    request = request_bytes("127.0.0.1", port, body("hi"))
    left = iter(range(clients))

    async def work() -> None:
        for number in left:
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                if number % 2:
                    await stream.send(request)

    async with anyio.create_task_group() as tasks:
        for _ in range(workers):
            tasks.start_soon(work)


@contextmanager
def never_reading(port: int, clients: int) -> Iterator[None]:
    """So many clients that ask for fifteen megabytes each and read none of it."""
    with ExitStack() as stack:
        for _ in range(clients):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.sendall(request_bytes("127.0.0.1", port, body("large")))
        time.sleep(SILENT_SECONDS)
        yield


def left_behind(url: str, pid: int, expected: int = 0) -> tuple[int, int, float]:
    """Connections that the server holds besides the one that asks, its open files, its resident memory in MiB.

    The kernel needs a moment to tell of the last ones that left, so it is asked until the number settles.
    """
    connections = -1
    deadline = time.monotonic() + SETTLE_SECONDS
    while connections != expected and time.monotonic() < deadline:
        shown = httpx.get(f"{url}/metrics", trust_env=False).text
        found = re.search(r"mock_llm_connections (\d+)", shown)
        connections = int(found[1]) - 1 if found else -1
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    memory = re.search(r"VmRSS:\s+(\d+) kB", status)
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return connections, files, int(memory[1]) / 1024 if memory else float("nan")


def main() -> None:
    """Run it and print what was there before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--silent", type=int, default=100, help="clients that never read")
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    options = parser.parse_args()
    table = Table("", "connections", "open files", "memory, MiB")
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "slow.yaml"
        scenario.write_text(json.dumps(SCENARIO), encoding="utf-8")
        command = [sys.executable, "-m", "mock_llm", "serve", "--scenario", str(scenario), "--backend", options.backend]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = json.loads(process.stdout.readline())["url"]
                port = int(url.rsplit(":", 1)[1])
                for moment in ("before", "after the first half", "after all"):
                    if moment != "before":
                        anyio.run(vanish, port, options.clients // 2, options.workers)
                    connections, files, memory = left_behind(url, process.pid)
                    table.add_row(moment, str(connections), str(files), f"{memory:.1f}")
                with never_reading(port, options.silent):
                    connections, files, memory = left_behind(url, process.pid, options.silent)
                    moment = f"{options.silent} that never read 15 MB each"
                    table.add_row(moment, str(connections), str(files), f"{memory:.1f}")
                connections, files, memory = left_behind(url, process.pid)
                table.add_row("after these", str(connections), str(files), f"{memory:.1f}")
            finally:
                process.terminate()
    Console().print(table)


if __name__ == "__main__":
    main()
