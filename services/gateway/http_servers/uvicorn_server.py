"""uvicorn with the sans-IO WebSocket implementation, for asyncio."""

import contextlib
import socket
from asyncio import TimerHandle
from asyncio.transports import BaseTransport, Transport
from collections.abc import Callable, Iterator
from typing import Any, Final, cast, final

import anyio
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from chat_protocol.close_codes import ProtocolCloseCode
from gateway.settings import Settings

_WRITE_BUFFER: Final = 32 << 10
"""Bytes in a transport's buffer, beyond which writers wait."""


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
            timeout_graceful_shutdown=cast("int", settings.stop_timeout),
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
