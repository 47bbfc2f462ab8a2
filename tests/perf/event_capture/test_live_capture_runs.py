"""The benchmark of live capture runs and prints both sides. No time is asserted."""

import os
import subprocess
import sys
from pathlib import Path

from perf.event_capture import live_capture


def test_it_prints_every_side_of_one_run() -> None:
    finished = subprocess.run(
        [sys.executable, str(Path(live_capture.__file__)), "--messages", "2000", "--rounds", "1"],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert finished.returncode == 0, finished.stderr
    for side in live_capture.SIDES:
        assert f"\n{side} " in finished.stdout
