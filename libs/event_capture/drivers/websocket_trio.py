"""The WebSocket driver for trio, on `trio-websocket`.

The connection lives in a task of its own: whatever breaks in it becomes a record there and never an exception in the
code that captures. Messages are read as they come, so the library's queue of one message is all there is to bound.
"""

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, final

import trio
from anyio.abc import TaskStatus
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, WebSocketConnection, wrap_client_stream

from event_capture.drivers.address import Handshake, describe_os_error
from event_capture.drivers.background import Background
from event_capture.drivers.frame_scanner import FrameScanner
from event_capture.drivers.observer import CLOSE_REASON_NOT_UTF8, NO_CLOSE_FRAME, Observer
from event_capture.errors import ConnectionFailedError, HandshakeRejectedError

_BODY_EXCERPT: Final = 200
_RECEIVE_BYTES: Final = 64 * 1024
_INVALID_DATA: Final = 1007
_MESSAGE_TOO_BIG: Final = 1009
_PROTOCOL_ERROR: Final = 1002
_CLOSE_FRAME_REFUSED: Final = "CLOSE"
"""In the reason that wsproto gives for code 1007 when it was a close frame, not a message, that was no UTF-8."""


class _WatchedStream(trio.abc.Stream):
    """The socket, and what trio-websocket does not tell: its end before the handshake, bytes after the close frame,
    which message it refused. It also ends the stream before a message that is too large begins."""

    def __init__(self, stream: trio.abc.Stream, observer: Observer) -> None:
        self._stream = stream
        self._observer = observer
        self._after_close = 0
        self.scanner = FrameScanner(observer.limits.max_message_bytes, keep=True)
        self.ended = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.scanner.too_big:
            return await self._refuse_message()
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
            return data
        data = data[: self.scanner.feed(bytes(data))]
        if self._observer.close_record is not None:
            self.tell_after_close()
        return data or await self._refuse_message()

    def tell_after_close(self) -> None:
        """Record bytes after the close frame, in the same packet or a later one; trio-websocket drops them."""
        count, self._after_close = self.scanner.after_close - self._after_close, self.scanner.after_close
        if count:
            self._observer.malformed(None, count, f"{count} bytes after the close frame")

    async def _refuse_message(self) -> bytes:
        """Close for a message over the limit, which trio-websocket would wait for; to it, the stream ends here."""
        if not self.ended.is_set():
            with trio.move_on_after(self._observer.limits.close_timeout):
                await self._stream.send_all(_close_frame(_MESSAGE_TOO_BIG, b"message too big"))
            self.ended.set()
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@final
class TrioTransport:
    """What a connection does with its socket, on trio."""

    def __init__(self, handshake: Handshake, observer: Observer) -> None:
        self._handshake = handshake
        self._observer = observer
        self._websocket: WebSocketConnection | None = None
        self._stream: _WatchedStream | None = None
        self._read_to_end = trio.Event()
        self._cancel = trio.CancelScope()

    async def send(self, message: str | bytes) -> bool:
        """Send one message. Returns False when the connection has ended."""
        if self._websocket is None:
            return False
        try:
            await self._websocket.send_message(message)
        except ConnectionClosed:
            # It is told here as soon as the close frame is seen; what came before that is still being recorded.
            with trio.move_on_after(self._observer.limits.close_timeout):
                await self._read_to_end.wait()
            return False
        return True

    async def close(self, code: int, reason: str) -> None:
        """Close with a close frame and wait, no longer than the close timeout, for the server's."""
        if self._websocket is None:
            return
        with trio.move_on_after(self._observer.limits.close_timeout) as waiting:
            await self._websocket.aclose(code, reason or None)
        if waiting.cancelled_caught:
            self._observer.closed(NO_CLOSE_FRAME, "", "closed by the client; the server did not answer the close frame")
        else:
            self._observer.closed(code, reason)
            if self._stream is not None:
                self._stream.tell_after_close()

    def abort(self) -> None:
        """Drop the socket at once."""
        self._cancel.cancel()

    async def run(self, task_status: TaskStatus[None]) -> None:
        """Connect, report as started, read until the connection ends. Raises ConnectionFailedError before that."""
        started = False
        shown = self._handshake.address.shown
        try:
            with self._cancel:
                async with trio.open_nursery() as nursery:
                    with trio.fail_after(self._observer.limits.connect_timeout):
                        stream = await self._open_stream()
                        websocket = await self._shake_hands(nursery, stream)
                    try:
                        self._websocket, self._stream = websocket, stream
                        self._observer.opened(shown, websocket.subprotocol)
                        started = True
                        task_status.started()
                        await self._read(websocket, stream)
                        self._read_to_end.set()
                        await stream.ended.wait()
                    finally:
                        await trio.aclose_forcefully(stream)
        except BaseExceptionGroup as group:
            _, errors = group.split(trio.Cancelled)
            error = _first(errors) if errors is not None else None
            if not isinstance(error, Exception):
                raise
            if not started:
                raise _explain(error, self._observer, shown) from None
            self._observer.closed(NO_CLOSE_FRAME, "", f"the connection broke: {describe_os_error(error)}")

    async def _open_stream(self) -> _WatchedStream:
        address = self._handshake.address
        stream: trio.abc.Stream = await trio.open_tcp_stream(address.host, address.port)
        try:
            if self._handshake.tls is not None:
                secured = trio.SSLStream(
                    stream, self._handshake.tls, server_hostname=address.host, https_compatible=True
                )
                await secured.do_handshake()
                stream = secured
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return _WatchedStream(stream, self._observer)

    async def _shake_hands(self, nursery: trio.Nursery, stream: _WatchedStream) -> WebSocketConnection:
        """Race the handshake against the end of the stream: trio-websocket waits for its answer for ever."""
        address = self._handshake.address
        opened: list[WebSocketConnection] = []
        try:
            async with trio.open_nursery() as race:

                async def give_up() -> None:
                    await stream.ended.wait()
                    race.cancel_scope.cancel()

                race.start_soon(give_up)
                opened.append(
                    await wrap_client_stream(
                        nursery,
                        stream,  # type: ignore[arg-type]  # any trio Stream works; the annotation names two of them
                        address.host_header,
                        address.resource,
                        subprotocols=self._handshake.subprotocols,
                        extra_headers=[
                            (name.encode("ascii"), value.encode("latin-1"))
                            for name, value in self._handshake.headers.items()
                        ],
                        message_queue_size=1,
                        max_message_size=self._observer.limits.max_message_bytes,
                        receive_buffer_size=_RECEIVE_BYTES,
                    )
                )
                race.cancel_scope.cancel()
            if opened:
                return opened[0]
            raise ConnectionAbortedError("the server closed the connection without answering the handshake")
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _read(self, websocket: WebSocketConnection, stream: _WatchedStream) -> None:
        observer = self._observer
        while True:
            try:
                message = await websocket.get_message()
            except ConnectionClosed as error:
                self._ended(error, stream.scanner)
                stream.tell_after_close()
                return
            stream.scanner.read()
            if isinstance(message, str):
                observer.text(message.encode("utf-8"))
            else:
                observer.binary(bytes(message))
            observer.flush()

    def _ended(self, error: ConnectionClosed, scanner: FrameScanner) -> None:
        observer = self._observer
        code = error.reason.code if error.reason is not None else NO_CLOSE_FRAME
        reason = (error.reason.reason if error.reason is not None else None) or ""
        if observer.closing_by_client:
            return  # `close` knows the code that was asked for, and whether it was answered
        if scanner.too_big:
            observer.malformed(None, 0, f"a message larger than the limit of {observer.limits.max_message_bytes} bytes")
            observer.closed(_MESSAGE_TOO_BIG, "message too big", "closed by the client")
        elif code == _INVALID_DATA and _CLOSE_FRAME_REFUSED in reason:
            observer.closed(code, "invalid UTF-8", f"closed by the client: {CLOSE_REASON_NOT_UTF8}")
        elif code == _INVALID_DATA and "utf-8" in reason.lower():
            refused = scanner.first_unread()
            if refused is not None:
                observer.text(bytes(refused.payload))
            observer.closed(code, "invalid UTF-8", "closed by the client")
        elif code == _PROTOCOL_ERROR and reason:
            observer.closed(code, reason, f"closed by the client: {reason}")
        else:
            observer.closed(code, reason)


