"""anycorn's protocol handling over streams of our own, for trio."""

import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast, final

import anycorn.config
import anycorn.tcp_server
import anycorn.typing
import anycorn.utils
import anycorn.worker_context
import anyio
from anyio.abc import SocketListener, SocketStream, TaskStatus
from starlette.applications import Starlette
from websockets.frames import Close, Frame, Opcode

from chat_protocol.close_codes import ProtocolCloseCode
from gateway.logs import get_logger
from gateway.settings import Settings

_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)
_SWITCHING_PROTOCOLS: Final = b"HTTP/1.1 101 "
_CLOSE_FRAME: Final = b"\x88"
_MISSED_HEARTBEAT: Final = Frame(
    Opcode.CLOSE, Close(ProtocolCloseCode.HEARTBEAT_MISSED, "keepalive ping timeout").serialize()
).serialize(mask=False)
"""What uvicorn sends when a ping is not answered in time."""


@final
class TrioServer:
    """anycorn's protocol handling over streams of our own, for trio."""

    def __init__(self, app: Starlette, listener: socket.socket, settings: Settings) -> None:
        config = anycorn.config.Config()
        config.websocket_max_message_size = settings.max_frame_bytes
        config.websocket_permessage_deflate = False
        config.websocket_ping_interval = settings.heartbeat
        config.keep_alive_timeout = cast("int", settings.auth_timeout)
        config.include_server_header = False
        config.graceful_timeout = settings.stop_timeout
        config.accesslog = None
        config.errorlog = logging.getLogger("anycorn.error")
        self._config = config
        self._send_timeout = settings.send_timeout
        # Pongs are bytes, too: a client that answers pings is never silent for this long.
        self._read_timeout = settings.heartbeat + settings.heartbeat_timeout
        self._app = anycorn.utils.wrap_app(cast("Any", app), config.wsgi_max_body_size, "asgi")
        self._listener = listener
        self._stop_timeout = settings.stop_timeout
        self._stopped = anycorn.worker_context.EventWrapper()
        self._stopping = anyio.Event()
        self._log = get_logger("gateway.server")

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """See `HTTPServer.run`."""
        # The listener closes what it is given, and so does whoever bound the socket.
        with anyio.CancelScope(shield=True):
            async with (
                await SocketListener.from_socket(self._listener.dup()) as listener,
                anyio.create_task_group() as connections,
            ):
                async with anyio.create_task_group() as accepting:
                    accepting.start_soon(partial(listener.serve, self._serve_one, task_group=connections))
                    task_status.started()
                    await self._stopping.wait()
                    accepting.cancel_scope.cancel()
                await self._stopped.set()
                connections.cancel_scope.deadline = anyio.current_time() + self._stop_timeout

    def stop(self) -> None:
        """See `HTTPServer.stop`."""
        self._stopping.set()

    async def _serve_one(self, stream: SocketStream) -> None:
        ended = anyio.Event()
        server = anycorn.tcp_server.TCPServer(
            self._app,
            self._config,
            _ConnectionContext(self._stopped, ended),
            cast("Any", anycorn.typing.ConnectionState({})),
            cast("SocketStream", _ImpatientStream(stream, self._read_timeout, self._send_timeout, ended)),
        )
        try:
            await server.run()
        except Exception:  # noqa: BLE001  whatever one client sends must not end the others' connections
            self._log.exception("connection failed")


@final
class _ConnectionContext(anycorn.worker_context.WorkerContext):
    """A context for one connection, so that what waits between two pings ends with the connection."""

    def __init__(self, stopped: anycorn.worker_context.EventWrapper, ended: anyio.Event) -> None:
        super().__init__(None)
        self.terminated = stopped
        self._ended = ended

    async def sleep(self, wait: float) -> None:  # type: ignore[override]  # a static method there, called on the object
        with anyio.move_on_after(wait):
            await self._ended.wait()


@final
class _ImpatientStream(anyio.abc.ByteStream):
    """A stream whose reads and writes fail when the other side says or takes nothing for too long.

    A WebSocket whose client says nothing is told so on the way out.
    """

    def __init__(self, stream: SocketStream, read_timeout: float, send_timeout: float, ended: anyio.Event) -> None:
        self._stream = stream
        self._read_timeout = read_timeout
        self._send_timeout = send_timeout
        self._ended = ended
        self._is_websocket = False
        self._said_goodbye = False

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            with anyio.fail_after(self._read_timeout):
                return await self._stream.receive(max_bytes)
        except TimeoutError:
            if self._is_websocket:
                with contextlib.suppress(TimeoutError, *_BROKEN, anyio.BusyResourceError):
                    await self.send(_MISSED_HEARTBEAT)
            self._ended.set()
            raise
        except (anyio.EndOfStream, *_BROKEN):
            self._ended.set()
            raise

    async def send(self, item: bytes) -> None:
        if self._said_goodbye:
            # Nothing may follow a close frame, not even the ping that is due.
            return
        self._said_goodbye = self._is_websocket and item.startswith(_CLOSE_FRAME)
        try:
            with anyio.fail_after(self._send_timeout):
                await self._stream.send(item)
        except TimeoutError:
            # Whoever waits for the client to say something has nothing to wait for either.
            await anyio.aclose_forcefully(self._stream)
            raise
        self._is_websocket = self._is_websocket or item.startswith(_SWITCHING_PROTOCOLS)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self._ended.set()
        await self._stream.aclose()
