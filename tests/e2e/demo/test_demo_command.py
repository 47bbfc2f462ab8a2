"""The demo, as a person runs it."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from demo.command import DEFAULT_MESSAGE  # the whole demo is what these tests run

TIMEOUT = 50
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "demo", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "PYTHONIOENCODING": "utf-8"}


@functools.cache
def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environment(), capture_output=True, encoding="utf-8", timeout=TIMEOUT, check=False
    )


@contextmanager
def running_demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@BACKENDS
def test_a_chat_is_captured_and_passes_its_contract(backend: str) -> None:
    done = run_demo(DEFAULT_MESSAGE, "--backend", backend)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Status: ✅ PASSED" in done.stdout
    for event in ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"):
        assert re.search(rf"✅ {event}: [1-9]", done.stdout), event
    assert re.search(r"\d\.\d{3}s: partial_result - Your system spends most of its time", done.stdout)
    assert done.stderr == ""


@BACKENDS
def test_a_model_that_breaks_off_is_reported_as_an_error_event(backend: str) -> None:
    done = run_demo("--fail", "--backend", backend)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✅ error_event: 1" in done.stdout
    assert re.search(r"\d\.\d{3}s: error_event - The model's answer broke off", done.stdout)
    assert "agent_completed -" not in done.stdout


def test_the_services_stay_up_until_a_signal_when_asked_to() -> None:
    with running_demo("--keep") as process:
        assert process.stdout is not None
        addresses = next(json.loads(line) for line in process.stdout if line.startswith("{"))
        gateway = urlsplit(addresses["gateway"])
        connection = HTTPConnection(gateway.hostname or "", gateway.port, timeout=TIMEOUT)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def test_no_colour_codes_reach_a_pipe() -> None:
    assert "\x1b[" not in run_demo(DEFAULT_MESSAGE, "--backend", "asyncio").stdout
