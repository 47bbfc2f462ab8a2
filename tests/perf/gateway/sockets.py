"""WebSocket clients that do as little as they can, so that the server is the slower side: they count frames."""

import asyncio
import base64
import os
from collections.abc import Callable, Mapping
from typing import Final, cast, final
from urllib.parse import urlsplit

_TEXT: Final = 0x81
_PING: Final = 0x89
_PONG: Final = 0x8A


def masked(payload: bytes, kind: int = _TEXT) -> bytes:
    """A client's frame. The mask is zero, which RFC 6455 allows and which leaves the payload as it is."""
    if len(payload) < 126:
        return bytes([kind, 0x80 | len(payload)]) + bytes(4) + payload
    return bytes([kind, 0x80 | 126]) + len(payload).to_bytes(2, "big") + bytes(4) + payload


@final
class CountingSocket(asyncio.Protocol):
    """One connection. `on_frames` is told how many text frames have come, whenever some have."""

    def __init__(self, handshake: bytes) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.frames = 0
        self.last = b""
        """Payload of the newest text frame."""
        self.on_frames: Callable[[int], None] | None = None
        self._handshake = handshake
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._handshake)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed in the handshake"))

    def send(self, payload: bytes) -> None:
        self.write(masked(payload))

    def write(self, frame: bytes) -> None:
        assert self._transport is not None
        self._transport.write(frame)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._data = head
                return
            if b" 101 " not in head[:16]:
                self.opened.set_exception(ConnectionError(head.decode()))
                return
            self.opened.set_result(None)
        self._data = self._count(data)

    def _count(self, data: bytes) -> bytes:
        """Count whole frames, and return what is left."""
        start, count, size = 0, 0, len(data)
        while size - start >= 2:
            length = data[start + 1]
            body = start + 2
            if length == 126:
                body, length = start + 4, int.from_bytes(data[start + 2 : start + 4], "big")
            elif length == 127:
                body, length = start + 10, int.from_bytes(data[start + 2 : start + 10], "big")
            if body + length > size:
                break
            if data[start] == _TEXT:
                count += 1
                self.last = data[body : body + length]
            elif data[start] == _PING:
                self.write(masked(data[body : body + length], _PONG))
            start = body + length
        self.frames += count
        if count and self.on_frames is not None:
            self.on_frames(count)
        return data[start:]


async def open_socket(url: str, headers: Mapping[str, str] | None = None) -> CountingSocket:
    """Connect to a `ws://` URL."""
    parts = urlsplit(url)
    lines = [
        f"GET {parts.path}{'?' if parts.query else ''}{parts.query} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    handshake = "\r\n".join([*lines, "", ""]).encode()
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: CountingSocket(handshake), str(parts.hostname), parts.port or 80)
    await client.opened
    return client
