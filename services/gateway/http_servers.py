"""The two ASGI servers behind one interface: `run` until `stop`, without signal handlers.

Both are set up so that a client that does not read, or is gone without a word, cannot hold anything for long.
"""

import contextlib
import logging
import socket
from asyncio import TimerHandle
from asyncio.transports import BaseTransport, Transport
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol, cast, final

import anycorn.config
import anycorn.tcp_server
import anycorn.typing
import anycorn.utils
import anycorn.worker_context
import anyio
import uvicorn
from anyio.abc import SocketListener, SocketStream, TaskStatus
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Close, Frame, Opcode

from chat_protocol.close_codes import ProtocolCloseCode
from gateway.logs import get_logger
from gateway.settings import Settings

_STOP_SECONDS: Final = 3
_WRITE_BUFFER: Final = 32 << 10
"""Bytes in a transport's buffer, beyond which writers wait."""
_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)
_SWITCHING_PROTOCOLS: Final = b"HTTP/1.1 101 "
_CLOSE_FRAME: Final = b"\x88"
_MISSED_HEARTBEAT: Final = Frame(
    Opcode.CLOSE, Close(ProtocolCloseCode.HEARTBEAT_MISSED, "keepalive ping timeout").serialize()
).serialize(mask=False)
"""What uvicorn sends when a ping is not answered in time."""


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

    def __init__(self, app: Starlette, listener: socket.socket, settings: Settings) -> None:
        self._listener = listener
        config = uvicorn.Config(
            app,
            http=_http_protocol(settings.auth_timeout),
            timeout_keep_alive=cast("int", settings.auth_timeout),
            ws=_websocket_protocol(settings.send_timeout),
            ws_max_size=settings.max_frame_bytes,
            ws_ping_interval=settings.heartbeat,
            ws_ping_timeout=settings.heartbeat_timeout,
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


def _http_protocol(request_timeout: float) -> type[HttpToolsProtocol]:
    class PunctualProtocol(HttpToolsProtocol):
        """Closes when a request is not there in time: neither silence nor half a request holds a connection."""

        _deadline: TimerHandle | None = None

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as its parent has it
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            upgraded = self.transport.get_protocol() is not self
            request = cast("RequestResponseCycle | None", self.cycle)
            whole = request is not None and not request.response_complete and not request.more_body
            if upgraded or whole:
                self._stop_waiting()
            elif self._deadline is None:
                self._wait()

        def _wait(self) -> None:
            self._deadline = self.loop.call_later(request_timeout, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return PunctualProtocol


def _websocket_protocol(close_timeout: float) -> type[WebSocketsSansIOProtocol]:
    class ImpatientProtocol(WebSocketsSansIOProtocol):
        """Closes also when the client does not read: the close frame goes behind what is buffered already.

        What a client does wrong closes its connection and is nothing that the log calls an error.
        """

        def connection_made(self, transport: BaseTransport) -> None:
            super().connection_made(transport)
            cast("Transport", transport).set_write_buffer_limits(high=_WRITE_BUFFER)

        async def send(self, message: Any) -> None:
            if message["type"] == "websocket.close":
                # Without this the close would wait for the very reader that it gives up on.
                self.writable.set()
                self.loop.call_later(close_timeout, self.transport.abort)
            elif not self.writable.is_set():
                await self.writable.wait()
            if self.close_sent:
                # It was closed for a frame that breaks the protocol, which the application has yet to hear of.
                raise ClientDisconnected
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
                # The handshake is over: it was refused, as the application meant to.
                self.handshake_complete = True

        def send_receive_event_to_app(self) -> None:
            if self.curr_msg_data_type == "text" and not self.close_sent:
                try:
                    b"".join(self.frames).decode()
                except UnicodeDecodeError:
                    self.conn.fail(ProtocolCloseCode.INVALID_TEXT, "the text is not UTF-8")
                    self.handle_parser_exception()
                    return
            super().send_receive_event_to_app()

    return ImpatientProtocol


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
        config.graceful_timeout = _STOP_SECONDS
        config.accesslog = None
        config.errorlog = logging.getLogger("anycorn.error")
        self._config = config
        self._send_timeout = settings.send_timeout
        # Pongs are bytes, too: a client that answers pings is never silent for this long.
        self._read_timeout = settings.heartbeat + settings.heartbeat_timeout
        self._app = anycorn.utils.wrap_app(cast("Any", app), config.wsgi_max_body_size, "asgi")
        self._listener = listener
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
                connections.cancel_scope.deadline = anyio.current_time() + _STOP_SECONDS

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
