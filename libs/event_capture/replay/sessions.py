"""The server's side of a connection, per wire: what a replay says to its client, and what the client says to it."""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, final

import anyio
import anyio.abc
import msgspec

from event_capture.drivers.socketio_codec import Event, Joined, Left, Reply, SocketIOCodec
from event_capture.replay.script import ConnectionScript
from event_capture.replay.socket import ClientGoneError, ServerSocket
from event_capture.wire import Wire, speaks_engineio

_MAX_HEAD_BYTES: Final = 64 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_PING_SECONDS: Final = 25.0
_PING_TIMEOUT_SECONDS: Final = 20.0
_CLOSED_BY_PACKET: Final = "the server disconnected namespace"
"""How a recording says that a packet, and not a close frame, ended a session; see `SocketIOCodec`."""
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Session(Protocol):
    """One client of a replay. Everything raises ClientGoneError once the client has left."""

    async def begin(self) -> None:
        """Answer the client, up to where its first message may come."""

    async def receive(self) -> Any:
        """The client's next message, decoded; None for one that cannot be."""

    async def keep_alive(self) -> None:
        """Runs beside the rest, and says what a client wants to hear now and then."""

    async def send(self, message: str | bytes) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


async def read_head(stream: anyio.abc.ByteStream) -> bytes:
    """Everything up to the end of a request's head, and what came with it. Raises ClientGoneError."""
    received = b""
    while _HEAD_END not in received:
        if len(received) > _MAX_HEAD_BYTES:
            raise ClientGoneError
        try:
            received += await stream.receive()
        except _GONE:
            raise ClientGoneError from None
    return received


def wire_asked_for(head: bytes) -> Wire:
    """What a client wants to speak, by the head of its request."""
    request, _, headers = head.partition(b"\r\n")
    if b"upgrade: websocket" not in headers.lower():
        return Wire.SSE
    return Wire.SOCKETIO if speaks_engineio(request.decode("latin-1")) else Wire.WEBSOCKET


async def refuse(stream: anyio.abc.ByteStream, asked: Wire, served: Sequence[Wire]) -> None:
    """Tell a client that the recording has no connection of the kind that it asks for."""
    text = f"this replay speaks {' and '.join(served)}, not {asked}"
    status = "426 Upgrade Required" if asked is Wire.SSE else "404 Not Found"
    headers = f"Content-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close\r\n"
    upgrade = "Upgrade: websocket\r\n" if asked is Wire.SSE else ""
    with suppress(*_GONE):
        await stream.send(f"HTTP/1.1 {status}\r\n{upgrade}{headers}\r\n{text}".encode())


def session_of(stream: anyio.abc.ByteStream, head: bytes, script: ConnectionScript) -> Session:
    """What plays this script to a client whose request began like this."""
    match script.wire:
        case Wire.SSE:
            return _SseSession(stream)
        case Wire.SOCKETIO:
            return _SocketIOSession(ServerSocket(stream, prefer=script.subprotocol, received=head))
        case _:
            return _WebSocketSession(ServerSocket(stream, prefer=script.subprotocol, received=head))


@final
class _WebSocketSession:
    def __init__(self, socket: ServerSocket) -> None:
        self._socket = socket

    async def begin(self) -> None:
        await self._socket.accept()

    async def receive(self) -> Any:
        try:
            return msgspec.json.decode(await self._socket.receive())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    async def keep_alive(self) -> None:
        """Nothing: WebSocket clients that wait send pings of their own."""

    async def send(self, message: str | bytes) -> None:
        await self._socket.send(message)

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)


@final
class _SocketIOSession:
    """Engine.IO and Socket.IO over one WebSocket; there is no long polling. Heartbeats keep patient clients."""

    def __init__(self, socket: ServerSocket) -> None:
        self._socket = socket
        self._codec = SocketIOCodec()

    async def begin(self) -> None:
        await self._socket.accept()
        times = {"ping_interval": _PING_SECONDS, "ping_timeout": _PING_TIMEOUT_SECONDS}
        await self._socket.send(self._codec.opening(uuid.uuid4().hex, **times))
        while True:
            for fact in self._codec.text(await self._payload()):
                if isinstance(fact, Joined):
                    self._codec.namespace = fact.namespace
                    await self._socket.send(self._codec.welcome(uuid.uuid4().hex))
                    return

    async def receive(self) -> Any:
        while True:
            payload = await self._payload()
            said: list[Any] = []
            for fact in self._codec.text(payload):
                match fact:
                    case Event(data):
                        said.append(data)
                    case Reply(message):
                        await self._socket.send(message)
                    case Left():
                        raise ClientGoneError
            if said:
                return said[0]

    async def keep_alive(self) -> None:
        while True:
            await anyio.sleep(_PING_SECONDS)
            await self._socket.send(self._codec.ping())

    async def send(self, message: str | bytes) -> None:
        await self._socket.send(message)

    async def close(self, code: int, reason: str) -> None:
        if reason.startswith(_CLOSED_BY_PACKET):
            await self._socket.send(self._codec.leave())
        else:
            await self._socket.close(code, reason)

    async def _payload(self) -> bytes:
        message = await self._socket.receive()
        return message.encode("utf-8") if isinstance(message, str) else b""


@final
class _SseSession:
    """One response. What the client says with its request, in its body, is nothing that a script waits for."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def begin(self) -> None:
        await self._write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )

    async def receive(self) -> Any:
        try:
            while True:
                await self._stream.receive()
        except _GONE:
            raise ClientGoneError from None

    async def keep_alive(self) -> None:
        """Nothing: HTTP wants no signs of life."""

    async def send(self, message: str | bytes) -> None:
        payload = message.encode("utf-8") if isinstance(message, str) else message
        await self._write(b"%x\r\n%b\r\n" % (len(payload), payload))

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002  HTTP has neither
        await self._write(b"0\r\n\r\n")

    async def _write(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (*_GONE, OSError):
            raise ClientGoneError from None
