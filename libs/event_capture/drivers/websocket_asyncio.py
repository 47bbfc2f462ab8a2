"""The WebSocket driver for asyncio, on `websockets`.

Messages are taken where the protocol yields them, not through `recv()`: a frame is stamped in the same turn of the
event loop in which its bytes arrived, and no task is woken per message. There is nothing to queue, so nothing to
bound: a recorder that is slow makes the socket wait.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, final

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    PayloadTooBig,
    WebSocketException,
)
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State
from websockets.typing import Subprotocol

from event_capture.drivers.address import Handshake, describe_os_error
from event_capture.drivers.frame_scanner import FrameScanner
from event_capture.drivers.observer import CLOSE_REASON_NOT_UTF8, NO_CLOSE_FRAME, Observer
from event_capture.errors import ConnectionFailedError, HandshakeRejectedError

_SILENT = logging.getLogger("event_capture.websockets")
_BODY_EXCERPT = 200
_WHOLE_TEXT = 0x81
"""First byte of a text frame that is a message of its own. RFC 6455, section 5.2."""
_LENGTH_IN_2_BYTES = 126


class _CapturingConnection(ClientConnection):
    """A client connection whose messages go to an observer."""

    observer: Observer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._early: list[Frame] = []
        self._scanner = FrameScanner(sys.maxsize)
        self._after_close = 0
        self._fragments: list[bytes] = []
        self._fragments_are_text = True
        self._failed = False
        self._rest = b""
        """The beginning of a text frame whose rest has not arrived."""

    def observe(self, observer: Observer) -> None:
        """Hand over messages from now on, first those that came in the same read as the handshake's answer."""
        self.observer = observer
        early, self._early = self._early, []
        for frame in early:
            self._take(frame, observer)
        if self.protocol.state is State.CLOSED:
            self._lost(observer)
        self._tell_after_close(observer)
        observer.flush()

    def process_event(self, event: Event) -> None:
        if not isinstance(event, Frame) or self.response is None:
            super().process_event(event)
            return
        observer = self.observer
        if observer is None:
            self._early.append(event)
        else:
            self._take(event, observer)

    def data_received(self, data: bytes) -> None:
        observer = self.observer
        if observer is None:
            self._scanner.feed(data)
            super().data_received(data)
            return
        observer.recorder.hold()
        try:
            self._read(data, observer)
        finally:
            observer.recorder.release()
        observer.flush()

    def _read(self, data: bytes, observer: Observer) -> None:
        if self._between_messages():
            data = self._take_whole_texts(self._rest + data, observer)
        elif self._rest:
            data, self._rest = self._rest + data, b""
        if data:
            self._scanner.feed(data)
            super().data_received(data)
        if self.protocol.parser_exc is not None:
            self._lost(observer)  # the protocol was broken, and the close frame that says so has left
        self._tell_after_close(observer)

    def _tell_after_close(self, observer: Observer) -> None:
        """Record bytes after the close frame, in the same packet or a later one; `websockets` drops them."""
        count, self._after_close = self._scanner.after_close - self._after_close, self._scanner.after_close
        if count and observer.close_record is not None:
            observer.malformed(None, count, f"{count} bytes after the close frame")

    def eof_received(self) -> None:
        rest, self._rest = self._rest, b""
        if rest:
            self._scanner.feed(rest)
            super().data_received(rest)
        super().eof_received()

    def _between_messages(self) -> bool:
        protocol = self.protocol
        return (
            protocol.state is State.OPEN
            and protocol.current_size is None
            and not protocol.reader.buffer
            and not self._failed
        )

    def _take_whole_texts(self, data: bytes, observer: Observer) -> bytes:
        """Hand over the unfragmented text messages at the front, and return what must go the usual way.

        Nearly every frame of an event stream is such a one. Taking it here costs a tenth of what the protocol's
        general parser costs; whatever else comes next (control frames, fragments, binary, large or masked frames)
        goes to the parser with everything behind it. An unfinished text frame at the end waits for its rest.
        """
        position, end = 0, len(data)
        largest = observer.limits.max_message_bytes
        while position + 4 <= end and data[position] == _WHOLE_TEXT:
            length = data[position + 1]
            start = position + 2
            if length >= _LENGTH_IN_2_BYTES:
                if length != _LENGTH_IN_2_BYTES:
                    break
                length = data[start] << 8 | data[start + 1]
                start += 2
            if length > largest:
                break
            if start + length > end:
                self._rest = data[position:]
                return b""
            position = start + length
            if not observer.text(data[start:position]):
                self._fail(observer)
                return b""
        self._rest = b""
        return data[position:]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.observer is not None:
            self._lost(self.observer)

    def _take(self, frame: Frame, observer: Observer) -> None:
        if self._failed:
            return
        opcode = frame.opcode
        if opcode is Opcode.TEXT and frame.fin:
            self._message(bytes(frame.data), observer, is_text=True)
        elif opcode in (Opcode.TEXT, Opcode.BINARY):
            self._fragments_are_text = opcode is Opcode.TEXT
            self._fragments = [bytes(frame.data)]
            if frame.fin:
                self._end_fragments(observer)
        elif opcode is Opcode.CONT:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                self._end_fragments(observer)
        elif opcode is Opcode.CLOSE and self.protocol.close_rcvd is not None:
            observer.closed(self.protocol.close_rcvd.code, self.protocol.close_rcvd.reason)
        else:
            super().process_event(frame)

    def _end_fragments(self, observer: Observer) -> None:
        payload = b"".join(self._fragments)
        self._fragments = []
        self._message(payload, observer, is_text=self._fragments_are_text)

    def _message(self, payload: bytes, observer: Observer, *, is_text: bool) -> None:
        if not is_text:
            observer.binary(payload)
        elif not observer.text(payload):
            self._fail(observer)

    def _fail(self, observer: Observer) -> None:
        self._failed = True
        self._rest = b""
        self.protocol.fail(CloseCode.INVALID_DATA, "invalid UTF-8")
        self.send_data()
        observer.closed(CloseCode.INVALID_DATA, "invalid UTF-8", "closed by the client")

    def _lost(self, observer: Observer) -> None:
        if observer.close_record is not None:
            return
        error = self.protocol.parser_exc
        if isinstance(error, PayloadTooBig):
            observer.malformed(None, 0, f"a message larger than the limit of {observer.limits.max_message_bytes} bytes")
            observer.closed(CloseCode.MESSAGE_TOO_BIG, "message too big", "closed by the client")
        elif isinstance(error, UnicodeDecodeError):
            observer.closed(CloseCode.INVALID_DATA, "invalid UTF-8", f"closed by the client: {CLOSE_REASON_NOT_UTF8}")
        elif observer.closing_by_client and self.protocol.close_rcvd is None:
            observer.closed(NO_CLOSE_FRAME, "", "closed by the client; the server did not answer the close frame")
        elif self.protocol.close_sent is not None and self.protocol.close_rcvd is None and error is not None:
            code, reason = self.protocol.close_sent.code, self.protocol.close_sent.reason
            observer.closed(code, reason, f"closed by the client: {error}" if str(error) else "closed by the client")
        else:
            observer.closed(self.protocol.close_code or NO_CLOSE_FRAME, self.protocol.close_reason or "")


