"""`connect`: one WebSocket, captured, on whichever event loop runs."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol, final

import anyio
import anyio.to_thread
import msgspec

from event_capture.drivers.address import (
    Handshake,
    check_headers,
    check_subprotocols,
    parse_address,
    secrets_in,
)
from event_capture.drivers.frames import decode_binary, decode_text
from event_capture.drivers.limits import ConnectionLimits
from event_capture.drivers.observer import NO_CLOSE_FRAME, Observer
from event_capture.errors import BadInputError, ConnectionEndedError, RecordingWriteError, SendTimeoutError
from event_capture.recording.recorder import Recorder
from event_capture.records import Record

_encode = msgspec.json.Encoder().encode


class Transport(Protocol):
    """What a driver offers a connection."""

    async def send(self, message: str | bytes) -> bool: ...

    async def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...


class Outgoing:
    """Turns what `Connection.send` is given into a frame, and into what the recording holds of it."""

    def encode(self, message: Mapping[str, Any] | str | bytes) -> tuple[str | bytes, Any, str]:
        """Frame, recorded data, and what is malformed about it. Raises BadInputError for what cannot be sent."""
        if isinstance(message, bytes):
            return message, *decode_binary(message)[1:]
        frame = utf8(message) if isinstance(message, str) else json_of(message)
        return frame.decode(), *decode_text(frame)[1:]


def utf8(text: str) -> bytes:
    """A text as it travels. Raises BadInputError: half of a surrogate pair in it, which UTF-8 has no bytes for."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInputError(
            f"message: character {error.start} is half of a surrogate pair, which cannot be sent; send bytes instead"
        ) from None


def json_of(message: Any) -> bytes:
    """A value as JSON. Raises BadInputError: it has no JSON form."""
    try:
        return _encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadInputError(f"message: it cannot be written as JSON: {error}") from None


@final
class Connection:
    """One captured connection, made by `connect`. Everything that happens on it goes to `recorder` at once."""

    def __init__(self, transport: Transport, observer: Observer, outgoing: Outgoing | None = None) -> None:
        self._transport = transport
        self._observer = observer
        self._outgoing = outgoing if outgoing is not None else Outgoing()
        self._sending = anyio.Lock()

    @property
    def name(self) -> str:
        """Name of the connection in the recording."""
        return self._observer.connection

    @property
    def user(self) -> str:
        return self._observer.user

    @property
    def recorder(self) -> Recorder:
        return self._observer.recorder

    @property
    def close_record(self) -> Record | None:
        """The record of the connection's end; None while it lasts."""
        return self._observer.close_record

    def records(self) -> Iterator[Record]:
        """What happened on this connection so far, oldest first."""
        return (record for record in self.recorder.records() if record.connection == self.name)

    async def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send one message: a mapping as JSON text, a string as it is, bytes as a binary frame.

        It is recorded before it leaves, so that no answer stands before its question. Cancelled in the middle, the
        connection can no longer be used and is dropped.

        Raises:
            ConnectionEndedError: the connection has ended.
            SendTimeoutError: the server does not read. The connection is dropped.
            RecordingWriteError: the recording cannot be written.
            BadInputError: it is no UTF-8, or has no JSON form. Nothing is recorded, and the connection lives on.
        """
        self._raise_if_ended()
        frame, data, malformed = self._outgoing.encode(message)
        async with self._sending:
            self._raise_if_ended()
            size = len(frame.encode("utf-8")) if isinstance(frame, str) else len(frame)
            self._observer.sent(data, size, malformed=malformed)
            self._observer.flush()
            delivered = False
            try:
                with anyio.move_on_after(self._observer.limits.send_timeout) as waiting:
                    delivered = await self._transport.send(frame)
            except BaseException:
                self._transport.abort()
                raise
        if waiting.cancelled_caught:
            self._transport.abort()
            raise SendTimeoutError(self.name, self._observer.limits.send_timeout)
        if not delivered:
            raise ConnectionEndedError(self.name, self._why_ended())

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close with a close frame; wait for the server's no longer than the close timeout. Closing twice is fine.

        Raises:
            RecordingWriteError: the recording cannot be written.
        """
        if self.close_record is None:
            self._observer.closing_by_client = True
            await self._transport.close(code, reason)
        if self._observer.write_error is not None:
            raise self._observer.write_error

    def abort(self) -> None:
        """Drop the socket without a close frame, as a network does that breaks."""
        self._observer.closed(NO_CLOSE_FRAME, "", "cut off by the client")
        self._transport.abort()

    def _raise_if_ended(self) -> None:
        if self._observer.write_error is not None:
            raise self._observer.write_error
        if self.close_record is not None:
            raise ConnectionEndedError(self.name, self._why_ended())

    def _why_ended(self) -> str:
        record = self.close_record
        if record is None:
            return "the socket is gone"
        reason = f" {record.data['reason']!r}" if record.data["reason"] else ""
        return f"code {record.data['code']}{reason}, {record.note}"


