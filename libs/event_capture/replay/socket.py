"""The server side of one WebSocket, on anyio: the protocol is `websockets`' own, without its event loop."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, final

import anyio
import anyio.abc
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

_SILENT: Final = logging.getLogger("event_capture.websockets")
_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class ClientGoneError(Exception):
    """The client has left. Internal to servers."""


@final
class ServerSocket:
    """One accepted connection. `receive` and `send` may run in two tasks.

    Args:
        stream: the TCP stream.
        prefer: the subprotocol to choose when the client offers it; None chooses none.
        max_size: largest message that is read, in bytes.
        received: what has been read of the stream already.
    """

    def __init__(
        self, stream: anyio.abc.ByteStream, *, prefer: str | None = None, max_size: int = 2**20, received: bytes = b""
    ) -> None:
        self._stream = stream
        self._received = received

        self.offered: tuple[str, ...] = ()
        """Subprotocols that the client offered."""

        # A plain function: the protocol binds it to itself, which a bound method would ignore.
        def select(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
            self.offered = tuple(offered)
            return Subprotocol(prefer) if prefer is not None and prefer in offered else None

        self._protocol = ServerProtocol(select_subprotocol=select, max_size=max_size, logger=_SILENT)
        self._writing = anyio.Lock()
        self._frames: list[Frame] = []
        self._fragments: list[bytes] = []
        self._is_text = True

    async def accept(self) -> Request:
        """Complete the handshake. Returns the client's request.

        Raises:
            ClientGoneError: the client left, or what it sent was no handshake; it has been answered then.
        """
        while True:
            events = await self._read()
            for event in events:
                if isinstance(event, Request):
                    self._protocol.send_response(self._protocol.accept(event))
                    await self._flush()
                    if self._protocol.handshake_exc is not None:
                        raise ClientGoneError
                    return event
            if not events and self._protocol.state is State.CLOSED:
                raise ClientGoneError

    async def receive(self) -> str | bytes:
        """The client's next message. Raises ClientGoneError when there is none to come."""
        while True:
            while self._frames:
                message = self._assemble(self._frames.pop(0))
                if message is not None:
                    return message
            if self._protocol.state is not State.OPEN:
                raise ClientGoneError
            self._frames.extend(event for event in await self._read() if isinstance(event, Frame))

    async def send(self, message: str | bytes) -> None:
        """Send one message. Waits while the client does not read. Raises ClientGoneError."""
        if self._protocol.state is not State.OPEN:
            raise ClientGoneError
        if isinstance(message, str):
            self._protocol.send_text(message.encode("utf-8"))
        else:
            self._protocol.send_binary(message)
        await self._flush()

    async def close(self, code: int, reason: str = "") -> None:
        """Send a close frame. The client's answer is read by whoever calls `receive`."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            with suppress(ClientGoneError):
                await self._flush()

    def _assemble(self, frame: Frame) -> str | bytes | None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
            self._fragments = [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT:
            self._fragments.append(bytes(frame.data))
        else:
            return None
        if not frame.fin:
            return None
        payload = b"".join(self._fragments)
        return payload.decode("utf-8", "replace") if self._is_text else payload

    async def _read(self) -> list[object]:
        try:
            data, self._received = self._received or await self._stream.receive(), b""
        except anyio.EndOfStream:
            self._protocol.receive_eof()
        except _GONE:
            raise ClientGoneError from None
        else:
            self._protocol.receive_data(data)
        events: list[object] = list(self._protocol.events_received())
        await self._flush()
        return events

    async def _flush(self) -> None:
        async with self._writing:
            for data in self._protocol.data_to_send():
                try:
                    if data:
                        await self._stream.send(data)
                    else:
                        await self._stream.send_eof()
                except (*_GONE, OSError):
                    raise ClientGoneError from None
