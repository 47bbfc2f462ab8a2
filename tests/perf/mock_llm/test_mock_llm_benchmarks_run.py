"""The mock model's benchmarks of its own run and print their tables; no time is asserted."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "arguments", "lines"),
    [
        pytest.param("start_time", ["--times", "2"], ["asyncio", "trio"], id="start time"),
        pytest.param(
            "vanishing_clients",
            ["--clients", "20", "--silent", "2", "--workers", "4"],
            ["before", "after the first half", "after all", "2 that never read 15 MB each", "after these"],
            id="vanishing clients",
        ),
    ],
)
def test_it_prints_a_line_for_each_case(name: str, arguments: list[str], lines: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", f"perf.mock_llm.{name}", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert [line.split("│")[1].strip() for line in finished.stdout.splitlines() if line.startswith("│")] == lines
