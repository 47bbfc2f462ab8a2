"""`connect_socketio`: a captured Socket.IO session, on asyncio and trio, over the same WebSocket drivers.

python-socketio's own client runs on asyncio alone and hides the frames, so only its packet codec is used: one way for
both event loops, with times taken where frames arrive. The WebSocket transport only; there is no long polling.
"""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, final
from urllib.parse import urlencode, urlunsplit

import anyio
from anyio.abc import TaskStatus

from event_capture.drivers.address import split_address
from event_capture.drivers.background import Background
from event_capture.drivers.connection import (
    Connection,
    Outgoing,
    Transport,
    closed_at_the_end,
    handshake_for,
    json_of,
    open_transport,
)
from event_capture.drivers.limits import ConnectionLimits
from event_capture.drivers.observer import Observer
from event_capture.drivers.socketio_codec import (
    Broken,
    Event,
    Fact,
    Joined,
    Left,
    Opened,
    Refused,
    Reply,
    SocketIOCodec,
    event_data,
)
from event_capture.errors import BadInputError, ConnectionFailedError
from event_capture.recording.recorder import Recorder

_MAX_REPLIES: Final = 64
"""Replies that may wait to be sent. A server that asks for more at once goes without."""
_SCHEMES: Final = {"http": "ws", "https": "wss"}


@final
class _SocketIOObserver(Observer):
    """Records events, and keeps what the session itself needs: its state and the replies it owes."""

    def __init__(
        self, recorder: Recorder, *, connection: str, user: str, limits: ConnectionLimits, codec: SocketIOCodec
    ) -> None:
        super().__init__(recorder, connection=connection, user=user, limits=limits)
        self._codec = codec
        self.replies: deque[str] = deque(maxlen=_MAX_REPLIES)
        self.reply_due = anyio.Event()
        self.ready = anyio.Event()
        self.joined = anyio.Event()
        self.refusal: str | None = None

    def text(self, payload: bytes) -> bool:
        if len(payload) > self.limits.max_event_bytes:
            return super().text(payload)
        self._take(self._codec.text(payload), len(payload))
        return True

    def binary(self, payload: bytes) -> None:
        self._take(self._codec.binary(payload), len(payload))

    def closed(self, code: int | None, reason: str, note: str = "") -> None:
        super().closed(code, reason, note)
        self._end_handshake(f"the connection ended with code {code} {reason}".rstrip())

    def _take(self, facts: list[Fact], size: int) -> None:
        for fact in facts:
            match fact:
                case Event(data):
                    self.event(data, size)
                case Broken(excerpt, note):
                    self.malformed(excerpt, size, note)
                case Reply(message):
                    self.replies.append(message)
                    self.reply_due.set()
                case Opened():
                    self.ready.set()
                case Joined():
                    self.joined.set()
                case Refused(reason):
                    self._end_handshake(reason)
                case Left(reason):
                    self.closed(1000, reason)

    def _end_handshake(self, reason: str) -> None:
        if not self.joined.is_set():
            self.refusal = reason
            self.ready.set()
            self.joined.set()


@final
class _SocketIOOutgoing(Outgoing):
    """Turns `{"event": name, "data": argument}` into packets. A list is several arguments."""

    def __init__(self, codec: SocketIOCodec) -> None:
        self._codec = codec

    def encode(self, message: Mapping[str, Any] | str | bytes) -> tuple[str | bytes, Any, str]:
        if not isinstance(message, Mapping):
            return super().encode(message)
        name = message.get("event")
        if not isinstance(name, str):
            raise BadInputError('event: a Socket.IO message looks like {"event": "chat_message", "data": {...}}')
        data = message.get("data")
        arguments = data if isinstance(data, list) else [] if data is None else [data]
        json_of([name, arguments])  # refused here, before anything is recorded
        return self._codec.emit(name, *arguments), event_data(name, arguments, self._codec.namespace), ""


@asynccontextmanager
async def connect_socketio(
    url: str,
    *,
    recorder: Recorder | None = None,
    name: str | None = None,
    user: str = "",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
    limits: ConnectionLimits | None = None,
    auth: Mapping[str, Any] | None = None,
    namespace: str = "/",
    path: str = "socket.io",
) -> AsyncIterator[Connection]:
    """Open a Socket.IO session and record its events. Its `send` takes `{"event": name, "data": argument}`.

    Args:
        url: `http://`, `https://`, `ws://` or `wss://` address of the server, without the Socket.IO path.
        auth: what to hand over when joining the namespace.
        namespace: the namespace to join.
        path: path of the Socket.IO endpoint.

    The others are those of `connect`. Raises like `connect`; ConnectionFailedError also when the server does not let
    the client into the namespace.
    """
    recorder = recorder if recorder is not None else Recorder()
    limits = limits if limits is not None else ConnectionLimits()
    target = _endpoint(url, path, recorder.redaction.url(url))
    handshake = await handshake_for(
        target, recorder, user=user, token=token, headers=headers, subprotocols=subprotocols, tls=tls
    )
    codec = SocketIOCodec(namespace, max_depth=limits.max_depth)
    observer = _SocketIOObserver(
        recorder, connection=name or recorder.connection_name(user), user=user, limits=limits, codec=codec
    )
    shown = handshake.address.shown
    async with open_transport(handshake, observer) as transport, Background() as background:
        connection = Connection(transport, observer, _SocketIOOutgoing(codec))
        await background.start(_reply_task(transport, observer))
        async with closed_at_the_end(observer, partial(_leave, connection, transport, codec)):
            await _join(transport, observer, codec, auth, shown)
            yield connection


def _endpoint(url: str, path: str, shown: str) -> str:
    parts = split_address(url, shown)
    query = "&".join(part for part in (parts.query, urlencode({"EIO": 4, "transport": "websocket"})) if part)
    target = f"{parts.path.rstrip('/')}/{path.strip('/')}/"
    return urlunsplit((_SCHEMES.get(parts.scheme, parts.scheme), parts.netloc, target, query, ""))


async def _join(
    transport: Transport, observer: _SocketIOObserver, codec: SocketIOCodec, auth: Mapping[str, Any] | None, shown: str
) -> None:
    with anyio.move_on_after(observer.limits.connect_timeout) as waiting:
        await observer.ready.wait()
        if observer.refusal is None:
            await transport.send(codec.join(auth))
            await observer.joined.wait()
    if waiting.cancelled_caught:
        seconds = observer.limits.connect_timeout
        raise ConnectionFailedError(f"cannot connect to {shown}: no Socket.IO session within {seconds:g} s")
    if observer.refusal is not None:
        said = observer.recorder.redaction.text(observer.refusal)
        raise ConnectionFailedError(f"cannot connect to {shown}: namespace {codec.namespace} refused: {said}")


async def _leave(connection: Connection, transport: Transport, codec: SocketIOCodec) -> None:
    if connection.close_record is None:
        with anyio.move_on_after(1):
            await transport.send(codec.leave())
    await connection.aclose()


def _reply_task(transport: Transport, observer: _SocketIOObserver) -> Any:
    async def run(task_status: TaskStatus[None]) -> None:
        task_status.started()
        while True:
            await observer.reply_due.wait()
            observer.reply_due = anyio.Event()
            while observer.replies:
                if not await transport.send(observer.replies.popleft()):
                    return

    return run
