"""What the gateway wants of an ASGI server: `run` until `stop`, without signal handlers."""

from typing import Protocol

import anyio
from anyio.abc import TaskStatus


class HTTPServer(Protocol):
    """Serves an application on a bound socket."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` is called. Shielded: cancellation alone does not end it."""
        ...

    def stop(self) -> None:
        """Accept nothing more, let requests finish for a moment, and end."""
        ...