def _close_frame(code: int, reason: bytes) -> bytes:
    """A client's close frame. RFC 6455, section 5.5.1."""
    mask = os.urandom(4)
    payload = code.to_bytes(2, "big") + reason
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([0x88, 0x80 | len(payload)]) + mask + masked


@asynccontextmanager
async def open_trio(handshake: Handshake, observer: Observer) -> AsyncIterator[TrioTransport]:
    """Connect on trio. Raises ConnectionFailedError. The socket is gone when the block ends, however it ends."""
    transport = TrioTransport(handshake, observer)
    async with Background() as background:
        await background.start(transport.run)
        yield transport


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _explain(error: BaseException, observer: Observer, shown: str) -> ConnectionFailedError:
    match error:
        case trio.TooSlowError():
            seconds = observer.limits.connect_timeout
            return ConnectionFailedError(f"cannot connect to {shown}: no answer within {seconds:g} s")
        case ConnectionRejected():
            body = (error.body or b"")[:_BODY_EXCERPT].decode("utf-8", "replace")
            return HandshakeRejectedError(shown, error.status_code, observer.recorder.redaction.text(body))
        case trio.BrokenResourceError():
            cause = error.__cause__
            why = str(cause) if isinstance(cause, ssl.SSLError) else "the connection broke"
            return ConnectionFailedError(f"cannot connect to {shown}: {why}")
        case HandshakeError():
            return ConnectionFailedError(f"cannot connect to {shown}: the handshake failed: {error}")
        case OSError():
            return ConnectionFailedError(f"cannot connect to {shown}: {describe_os_error(error)}")
        case _:
            return ConnectionFailedError(f"cannot connect to {shown}: {describe_os_error(error)}")