@asynccontextmanager
async def connect(
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
) -> AsyncIterator[Connection]:
    """Open a WebSocket and record everything on it, on asyncio or trio, whichever runs.

    Args:
        url: `ws://` or `wss://` address.
        recorder: where the records go; by default one of its own, in memory.
        name: name of the connection in the recording; by default the recorder makes one.
        user: who connects, for isolation checks.
        token: sent as `Authorization: Bearer`, and kept out of the recording, also where the server repeats it.
        headers: further headers of the handshake.
        subprotocols: what to offer, the preferred one first.
        tls: TLS settings for `wss`; by default the system's trust store.
        limits: timeouts and sizes.

    The connection is closed when the block ends; when the block is cancelled, the socket is dropped at once.

    Raises:
        ConnectionFailedError: no connection came about; HandshakeRejectedError when the server said why.
    """
    recorder = recorder if recorder is not None else Recorder()
    limits = limits if limits is not None else ConnectionLimits()
    handshake = await handshake_for(
        url, recorder, user=user, token=token, headers=headers, subprotocols=subprotocols, tls=tls
    )
    observer = Observer(recorder, connection=name or recorder.connection_name(user), user=user, limits=limits)
    async with open_transport(handshake, observer) as transport:
        connection = Connection(transport, observer)
        async with closed_at_the_end(observer, connection.aclose):
            yield connection


@asynccontextmanager
async def closed_at_the_end(observer: Observer, close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Close when the block ends, also by an error, which comes out as it is. A block that is cancelled says no goodbye.

    Args:
        observer: where the end is written down, whichever it is.
        close: closes properly.
    """
    try:
        try:
            yield
        except Exception:  # of whatever kind: it is the caller's own, and passed on
            with suppress(RecordingWriteError):  # the error in flight says more
                await close()
            raise
        await close()
    finally:
        observer.closed(NO_CLOSE_FRAME, "", "cut off by the client")


def on_trio() -> bool:
    """Whether trio runs here; anything else that anyio knows is asyncio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


async def handshake_for(
    url: str,
    recorder: Recorder,
    *,
    user: str,
    token: str | None,
    headers: Mapping[str, str] | None,
    subprotocols: Sequence[str],
    tls: ssl.SSLContext | None,
) -> Handshake:
    """Check an address and put together what the client says there. The recorder is told what of it is secret.

    Raises:
        ConnectionFailedError: it cannot be said; no secret is shown.
    """
    address = parse_address(url, recorder.redaction.url(url))
    sent_headers = {"Authorization": address.authorization} if address.authorization is not None else {}
    sent_headers.update(headers or {})
    if token is not None:
        sent_headers["Authorization"] = f"Bearer {token}"
    check_headers(sent_headers, address.shown)
    check_subprotocols(subprotocols, address.shown)
    recorder.hide(*secrets_in(sent_headers, recorder.redaction, user))
    if address.secure and tls is None:
        tls = await anyio.to_thread.run_sync(ssl.create_default_context)
    return Handshake(address, sent_headers, tuple(subprotocols), tls if address.secure else None)


def open_transport(handshake: Handshake, observer: Observer) -> AbstractAsyncContextManager[Transport]:
    """The driver of the running backend. Imported late: a user of one backend need not have the other."""
    if on_trio():
        from event_capture.drivers.websocket_trio import open_trio

        return open_trio(handshake, observer)
    from event_capture.drivers.websocket_asyncio import open_asyncio

    return open_asyncio(handshake, observer)
