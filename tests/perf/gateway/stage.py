"""What the gateway's benchmarks share: processes on cores of their own, their cost, and the table at the end."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

from gateway.identity.tokens import TokenIssuer
from service_fixtures.provision import Provision
from service_fixtures.settings import ServiceSettings

ROOT: Final = Path(__file__).resolve().parents[3]
SERVER_CORE: Final = 0
"""The server under test has it to itself."""
CLIENT_CORE: Final = 1
"""Clients, model and database share it."""

_KEY: Final = "k" * 32


@final
@dataclass(frozen=True)
class Server:
    """A server under test."""

    pid: int
    url: str

    @property
    def ws_base(self) -> str:
        """The URL with the scheme of WebSockets."""
        return f"ws{self.url.removeprefix('http')}"

    @property
    def memory_kib(self) -> int:
        """Resident memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used, in its own code and in the kernel's."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@final
class Database:
    """A real PostgreSQL, started when it is first asked for."""

    def __init__(self, provision: Provision) -> None:
        self._provision = provision

    @cached_property
    def dsn(self) -> str:
        """Where it is."""
        return self._provision.postgres.dsn


def stay_on_the_clients_core() -> None:
    """Leave the other core to the server under test. What is started from here on stays here, too, unless pinned."""
    if _has_cores():
        os.sched_setaffinity(0, {CLIENT_CORE})


@contextmanager
def database() -> Iterator[Database]:
    """A database for one run of a benchmark."""
    with Provision(ServiceSettings.from_environment(None, ROOT)) as provision:
        yield Database(provision)


@contextmanager
def model(scenario: str) -> Iterator[str]:
    """A scripted model; yields its base URL."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scenario.yaml"
        file.write_text(scenario, encoding="utf-8")
        arguments = ["-m", "mock_llm", "serve", "--scenario", str(file), "--port", "0"]
        with _process(arguments, core=CLIENT_CORE) as server:
            yield f"{server.url}/v1"


@contextmanager
def gateway(dsn: str, llm: str = "http://127.0.0.1:9/v1") -> Iterator[Server]:
    """The gateway as its command serves it, with the settings it has by itself."""
    arguments = ["-m", "gateway", "serve", "--port", "0", "--database-url", dsn, "--llm-base-url", llm]
    with _process(arguments, core=SERVER_CORE, GATEWAY_JWT_KEYS=f"main={_KEY}", GATEWAY_LOG_LEVEL="error") as server:
        yield server


@contextmanager
def peer(name: str, *arguments: str) -> Iterator[Server]:
    """The peer in the module `perf.gateway.NAME`."""
    with _process(["-m", f"perf.gateway.{name}", *arguments], core=SERVER_CORE) as server:
        yield server


def token(user: str, role: str = "user") -> str:
    """A token that the gateway takes."""
    issuer = TokenIssuer({"main": _KEY.encode()}, issuer="streamproof", audience="streamproof-gateway")
    return issuer.mint(user, roles=[role])


def headers(user: str, role: str = "user") -> dict[str, str]:
    """The header with the token."""
    return {"Authorization": f"Bearer {token(user, role)}"}


def say(text: str) -> None:
    """Tell how far the benchmark is."""
    sys.stderr.write(f"{text}\n")


def in_turns(rounds: int, sides: dict[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Run the sides one after the other, again and again, so that a noisy neighbour hurts all alike."""
    results: dict[str, list[Any]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, run in sides.items():
            say(f"round {number + 1} of {rounds}: {name}")
            results[name].append(run())
    return results


def print_table(title: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    """What a benchmark is for."""
    rows = list(rows)
    first = max(len(name) for name, _ in rows) + 2
    widths = [max(len(column), *(len(cells[index]) for _, cells in rows)) + 3 for index, column in enumerate(columns)]
    print(title)
    print(" " * first + "".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
    for name, cells in rows:
        print(f"{name:<{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))


def _has_cores() -> bool:
    return hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1


@contextmanager
def _process(arguments: list[str], *, core: int, **variables: str) -> Iterator[Server]:
    """A server that prints one JSON line with its URL when it is ready."""
    pinned = ["taskset", "-c", str(core)] if _has_cores() else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), **variables}
    with subprocess.Popen([*pinned, sys.executable, *arguments], env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            yield Server(child.pid, json.loads(child.stdout.readline())["url"])
        finally:
            child.terminate()
