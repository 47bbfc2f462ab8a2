"""A load client that does as little as it can: raw HTTP/1.1 on asyncio protocols, so that the server is slower."""

import asyncio
import gc
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast, final

END_OF_BODY: Final = b"0\r\n\r\n"
STALLED_SECONDS: Final = 30.0


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


def run_paced(host: str, port: int, body: bytes, *, streams: int, warm_up: bytes | None = None) -> list[list[float]]:
    """Start so many streams at once and note when each piece of text came, in seconds after its request was sent.

    With the body of a `warm_up`, each connection asks that first, one after the other, as the connections of a pool
    have done in a running application; without it the requests come on the heels of the handshakes.

    Plain sockets and one poll, because the client's own work counts as lateness of the server: a piece has the time at
    which the poll that announced it returned, so it never seems earlier than it was, and later by no more than it takes
    to read what the poll before had announced.
    """
    request = request_bytes(host, port, body)
    readers = [_PacedReader(socket.create_connection((host, port), timeout=STALLED_SECONDS)) for _ in range(streams)]
    try:
        with select.epoll() as poll, _no_garbage_collection():
            for reader in readers:
                poll.register(reader.sock, select.EPOLLIN)
                if warm_up is not None:
                    reader.ask(request_bytes(host, port, warm_up))
            for reader in readers:
                reader.started = time.perf_counter()
                reader.sock.sendall(request)
            _read_all(poll, readers)
    finally:
        for reader in readers:
            reader.sock.close()
    return [reader.moments for reader in readers]


def _read_all(poll: select.epoll, readers: "list[_PacedReader]") -> None:
    by_fileno = {reader.sock.fileno(): reader for reader in readers}
    while by_fileno:
        ready = poll.poll(STALLED_SECONDS)
        now = time.perf_counter()
        if not ready:
            raise TimeoutError(f"{len(by_fileno)} streams sent nothing for {STALLED_SECONDS:g} s")
        for fileno, _ in ready:
            if by_fileno[fileno].read(now):
                poll.unregister(fileno)
                del by_fileno[fileno]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@final
class _PacedReader:
    __slots__ = ("_tail", "moments", "sock", "started")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.started = 0.0
        self.moments: list[float] = []
        self._tail = b""

    def ask(self, request: bytes) -> None:
        """Ask for a stream and read it to its end, without noting times."""
        self.sock.sendall(request)
        while not self.read(0.0):
            pass
        self.moments.clear()
        self._tail = b""

    def read(self, now: float) -> bool:
        """Take what is there; True at the end of the stream."""
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        # The first delta of a stream carries the role and an empty content; only pieces of text are paced.
        pieces = data.count(b'"content":"') - data.count(b'"content":""')
        self.moments.extend([now - self.started] * pieces)
        self._tail = (self._tail + data)[-5:]
        return self._tail == END_OF_BODY
