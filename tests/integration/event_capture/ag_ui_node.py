"""The other side of the AG-UI differential: `verifyEvents` of npm's @ag-ui/client, in one Node process."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from integration.npm import installed

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


@contextmanager
def verify_events() -> Iterator[VerifyEvents]:
    """A Node process that verifies streams until the block ends."""
    folder = installed(SOURCES, _FILES)
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
