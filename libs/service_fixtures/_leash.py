"""A process that holds one server on a leash: server and folder end when the test process ends, however it ends.

It runs as a script (`python -I -S _leash.py PARENT FOLDER`), imports only the standard library, and has one thread.
It lives in a session of its own, so neither Ctrl-C nor a kill of the test's process group reaches it.

Protocol. stdout: `{"folder": ...}` once the folder exists, then `{"ready": true}` or `{"failed": reason, "log": ...}`.
stdin: one JSON line that says what to run, then nothing: its end means stop. The death of the parent means stop as
well, even while some forked child of it still holds the pipe.
"""

import collections
import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

LOG_LINES = 60
PR_SET_PDEATHSIG = 1


def say(message: dict[str, Any]) -> None:
    # A parent that is gone cannot listen; its death is handled where the selector reports it.
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(message), flush=True)


def die_with_the_leash() -> Callable[[], None] | None:
    """The last line of defence: the kernel kills the server when somebody kills even the leash."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Leash:
    def __init__(self, parent: int, folder: Path) -> None:
        self.folder = folder
        self.selector = selectors.DefaultSelector()
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ, "stdin")
        self.parent_fd: int | None = None
        self.parent_gone = False
        with contextlib.suppress(AttributeError, OSError):  # not Linux, or the parent is already gone
            self.parent_fd = os.pidfd_open(parent)
            self.selector.register(self.parent_fd, selectors.EVENT_READ, "parent")
        # Asked after the pidfd is open: a pid that was reused in between is not our parent's.
        if os.getppid() != parent:
            self.parent_gone = True

    def order(self) -> dict[str, Any] | None:
        """The line that says what to run, None when the parent ended or closed the pipe first."""
        received = b""
        while not self.parent_gone and not received.endswith(b"\n"):
            for key, _ in self.selector.select():
                chunk = os.read(0, 65536) if key.data == "stdin" else b""
                if not chunk:
                    return None
                received += chunk
        return json.loads(received) if received else None

    def run(self, order: dict[str, Any]) -> None:
        """Runs the server until it exits or the parent wants it to end or is gone."""
        with subprocess.Popen(  # noqa: S603  the command line comes from the test process that started this one
            order["argv"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=order["env"],
            user=order["uid"],
            group=order["gid"],
            extra_groups=None if order["uid"] is None else [],
            preexec_fn=die_with_the_leash(),
        ) as server:
            try:
                self._watch(server, order["ready"].encode())
            finally:
                stop(server, order["stop_signal"], order["stop_seconds"])

    def _watch(self, server: subprocess.Popen[bytes], ready: bytes) -> None:
        output = cast("IO[bytes]", server.stdout).fileno()
        os.set_blocking(output, False)
        self.selector.register(output, selectors.EVENT_READ, "log")
        lines: collections.deque[bytes] = collections.deque(maxlen=LOG_LINES)
        rest, told = b"", False
        while True:
            for key, _ in self.selector.select():
                if key.data != "log":
                    return
                chunk = os.read(output, 65536)
                if not chunk:
                    if not told:
                        code = server.wait()
                        log = b"\n".join([*lines, rest]).decode(errors="replace")
                        say({"failed": f"it exited with code {code}", "log": log})
                    return
                *whole, rest = (rest + chunk).split(b"\n")
                rest = rest[-65536:]
                lines.extend(whole)
                if not told and any(ready in line for line in whole):
                    told = True
                    say({"ready": True})


def stop(server: subprocess.Popen[bytes], first_signal: int, seconds: float) -> None:
    for number in (first_signal, signal.SIGKILL):
        if server.poll() is not None:
            return
        server.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(seconds)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which a server would inherit
    folder = Path(tempfile.mkdtemp(prefix="sp-", dir=sys.argv[2]))
    try:
        say({"folder": str(folder)})
        leash = Leash(int(sys.argv[1]), folder)
        order = leash.order()
        if order is not None:
            leash.run(order)
    except OSError as error:
        say({"failed": str(error), "log": ""})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
