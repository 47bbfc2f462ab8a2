"""Serves a gateway on whichever backend runs: uvicorn on asyncio, anycorn on trio."""

import socket
from typing import Final

import anyio
import sniffio
from anyio import to_thread
from anyio.abc import TaskStatus
from starlette.applications import Starlette

from gateway.application import Gateway
from gateway.endpoints.app import build_app
from gateway.endpoints.pages import Pages
from gateway.endpoints.socketio.endpoint import SocketIOEndpoint
from gateway.errors import BindError
from gateway.http_servers.interface import HTTPServer
from gateway.http_servers.trio_server import TrioServer
from gateway.http_servers.uvicorn_server import UvicornServer
from gateway.settings import Settings

_BACKLOG: Final = 2048


async def serve(settings: Settings, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
    """Serve until cancelled.

    `task_status.started` gets the base URL, `http://host:port`, once connections are accepted. On cancellation every
    client is told to come back later, turns under way are cancelled, and everything logged is written.

    Raises:
        BindError: the address cannot be bound.
        SettingsError: the database URL is wrong.
        StorageError: the database cannot be reached or prepared.
    """
    with _bind(settings.host, settings.port) as listener:
        async with Gateway.open(settings) as gateway:
            await _serve_until_cancelled(gateway, listener, task_status)


async def _serve_until_cancelled(gateway: Gateway, listener: socket.socket, task_status: TaskStatus[str]) -> None:
    host, port = listener.getsockname()[:2]
    socketio = SocketIOEndpoint(gateway)
    pages = await to_thread.run_sync(Pages.load)
    server = _make_server(build_app(gateway, socketio, pages), listener, gateway.settings)
    async with anyio.create_task_group() as group:
        await group.start(socketio.run)
        await group.start(server.run)
        task_status.started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        try:
            await anyio.sleep_forever()
        finally:
            # The server is shielded: first the clients hear why, then it stops.
            await gateway.drain()
            socketio.stop()
            server.stop()


def _make_server(app: Starlette, listener: socket.socket, settings: Settings) -> HTTPServer:
    if sniffio.current_async_library() == "trio":
        return TrioServer(app, listener, settings)
    return UvicornServer(app, listener, settings)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BindError(host, port, reason) from None
    # Connections inherit it; asyncio's own loop does not set it on them. Without it the second part of an answer waits
    # for the client's acknowledgement of the first, which takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.settimeout(0)
    return listener
