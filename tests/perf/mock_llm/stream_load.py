"""A load client that does as little as it can: raw HTTP/1.1 on asyncio protocols, so that the server is slower."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast, final

END_OF_BODY: Final = b"0\r\n\r\n"


def request_bytes(host: str, port: int, body: bytes) -> bytes:
    """A Chat Completions request as a client would send it."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer benchmark\r\naccept: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@final
@dataclass(slots=True)
class LoadResult:
    """What one run of the load client saw. `events` counts whole SSE events; `moments` are seconds after the start."""

    seconds: float
    requests: int
    events: int
    bytes: int
    latencies: list[float] = field(default_factory=list)

    @property
    def requests_per_second(self) -> float:
        """Finished requests by time."""
        return self.requests / self.seconds


@final
class _Loader(asyncio.Protocol):
    def __init__(self, request: bytes, deadline: float, done: asyncio.Future[None]) -> None:
        self._request = request
        self._deadline = deadline
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._tail = b""
        self._sent_at = 0.0
        self.requests = 0
        self.events = 0
        self.bytes = 0
        self.latencies: list[float] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self.events += data.count(b"\ndata: ") + data.startswith(b"data: ")
        self._tail = (self._tail + data)[-5:]
        if self._tail == END_OF_BODY:
            self.requests += 1
            self.latencies.append(self._loop.time() - self._sent_at)
            self._tail = b""
            if self._loop.time() < self._deadline:
                self._send()
            else:
                self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = self._loop.time()
        self._transport.write(self._request)

    def _finish(self) -> None:
        assert self._transport is not None
        if not self._done.done():
            self._done.set_result(None)
        self._transport.close()


async def run_load(host: str, port: int, body: bytes, *, connections: int, seconds: float) -> LoadResult:
    """Keep so many streams going at once for so many seconds."""
    loop = asyncio.get_running_loop()
    request = request_bytes(host, port, body)
    started = loop.time()
    deadline = started + seconds
    loaders: list[_Loader] = []
    waits: list[asyncio.Future[None]] = []

    for _ in range(connections):
        done = loop.create_future()
        _, loader = await loop.create_connection(partial(_Loader, request, deadline, done), host, port)
        loaders.append(loader)
        waits.append(done)
    await asyncio.gather(*waits)
    return LoadResult(
        loop.time() - started,
        sum(loader.requests for loader in loaders),
        sum(loader.events for loader in loaders),
        sum(loader.bytes for loader in loaders),
        sorted(latency for loader in loaders for latency in loader.latencies),
    )


@final
class _PacedReader(asyncio.Protocol):
    def __init__(self, request: bytes, done: asyncio.Future[None]) -> None:
        self._request = request
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._tail = b""
        self._started = 0.0
        self.moments: list[float] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def start(self) -> None:
        """Send the request; times count from here."""
        assert self._transport is not None
        self._started = self._loop.time()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = self._loop.time() - self._started
        # The first delta of a stream carries the role and an empty content; only pieces of text are paced.
        pieces = data.count(b'"content":"') - data.count(b'"content":""')
        self.moments.extend([now] * pieces)
        self._tail = (self._tail + data)[-5:]
        if self._tail == END_OF_BODY:
            assert self._transport is not None
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))


async def run_paced(host: str, port: int, body: bytes, *, streams: int) -> list[list[float]]:
    """Start so many streams at once and note when each piece of text came, in seconds after its request."""
    loop = asyncio.get_running_loop()
    request = request_bytes(host, port, body)
    readers: list[_PacedReader] = []
    waits: list[asyncio.Future[None]] = []

    for _ in range(streams):
        done = loop.create_future()
        _, reader = await loop.create_connection(partial(_PacedReader, request, done), host, port)
        readers.append(reader)
        waits.append(done)
    for reader in readers:
        reader.start()
    await asyncio.gather(*waits)
    return [reader.moments for reader in readers]
