"""The two ASGI servers behind one interface: `run` until `stop`, without signal handlers."""

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, cast, final

import anycorn
import anycorn.config
import anycorn.run
import anycorn.utils
import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette

_STOP_SECONDS: Final = 3


class HTTPServer(Protocol):
    """Serves an application on a bound socket."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop` is called. Shielded: cancellation alone does not end it."""
        ...

    def stop(self) -> None:
        """Accept nothing more, let requests finish for a moment, and end."""
        ...


@final
class UvicornServer:
    """uvicorn with the sans-IO WebSocket implementation, for asyncio."""

    def __init__(self, app: Starlette, listener: socket.socket, *, max_frame_bytes: int) -> None:
        self._listener = listener
        config = uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=max_frame_bytes,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        self._started = anyio.Event()
        self._server = _Uvicorn(config, self._started.set)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """See `HTTPServer.run`."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                group.start_soon(self._server.serve, [self._listener])
                await self._started.wait()
                task_status.started()

    def stop(self) -> None:
        """See `HTTPServer.stop`."""
        self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the command, not to a server that may be one of several in a process.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


@final
class TrioServer:
    """anycorn, for trio."""

    def __init__(self, app: Starlette, listener: socket.socket, *, max_frame_bytes: int) -> None:
        config = anycorn.config.Config()
        config.websocket_max_message_size = max_frame_bytes
        config.websocket_permessage_deflate = False
        config.include_server_header = False
        config.graceful_timeout = _STOP_SECONDS
        config.accesslog = None
        config.errorlog = logging.getLogger("anycorn.error")
        config.alpn_protocols = ["http/1.1"]
        self._config = config
        self._app = anycorn.utils.wrap_app(cast("Any", app), config.wsgi_max_body_size, "asgi")
        # The server closes what it is given, and so does whoever bound it.
        self._sockets = anycorn.config.Sockets([], [listener.dup()], [])
        self._stopping = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """See `HTTPServer.run`."""

        class Started:
            def started(self, _binds: object = None) -> None:
                task_status.started()

        with anyio.CancelScope(shield=True):
            await anycorn.run.worker_serve(
                self._app,
                self._config,
                sockets=self._sockets,
                shutdown_trigger=self._stopping.wait,
                task_status=Started(),
            )

    def stop(self) -> None:
        """See `HTTPServer.stop`."""
        self._stopping.set()
