"""The gateway's benchmarks run and print both sides; no time is asserted."""

import os
import subprocess
import sys
from typing import Final

import pytest

TURN_SIDES: Final = ("gateway", "Flask-SocketIO, events")
"""The other peer has its turn in another benchmark."""


@pytest.mark.parametrize(
    ("name", "arguments", "lines"),
    [
        pytest.param(
            "turns",
            [*("--turns", "9", "--concurrency", "3", "--rounds", "1", "--model-seconds", "0.2"), "--only", *TURN_SIDES],
            [*("9 turns", "turns/s", *TURN_SIDES), *("the same turns", "turns/s", *TURN_SIDES)],
            id="turns",
        ),
        pytest.param(
            "relay",
            ["--clients", "2", "--seconds", "0.5", "--rounds", "1"],
            ["2 clients", "messages/s", "echo", "gateway, channel", "gateway, log"],
            id="relay",
        ),
        pytest.param("idle", ["--connections", "20"], ["20 idle", "MiB", "gateway", "python-socketio"], id="idle"),
        pytest.param(
            "first_token",
            ["--requests", "3", "--warm-up", "1"],
            ["first token", "p50", "model", "gateway", "added"],
            id="first token",
        ),
    ],
)
def test_it_prints_both_sides_of_one_run(name: str, arguments: list[str], lines: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", f"perf.gateway.{name}", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert [
        line.strip()[: len(start)] for line, start in zip(finished.stdout.splitlines(), lines, strict=True)
    ] == lines
