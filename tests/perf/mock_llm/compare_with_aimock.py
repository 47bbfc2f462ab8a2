"""The mock model beside aimock 1.43.0, in one run on one machine: `python -m perf.mock_llm.compare_with_aimock`.

Each server gets one core, the load client another. The rounds alternate, so that a noisy neighbour hurts both alike.
Needs npm; the package is installed into a cache folder on the first run.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import uvloop
from rich.console import Console
from rich.table import Table

from perf.mock_llm.stream_load import LoadResult, run_load, run_paced

AIMOCK: Final = "@copilotkit/aimock"
AIMOCK_VERSION: Final = "1.43.0"
PIECES: Final = 100
PIECE_CHARACTERS: Final = 20
EVENTS: Final = PIECES + 3  # role, finish and [DONE] beside the text
FIRST_TOKEN: Final = 0.2
PER_SECOND: Final = 100
START_SECONDS: Final = 30.0
# Whoever takes part runs before other work on the machine, where that is allowed: else its waits would be measured.
FIRST: Final = 1

_PIECE: Final = "the quick brown fox "
_BODY: Final = {"model": "mock-model", "stream": True}


@final
@dataclass(frozen=True, slots=True)
class Peer:
    """One server under load. `first_piece` is when its first piece of text is due, in seconds."""

    name: str
    port: int
    pid: int
    first_piece: float

    def peak_mib(self) -> float:
        """Highest resident memory so far."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    def idle_mib(self) -> float:
        """Resident memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")


def install_aimock(cache: Path) -> Path:
    """The command line script of aimock, installed into the cache folder if it is not there."""
    script = cache / "node_modules" / AIMOCK / "dist" / "cli.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("npm is missing; install Node.js 20 to compare with aimock")
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(cache), "--no-audit", "--no-fund", f"{AIMOCK}@{AIMOCK_VERSION}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return script


def write_fixtures(folder: Path) -> tuple[Path, Path]:
    """The same two answers for both servers: at once, and paced."""
    text = _PIECE * PIECES
    profile = {"ttft": int(FIRST_TOKEN * 1000), "tps": PER_SECOND, "jitter": 0}
    theirs = folder / "fixtures.json"
    fixtures = [
        {"match": {"userMessage": "at once"}, "response": {"content": text}},
        {"match": {"userMessage": "paced"}, "response": {"content": text}, "streamingProfile": profile},
    ]
    theirs.write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")
    ours = folder / "scenario.yaml"
    pieces = [_PIECE] * PIECES
    # aimock counts a piece as a token, so the pace is given per piece.
    timing = {"first_token": FIRST_TOKEN, "chunk_delay": 1 / PER_SECOND}
    rules = [
        {"name": "at once", "match": {"user": "at once"}, "reply": [{"text": pieces}]},
        {"name": "paced", "match": {"user": "paced"}, "reply": [{"text": pieces}], "timing": timing},
    ]
    ours.write_text(json.dumps({"name": "benchmark", "loop_limit": 0, "rules": rules}), encoding="utf-8")
    return ours, theirs


@contextmanager
def pinned(command: list[str], core: int) -> Iterator[subprocess.Popen[str]]:
    """A server process on one core; it inherits the client's right to run first."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    os.sched_setaffinity(process.pid, {core})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def go_first() -> bool:
    """Run before other work, this process and all that it starts; False where the system does not allow it."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(FIRST))
    except PermissionError:
        return False
    return True


def busy_seconds() -> float:
    """Processor time that the whole machine has used, in seconds."""
    user, nice, system, _idle, _waiting, *rest = map(
        int, Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    )
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Return once something listens."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing listens on port {port} after {START_SECONDS:g} s") from None
            time.sleep(0.05)


@contextmanager
def both(folder: Path, script: Path, core: int) -> Iterator[tuple[Peer, Peer]]:
    """Our server and theirs, ready."""
    ours, theirs = write_fixtures(folder)
    port = free_port()
    node = shutil.which("node") or "node"
    our_command = [sys.executable, "-m", "mock_llm", "serve", "--scenario", str(ours), "--port", "0"]
    their_command = [
        node, str(script), "-p", str(port), "-f", str(theirs), "-c", str(PIECE_CHARACTERS), "--log-level", "silent",
    ]  # fmt: skip
    with pinned(our_command, core) as our_process, pinned(their_command, core) as their_process:
        assert our_process.stdout is not None
        our_port = int(json.loads(our_process.stdout.readline())["url"].rsplit(":", 1)[1])
        wait_for_port(port)
        # aimock sends the role as a paced piece of its own, so its text begins one step later.
        yield (
            Peer("mock-llm", our_port, our_process.pid, FIRST_TOKEN),
            Peer("aimock", port, their_process.pid, FIRST_TOKEN + 1 / PER_SECOND),
        )


def load(peer: Peer, connections: int, seconds: float) -> LoadResult:
    """One round of streams without pauses."""
    result = uvloop.run(
        run_load("127.0.0.1", peer.port, request_body("at once"), connections=connections, seconds=seconds)
    )
    if result.events != result.requests * EVENTS:
        raise SystemExit(f"{peer.name}: {result.events} events in {result.requests} streams, {EVENTS} expected in each")
    return result


def request_body(word: str) -> bytes:
    """A request for the answer that both servers give to a word."""
    return json.dumps({**_BODY, "messages": [{"role": "user", "content": word}]}).encode()


def pacing_errors(peer: Peer, streams: int, *, new_connections: bool = False) -> list[float]:
    """How far each piece was from its time, in milliseconds, sorted."""
    warm_up = None if new_connections else request_body("at once")
    moments = run_paced("127.0.0.1", peer.port, request_body("paced"), streams=streams, warm_up=warm_up)
    errors = [
        abs(moment - (peer.first_piece + index / PER_SECOND)) * 1000
        for stream in moments
        for index, moment in enumerate(stream)
    ]
    if len(errors) != streams * PIECES:
        raise SystemExit(f"{peer.name}: {len(errors)} pieces in {streams} streams, {PIECES} expected in each")
    return sorted(errors)


def percentile(values: list[float], share: float) -> float:
    """A percentile of sorted values."""
    return values[min(int(len(values) * share), len(values) - 1)]


def main() -> None:
    """Run every comparison and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server; the table shows the median")
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "streamproof" / "aimock", help="where npm installs"
    )
    options = parser.parse_args()
    script = install_aimock(options.cache)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed, one for the server and one for the load")
    os.sched_setaffinity(0, {cores[1]})
    first = go_first()
    began, used = time.monotonic(), busy_seconds()
    table = Table("measure", "mock-llm", f"aimock {AIMOCK_VERSION}", "factor")
    with tempfile.TemporaryDirectory() as folder, both(Path(folder), script, cores[0]) as (ours, theirs):
        table.add_row("memory when idle, MiB", f"{ours.idle_mib():.0f}", f"{theirs.idle_mib():.0f}", "")
        for connections in (50, 200):
            rates: dict[str, list[float]] = {ours.name: [], theirs.name: []}
            for _ in range(options.rounds):
                for peer in (ours, theirs):
                    rates[peer.name].append(load(peer, connections, options.seconds).requests_per_second)
                    Console(stderr=True).print(f"{peer.name} x{connections}: {rates[peer.name][-1]:,.0f} requests/s")
            mine, other = (statistics.median(rates[peer.name]) for peer in (ours, theirs))
            table.add_row(
                f"requests/s, {EVENTS} events, {connections} streams", f"{mine:,.0f}", f"{other:,.0f}",
                f"{mine / other:.2f}",
            )  # fmt: skip
        for streams, new in ((1, False), (200, False), (200, True)):
            rounds: dict[str, list[list[float]]] = {ours.name: [], theirs.name: []}
            for _ in range(options.rounds):
                for peer in (ours, theirs):
                    rounds[peer.name].append(pacing_errors(peer, streams, new_connections=new))
            for share, word in ((0.5, "p50"), (0.99, "p99")):
                mine, other = (
                    statistics.median(percentile(errors, share) for errors in rounds[peer.name])
                    for peer in (ours, theirs)
                )
                table.add_row(
                    f"pacing error {word}, ms, {streams} streams{', new connections' if new else ''}",
                    f"{mine:.1f}",
                    f"{other:.1f}",
                    f"{other / mine:.1f}" if mine >= 1 else "",
                )
        table.add_row("memory at its peak, MiB", f"{ours.peak_mib():.0f}", f"{theirs.peak_mib():.0f}", "")
    busy = (busy_seconds() - used) / (time.monotonic() - began) / (os.cpu_count() or 1)
    Console().print(table)
    Console().print(
        f"Both servers and the client {'ran before' if first else 'shared the machine with'} other work; "
        f"the processors were {busy:.0%} busy in all.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
