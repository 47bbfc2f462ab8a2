"""A WebSocket client for tests, the same on both backends: the sans-IO protocol of `websockets` over an anyio stream.

It reads only when it is asked to, so a test can play the client that never reads.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, final

import anyio
import msgspec
from anyio.abc import ByteStream
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

TERMINAL_EVENTS = ("agent_completed", "error_event")
_TIMEOUT = 60.0


class HandshakeRefusedError(Exception):
    """The gateway answered the handshake with something else than an upgrade."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        super().__init__(f"HTTP {status}: {body[:200]!r}")


class ConnectionEndedError(Exception):
    """The connection is closed; `code` and `reason` are those of the close frame, 1006 when there was none."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code} {reason}")


@final
class ChatClient:
    """One WebSocket connection of a test. Make one with `ChatClient.connect`."""

    def __init__(self, stream: ByteStream, protocol: ClientProtocol) -> None:
        self._stream = stream
        self._protocol = protocol
        self._frames: deque[bytes] = deque()
        self._parts: list[bytes] = []
        self.subprotocol: str | None = None

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, *, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
    ) -> AsyncIterator[Self]:
        """Connect to `ws://HOST:PORT/PATH` and close when the block ends.

        Raises:
            HandshakeRefusedError: the upgrade was refused.
        """
        uri = parse_uri(url)
        stream = await anyio.connect_tcp(uri.host, uri.port)
        async with stream:
            protocol = ClientProtocol(uri, subprotocols=[Subprotocol(name) for name in subprotocols] or None)
            client = cls(stream, protocol)
            with anyio.fail_after(_TIMEOUT):
                await client._shake_hands(headers or {})
            try:
                yield client
            finally:
                with anyio.move_on_after(1, shield=True):
                    await client._say_goodbye()

    async def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send a message: a mapping as JSON, a string as text, bytes as a binary frame."""
        self._put(message)
        await self._flush()

    async def send_all(self, messages: Iterable[Mapping[str, Any] | str | bytes]) -> None:
        """Send many messages as fast as a client can: in one write."""
        for message in messages:
            self._put(message)
        await self._stream.send(b"".join(self._protocol.data_to_send()))

    async def receive(self, *, timeout: float = _TIMEOUT) -> dict[str, Any]:
        """The next event.

        Raises:
            ConnectionEndedError: the connection is closed.
            TimeoutError: nothing came within `timeout` seconds.
        """
        event: dict[str, Any] = msgspec.json.decode(await self.receive_text(timeout=timeout))
        return event

    async def receive_text(self, *, timeout: float = _TIMEOUT) -> str:
        """The next message as it is. Raises as `receive` does."""
        with anyio.fail_after(timeout):
            while not self._frames:
                await self._read()
        return self._frames.popleft().decode()

    async def receive_until(self, *types: str, timeout: float = _TIMEOUT) -> list[dict[str, Any]]:
        """Events up to and including the first of one of `types`."""
        events: list[dict[str, Any]] = []
        with anyio.fail_after(timeout):
            while not events or events[-1]["type"] not in types:
                events.append(await self.receive(timeout=timeout))
        return events

    async def chat(self, content: str, **fields: Any) -> list[dict[str, Any]]:
        """Send a user message and return the events up to the end of its turn."""
        await self.send({"type": "user_message", "content": content, **fields})
        return await self.receive_until(*TERMINAL_EVENTS)

    async def wait_closed(self, *, timeout: float = _TIMEOUT) -> ConnectionEndedError:
        """Read until the gateway ends the connection, and say how it did."""
        with anyio.fail_after(timeout):
            while True:
                try:
                    self._frames.clear()
                    await self._read()
                except ConnectionEndedError as error:
                    return error

    async def abort(self) -> None:
        """Drop the TCP connection without a close frame."""
        await anyio.aclose_forcefully(self._stream)

    async def _shake_hands(self, headers: Mapping[str, str]) -> None:
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        await self._flush()
        response: Response | None = None
        while response is None:
            self._feed(await self._stream.receive())
            for event in self._protocol.events_received():
                if isinstance(event, Response):
                    response = event
                else:
                    # The first event may come in the same segment as the answer to the handshake.
                    self._take(event)
        if self._protocol.handshake_exc is not None:
            raise HandshakeRefusedError(response.status_code, bytes(response.body or b""))
        self.subprotocol = self._protocol.subprotocol

    async def _read(self) -> None:
        try:
            data = await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise self._ended() from None
        self._feed(data)
        for event in self._protocol.events_received():
            self._take(event)
        await self._flush()
        if self._protocol.close_rcvd is not None and not self._frames:
            raise self._ended()

    def _put(self, message: Mapping[str, Any] | str | bytes) -> None:
        if isinstance(message, bytes):
            self._protocol.send_binary(message)
        else:
            self._protocol.send_text(message.encode() if isinstance(message, str) else msgspec.json.encode(message))

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)

    def _take(self, event: Any) -> None:
        if not isinstance(event, Frame) or event.opcode not in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            return
        self._parts.append(bytes(event.data))
        if event.fin:
            self._frames.append(b"".join(self._parts))
            self._parts.clear()

    def _ended(self) -> ConnectionEndedError:
        close = self._protocol.close_rcvd
        return ConnectionEndedError(1006, "") if close is None else ConnectionEndedError(close.code, close.reason)

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                try:
                    await self._stream.send(data)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return

    async def _say_goodbye(self) -> None:
        if self._protocol.close_rcvd is None and self._protocol.close_sent is None:
            self._protocol.send_close(1000)
        await self._flush()
