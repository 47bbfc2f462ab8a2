"""The other side of the AG-UI differential: `verifyEvents` of npm's @ag-ui/client, in one Node process.

The package is installed once per lock file into a folder of its own in the user's cache, by npm, from whatever
registry npm is set up with.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SOURCES = Path(__file__).parent / "ag_ui"
_FILES = ("package.json", "package-lock.json", "verify.mjs", "measure.mjs")


@dataclass(frozen=True)
class Verdict:
    """What verifyEvents says of one stream."""

    ok: bool
    at: int = -1
    """Place of the first event that it refuses."""
    message: str = ""


class VerifyEvents:
    """Asks the running Node process."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._stdout = stdout

    def __call__(self, events: Sequence[dict[str, Any]]) -> Verdict:
        self._stdin.write(json.dumps(events) + "\n")
        self._stdin.flush()
        answer = self._stdout.readline()
        assert answer, "the Node process has ended; see its error output above"
        return Verdict(**json.loads(answer))


def installed() -> Path:
    """The folder with the package, installed when it is not there yet."""
    for command in ("node", "npm"):
        assert shutil.which(command), f"this test needs {command}: install Node 20 or later"
    identity = hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in _FILES)).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = caches / "streamproof" / f"ag-ui-{identity}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            folder = Path(scratch) / "package"
            folder.mkdir()
            for name in _FILES:
                shutil.copy(SOURCES / name, folder)
            npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=55)
            if not home.exists():
                folder.rename(home)
    return home


@contextmanager
def verify_events() -> Iterator[VerifyEvents]:
    """A Node process that verifies streams until the block ends."""
    folder = installed()
    with subprocess.Popen(
        ["node", "verify.mjs"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin
        assert process.stdout
        yield VerifyEvents(process.stdin, process.stdout)
        process.stdin.close()
        process.wait(10)
