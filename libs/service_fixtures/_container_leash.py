"""A process that removes the containers of one test process when that process ends, however it ends.

It runs as a script, `python _container_leash.py PARENT LABEL`. The end of stdin or the death of the parent is the sign.
"""

import contextlib
import importlib
import os
import selectors
import signal
import sys
from typing import Any


def wait_for_the_end(parent: int) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        with contextlib.suppress(AttributeError, OSError):  # not Linux, or the parent is already gone
            selector.register(os.pidfd_open(parent), selectors.EVENT_READ)
        if os.getppid() == parent:
            selector.select()


def remove_containers(label: str) -> None:
    docker: Any = importlib.import_module("docker")  # slow to import, and only needed now

    client = docker.from_env(timeout=20)
    try:
        for container in client.containers.list(all=True, filters={"label": label}):
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
    finally:
        client.close()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    wait_for_the_end(int(sys.argv[1]))
    remove_containers(sys.argv[2])
