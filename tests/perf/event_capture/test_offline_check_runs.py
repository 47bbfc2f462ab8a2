"""The benchmark of offline checks runs and prints its table. No time is asserted."""

import os
import subprocess
import sys
from pathlib import Path

from perf.event_capture import offline_check


def test_it_prints_the_rate_and_the_memory() -> None:
    finished = subprocess.run(
        [sys.executable, str(Path(offline_check.__file__)), "--only", "agent", "--events", "2000", "--rounds", "1"],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert finished.returncode == 0, finished.stderr
    assert "\nstreamproof " in finished.stdout
    assert "peak MiB" in finished.stdout