@final
class AsyncioTransport:
    """What a connection does with its socket, on asyncio."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    async def send(self, message: str | bytes) -> bool:
        """Send one message. Returns False when the connection has ended."""
        try:
            await self._websocket.send(message)
        except ConnectionClosed:
            return False
        return True

    async def close(self, code: int, reason: str) -> None:
        """Close with a close frame and wait, no longer than the close timeout, for the server's."""
        await self._websocket.close(code, reason)

    def abort(self) -> None:
        """Drop the socket at once."""
        self._websocket.transport.abort()


@asynccontextmanager
async def open_asyncio(handshake: Handshake, observer: Observer) -> AsyncIterator[AsyncioTransport]:
    """Connect on asyncio. Raises ConnectionFailedError. The socket is gone when the block ends, however it ends."""
    websocket = await _connect(handshake, observer)
    transport = AsyncioTransport(websocket)
    try:
        observer.opened(handshake.address.shown, websocket.subprotocol)
        if isinstance(websocket, _CapturingConnection):
            websocket.observe(observer)
        yield transport
    finally:
        transport.abort()


async def _connect(handshake: Handshake, observer: Observer) -> ClientConnection:
    address, limits = handshake.address, observer.limits
    shown = address.shown
    # websockets refuses `ssl=None` for wss and a context for ws, so the argument is there or it is not.
    tls: dict[str, Any] = {"ssl": handshake.tls} if address.secure else {}
    try:
        with anyio.fail_after(limits.connect_timeout):
            return await connect(
                address.url,
                create_connection=_CapturingConnection,
                additional_headers=dict(handshake.headers),
                subprotocols=[Subprotocol(name) for name in handshake.subprotocols] or None,
                compression=None,  # sizes in a recording are sizes on the wire; trio-websocket has no compression
                proxy=None,
                open_timeout=None,
                ping_interval=None,
                close_timeout=limits.close_timeout,
                max_size=limits.max_message_bytes,
                logger=_SILENT,
                **tls,
            )
    except TimeoutError:
        raise ConnectionFailedError(
            f"cannot connect to {shown}: no answer within {limits.connect_timeout:g} s"
        ) from None
    except InvalidStatus as error:
        body = (error.response.body or b"")[:_BODY_EXCERPT].decode("utf-8", "replace")
        said = observer.recorder.redaction.text(body)
        raise HandshakeRejectedError(shown, error.response.status_code, said) from None
    except InvalidMessage:
        raise ConnectionFailedError(
            f"cannot connect to {shown}: the server closed the connection without answering the handshake"
        ) from None
    except (InvalidHandshake, InvalidProxy, WebSocketException) as error:
        raise ConnectionFailedError(f"cannot connect to {shown}: {error}") from None
    except (OSError, asyncio.IncompleteReadError, EOFError) as error:
        raise ConnectionFailedError(f"cannot connect to {shown}: {describe_os_error(error)}") from None
