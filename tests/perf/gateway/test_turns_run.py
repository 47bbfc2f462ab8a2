"""The turn benchmark runs and prints both sides; no time is asserted."""

import os
import subprocess
import sys
from pathlib import Path


def test_it_prints_both_sides_of_one_run() -> None:
    script = str(Path(__file__).with_name("turns.py"))
    finished = subprocess.run(
        [sys.executable, script, "--turns", "8", "--concurrency", "4", "--rounds", "1"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert [line.split()[0] for line in finished.stdout.splitlines()[2:]] == ["gateway", "python-socketio"]
