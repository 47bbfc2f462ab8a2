"""The way to the model: an HTTP/1.1 transport for the SDK's client, over a pool that costs the same however full it is.

The client's own transport looks at every connection for every request, which at a few hundred concurrent turns takes
more of the processor than all the rest of a turn. Here the connections that are free lie on a stack.
"""

import re
import select
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Final, Self, final

import anyio
import httpx2
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from gateway.model.http_response import MalformedResponseError, ResponseReader

_METHODS: Final = frozenset({"GET", "POST"})
_PORTS: Final = {"http": 80, "https": 443}
_READ_BYTES: Final = 65536
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What may stand in no header, or it would end there: RFC 9110, section 5.5."""

Origin = tuple[str, str, int]


@final
class _Connection:
    """One connection: a request, its response, and then perhaps the next."""

    __slots__ = ("idle_since", "origin", "raw_socket", "stream")

    def __init__(self, origin: Origin, stream: ByteStream, raw_socket: socket.socket) -> None:
        self.origin = origin
        self.stream = stream
        self.raw_socket = raw_socket
        self.idle_since = 0.0

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last response: neither an end nor bytes that nobody asked for."""
        descriptor = self.raw_socket.fileno()
        if descriptor < 0:
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)

    async def send(self, data: bytes, timeout: float | None) -> None:
        try:
            with anyio.fail_after(timeout):
                await self.stream.send(data)
        except TimeoutError:
            raise httpx2.WriteTimeout("the request was not taken in time") from None
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpx2.WriteError(f"the request could not be sent: {error}") from error

    async def receive(self, timeout: float | None) -> bytes:
        """The next bytes; none at the end."""
        try:
            with anyio.fail_after(timeout):
                return await self.stream.receive(_READ_BYTES)
        except anyio.EndOfStream:
            return b""
        except TimeoutError:
            raise httpx2.ReadTimeout("nothing came in time") from None
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpx2.ReadError(f"the connection broke: {error}") from error

    async def close(self) -> None:
        """Close without a word to the other side. Never waits."""
        with anyio.CancelScope(shield=True) as scope:
            scope.cancel()
            await self.stream.aclose()


@final
class PooledTransport(httpx2.AsyncBaseTransport):
    """Sends GET and POST requests whose bodies are in memory, and hands out responses as they come.

    Cancelling a request closes its connection.

    Args:
        ssl_context: for `https`.
        max_connections: most connections at a time; further requests wait, as long as their pool time-out says.
        max_idle: most connections that are kept for the next request.
        idle_seconds: how long each of them is kept.
    """

    def __init__(
        self, ssl_context: ssl.SSLContext, *, max_connections: int, max_idle: int, idle_seconds: float
    ) -> None:
        self._ssl_context = ssl_context
        self._room = anyio.Semaphore(max_connections, fast_acquire=True)
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: deque[_Connection] = deque()

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return its response once its head is there.

        Raises:
            httpx2.UnsupportedProtocol: neither GET nor POST, or neither http nor https.
            httpx2.TransportError: what the client's own transport raises: time-outs, connections that fail or break.
        """
        origin = _origin_of(request)
        data = await _as_bytes(request)
        timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
        await self._take_room(timeouts.get("pool"))
        connection: _Connection | None = None
        try:
            connection = await self._pick(origin) or await self._connect(origin, timeouts.get("connect"))
            await connection.send(data, timeouts.get("write"))
            body = _Body(self, connection, timeouts.get("read"))
            await body.read_head()
        except BaseException:
            await self.give_back(connection, reusable=False)
            raise
        reader = body.reader
        return httpx2.Response(
            reader.status, headers=reader.headers, stream=body, extensions={"http_version": b"HTTP/1.1"}
        )

    async def give_back(self, connection: _Connection | None, *, reusable: bool) -> None:
        """Take a connection back, for the next request or to close it."""
        self._room.release()
        if connection is None:
            return
        if reusable and len(self._idle) < self._max_idle:
            connection.idle_since = anyio.current_time()
            self._idle.append(connection)
        else:
            await connection.close()

    async def aclose(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            await self._idle.pop().close()

    async def _take_room(self, timeout: float | None) -> None:
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(timeout):
                    await self._room.acquire()
            except TimeoutError:
                raise httpx2.PoolTimeout("every connection to the model is taken") from None

    async def _pick(self, origin: Origin) -> _Connection | None:
        oldest = anyio.current_time() - self._idle_seconds
        while self._idle and self._idle[0].idle_since < oldest:
            await self._idle.popleft().close()
        while self._idle:
            # The one used last is the least likely to have been closed by the other side.
            connection = self._idle.pop()
            if connection.origin == origin and connection.is_quiet():
                return connection
            await connection.close()
        return None

    async def _connect(self, origin: Origin, timeout: float | None) -> _Connection:
        scheme, host, port = origin
        try:
            with anyio.fail_after(timeout):
                tcp = await anyio.connect_tcp(host, port)
                raw_socket = tcp.extra(SocketAttribute.raw_socket)  # noqa: S610  a socket's, not Django's
                connection = _Connection(origin, tcp, raw_socket)
                if scheme == "https":
                    try:
                        connection.stream = await TLSStream.wrap(
                            tcp, hostname=host, ssl_context=self._ssl_context, standard_compatible=False
                        )
                    except BaseException:
                        await connection.close()
                        raise
                return connection
        except TimeoutError:
            raise httpx2.ConnectTimeout("no connection was made in time") from None
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise httpx2.ConnectError(f"no connection was made: {error}") from error


@final
class _Body(httpx2.AsyncByteStream):
    """The body of a response as it comes. Holds the connection until it is whole or closed.

    No generator: one that is left in the middle is a matter of the garbage collector.
    """

    def __init__(self, transport: PooledTransport, connection: _Connection, timeout: float | None) -> None:
        self.reader = ResponseReader()
        self._transport = transport
        self._connection = connection
        self._timeout = timeout
        self._closed = False

    async def read_head(self) -> None:
        """Read until status and headers are there. Raises httpx2.TransportError."""
        while not self.reader.has_head:
            await self._read()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self.reader.body:
            if self.reader.complete or self._closed:
                raise StopAsyncIteration
            await self._read()
        return self.reader.body.popleft()

    async def aclose(self) -> None:
        """Give the connection back, or close it when the response is not whole."""
        if not self._closed:
            self._closed = True
            await self._transport.give_back(self._connection, reusable=self.reader.reusable)

    async def _read(self) -> None:
        data = await self._connection.receive(self._timeout)
        try:
            if data:
                self.reader.feed(data)
            else:
                self.reader.end()
        except MalformedResponseError as error:
            raise httpx2.RemoteProtocolError(str(error)) from None


def _origin_of(request: httpx2.Request) -> Origin:
    url = request.url
    if request.method not in _METHODS:
        raise httpx2.UnsupportedProtocol(f"{request.method} requests are not made here")
    if url.scheme not in _PORTS:
        raise httpx2.UnsupportedProtocol(f"{url.scheme}:// is not a model's address; use http:// or https://")
    return url.scheme, url.host, url.port or _PORTS[url.scheme]


async def _as_bytes(request: httpx2.Request) -> bytes:
    head = [f"{request.method} ".encode(), request.url.raw_path, b" HTTP/1.1\r\n"]
    for name, value in request.headers.raw:
        if _CONTROLS.search(value) is not None:
            raise httpx2.LocalProtocolError(f"the header {name.decode()!r} holds a control character")
        head += (name, b": ", value, b"\r\n")
    return b"".join([*head, b"\r\n", await request.aread()])
