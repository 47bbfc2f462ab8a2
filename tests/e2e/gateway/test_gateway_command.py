"""The command as a process: one line when ready, clear errors, a clean end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import jwt
import pytest

KEYS = "main=" + "k" * 32
BACKENDS = ["asyncio", "trio"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


def environment(**changes: str) -> dict[str, str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    # Colour would be for a terminal, and the width decides where lines break.
    return (
        outer
        | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "NO_COLOR": "1", "COLUMNS": "200"}
        | changes
    )


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with subprocess.Popen(
        command("serve", "--port", "0", "--database-url", f"sqlite:///{folder / 'gateway.sqlite3'}", *arguments),
        env=environment(GATEWAY_JWT_KEYS=KEYS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_on_the_url_it_prints_and_stops_on_a_signal(
    tmp_path: Path, backend: str, stop: signal.Signals
) -> None:
    with served(tmp_path, "--backend", backend) as (process, ready):
        with urlopen(f"{ready['url']}/health", timeout=10) as response:  # noqa: S310  a loopback URL
            assert json.load(response)["status"] == "ok"
        with urlopen(f"{ready['url']}/ws/health", timeout=10) as response:  # noqa: S310  a loopback URL
            assert json.load(response)["connections"] == 0
        process.send_signal(stop)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, ""), errors


def test_token_prints_a_token_for_the_user() -> None:
    done = subprocess.run(
        command("token", "--user", "alice", "--tenant", "acme", "--role", "admin"),
        env=environment(GATEWAY_JWT_KEYS=KEYS),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    claims = jwt.decode(done.stdout.strip(), "k" * 32, algorithms=["HS256"], audience="streamproof-gateway")
    assert (claims["sub"], claims["tenant"], claims["roles"]) == ("alice", "acme", ["admin"])


@pytest.mark.parametrize(
    ("arguments", "keys", "code", "words"),
    [
        pytest.param(["serve"], "", 2, "GATEWAY_JWT_KEYS: is empty", id="no keys"),
        pytest.param(["serve", "--database-url", "mysql://x/y"], KEYS, 2, "mysql", id="unsupported database"),
        pytest.param(["serve", "--database-url", "sqlite:////no/such/x.db"], KEYS, 2, "/no/such", id="no folder"),
        pytest.param(["serve", "--host", "203.0.113.1", "--port", "0"], KEYS, 1, "cannot listen", id="foreign address"),
        pytest.param(
            ["serve", "--port", "0", "--database-url", "postgresql://u@127.0.0.1:1/x"],
            KEYS,
            1,
            "the database failed",
            id="database not there",
        ),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_work_is_said_in_one_line(
    tmp_path: Path, backend: str, arguments: list[str], keys: str, code: int, words: str
) -> None:
    done = subprocess.run(
        command(*arguments, "--backend", backend),
        env=environment(GATEWAY_JWT_KEYS=keys),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
