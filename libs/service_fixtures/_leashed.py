"""The test process's end of the leash: start a server, wait until it accepts connections, end it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from service_fixtures import _leash
from service_fixtures.errors import ServerNotStartedError

__all__ = ["LeashedServer", "Order", "child_environment"]

STOP_SECONDS = 10.0


def child_environment() -> dict[str, str]:
    """A server sees nothing of the test's environment: no PGHOST, no locale, no secrets."""
    return {"PATH": os.defpath, "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Order:
    """What the leash runs.

    Attributes:
        argv: command line of the server, in the foreground.
        ready: text in the line of its log that says it accepts connections.
        stop_signal: what ends it at once and cleanly; SIGKILL follows after 10 s.
        uid, gid: user to run as, None for the user of the test process.
    """

    argv: list[str]
    ready: str
    stop_signal: int = signal.SIGTERM
    uid: int | None = None
    gid: int | None = None
    env: dict[str, str] = field(default_factory=child_environment)

    def line(self) -> bytes:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({**fields, "stop_seconds": STOP_SECONDS}).encode() + b"\n"


class LeashedServer:
    """A server process and its folder; both are gone after the `with` block, and after the death of this process."""

    def __init__(self, name: str, temporary_folder: Path, timeout: float) -> None:
        self.name = name
        self._deadline = time.monotonic() + timeout
        self._pending = b""
        script = Path(_leash.__file__).resolve()  # imported, so that every packager sees that it is needed
        # -I and -S: the leash must not depend on, nor pay for, what the test's environment put on the path.
        self._leash = subprocess.Popen(  # noqa: S603  our own script, with the interpreter that runs it
            [sys.executable, "-I", "-S", str(script), str(os.getpid()), str(temporary_folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._orders = cast("IO[bytes]", self._leash.stdin)
        self._answers = cast("IO[bytes]", self._leash.stdout)
        try:
            self.folder = Path(self._next_message()["folder"])
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the leash; the server is its child."""
        return self._leash.pid

    def start(self, order: Order) -> None:
        """Runs the server; returns when it accepts connections.

        Raises:
            ServerNotStartedError: it exited or stayed silent until the deadline; holds the end of its log.
        """
        self._orders.write(order.line())
        self._orders.flush()
        message = self._next_message()
        if "ready" not in message:
            raise ServerNotStartedError(self.name, message["failed"], message["log"])

    def close(self) -> None:
        """Ends the server and removes its folder. Idempotent."""
        self._orders.close()
        try:
            self._leash.wait(2 * STOP_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self._leash.kill()  # the kernel then kills the server too
            self._leash.wait()
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _next_message(self) -> dict[str, Any]:
        while b"\n" not in self._pending:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise ServerNotStartedError(self.name, "it did not accept connections in time")
            chunk = os.read(self._answers.fileno(), 65536)
            if not chunk:
                raise ServerNotStartedError(self.name, "the process that holds it ended")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
