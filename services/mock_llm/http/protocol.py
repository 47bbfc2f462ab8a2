"""The driver for asyncio: a protocol that answers in the callback that took the request, whenever it can."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final, cast, final

from mock_llm.exchange import Exchange, Step
from mock_llm.http import framing
from mock_llm.http.delivery import Service, delivered
from mock_llm.http.parsing import BadRequestError, RequestParser
from mock_llm.http.playing import DirectOutlet, Player
from mock_llm.http.request import HttpRequest
from mock_llm.http.stage import perform_exchange

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


@final
class HttpProtocol(asyncio.Protocol):
    """One connection.

    A response that is ready at once is written from `data_received`, without a task; only what waits gets one.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: RequestParser | None = None
        self._requests: deque[HttpRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._player: Player | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False
        self._waits = False
        self._idle: asyncio.TimerHandle | None = None
        self._active = 0.0
        self._arrived = 0.0
        self._last: Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # uvloop's transport is no asyncio.Transport by name, only by what it does.
        transport = self._transport = cast("asyncio.Transport", transport)
        service = self._service
        number = service.connected(self)
        if number is None:
            transport.write(framing.plain_refusal(503, "too many connections"))
            transport.close()
            return
        settings = service.settings
        self._parser = RequestParser(
            number, max_header_bytes=settings.max_header_bytes, max_body_bytes=settings.max_body_bytes
        )
        self._active = self._loop.time()
        self._idle = self._loop.call_later(settings.idle_seconds, self._check_idle)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the reason does not matter
        """Called by the loop."""
        self._service.disconnected(self)
        if self._idle is not None:
            self._idle.cancel()
        self._requests.clear()
        if self._writable is not None and not self._writable.done():
            self._writable.cancel()
        if self._task is not None:
            self._task.cancel()
        elif self._player is not None and self._last is not None:
            self._player.stop()
            self._service.model.ended(self._last, "disconnected")
        elif self._last is not None and self._transport is not None and self._transport.get_write_buffer_size():
            _cut_short(self._last, self._transport.get_write_buffer_size())
        self._player = None
        if self._parser is not None:
            self._parser.close()
            self._parser = None
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        parser, transport = self._parser, self._transport
        if parser is None or transport is None:
            return
        self._arrived = self._service.intake.arrival(self._loop)
        try:
            self._requests.extend(parser.feed(data))
        except BadRequestError as refused:
            transport.write(framing.plain_refusal(refused.status, str(refused)))
            transport.close()
            return
        if parser.expects_continue:
            parser.expects_continue = False
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._requests and not self._waits:
            self._waits = True
            self._service.intake.offer(self._loop, self._take)

    def _take(self) -> None:
        self._waits = False
        self._serve()

    def eof_received(self) -> bool:
        """Called by the loop: a client that sends no more is gone."""
        return False

    def pause_writing(self) -> None:
        """Called by the loop."""
        self._paused = True
        if self._player is not None:
            self._player.pause()

    def resume_writing(self) -> None:
        """Called by the loop, from the middle of a write: a transport that is closed now would close twice."""
        self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self._transport is None:
            return
        self._paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self._player is not None:
            self._player.resume()
        if self._requests:
            self._serve()

    async def send(self, data: bytes) -> None:
        """Hand bytes to the transport; waits while it takes no more."""
        if self._transport is None:
            raise ConnectionResetError
        self._transport.write(data)
        if self._paused:
            self._writable = self._loop.create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    async def close_early(self) -> None:
        """End with FIN; what was written still arrives."""
        if self._transport is not None:
            self._transport.close()

    async def tear_down(self) -> None:
        """End with RST, after the peer has acknowledged everything."""
        transport = self._transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        await delivered(sock.fileno(), transport.get_write_buffer_size)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()

    def refuse_for(self, seconds: float) -> None:
        """Refuse new connections for so many seconds."""
        self._service.refuse_for(seconds)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _busy(self) -> bool:
        return self._task is not None or self._player is not None

    def _serve(self) -> None:
        while self._requests and not self._busy and not self._paused and self._transport is not None:
            request = self._requests.popleft()
            self._active = self._loop.time()
            exchange = self._last = self._service.application.handle(request)
            if exchange.entry is not None and self._arrived > 0:
                exchange.entry.started = self._arrived
                self._arrived = 0.0
            if exchange.later is None and exchange.body is not None:
                self._write_whole(exchange, request.keep_alive)
            elif exchange.later is None and exchange.streamed:
                self._play(exchange, request.keep_alive)
            else:
                self._start(exchange, request.keep_alive)
        self._throttle()

    def _write_whole(self, exchange: Exchange, keep_alive: bool) -> None:
        transport, body, entry = self._transport, exchange.body, exchange.entry
        if transport is None or body is None:
            return
        transport.write(
            framing.whole(exchange.status, exchange.headers, body, streamed=exchange.streamed, keep_alive=keep_alive)
        )
        if entry is not None:
            entry.events_sent, entry.bytes_sent = exchange.events, len(body)
        self._service.model.ended(exchange, "done")
        if not keep_alive:
            transport.close()
            self._requests.clear()

    def _play(self, exchange: Exchange, keep_alive: bool) -> None:
        transport, model = self._transport, self._service.model
        if transport is None:
            return
        transport.write(framing.head(exchange.status, exchange.headers, length=None, keep_alive=keep_alive))
        started = model.clock.now() if exchange.entry is None else exchange.entry.started
        finished = partial(self._played, exchange, keep_alive)
        self._player = Player(model, exchange, DirectOutlet(transport), started, finished)
        self._player.play()

    def _played(self, exchange: Exchange, keep_alive: bool, rest: Iterator[Step] | None) -> None:
        self._player = None
        if rest is not None:
            exchange.steps = rest
            self._start(exchange, keep_alive, head_sent=True)
            return
        if self._transport is not None:
            self._transport.write(framing.LAST_CHUNK)
            self._service.model.ended(exchange, "done")
            if not keep_alive:
                self._transport.close()
        self._next()

    def _start(self, exchange: Exchange, keep_alive: bool, *, head_sent: bool = False) -> None:
        self._task = self._loop.create_task(self._perform(exchange, keep_alive, head_sent=head_sent))
        self._task.add_done_callback(self._performed)

    def _throttle(self) -> None:
        # A client that sends on while its answer is under way waits in its own kernel, not in our memory.
        if self._transport is None or self._transport.is_closing():
            return
        if self._requests and self._transport.is_reading():
            self._transport.pause_reading()
        elif not self._requests and not self._transport.is_reading():
            self._transport.resume_reading()

    async def _perform(self, exchange: Exchange, keep_alive: bool, *, head_sent: bool) -> None:
        model = self._service.model
        # The request counts from when it came, not from when this task got its turn.
        started = model.clock.now() if exchange.entry is None else exchange.entry.started
        if exchange.later is not None:
            entry, headers = exchange.entry, exchange.headers
            exchange = await exchange.later()
            exchange.entry, exchange.headers = entry, exchange.headers + headers
        try:
            regular = await perform_exchange(
                exchange, self, model, started=started, keep_alive=keep_alive, head_sent=head_sent
            )
        except (asyncio.CancelledError, ConnectionError):
            model.ended(exchange, "disconnected")
            raise
        if not (regular and keep_alive) and self._transport is not None:
            self._transport.close()

    def _performed(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._service.failed(error)
            self.abort()
        self._next()

    def _next(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._active = self._loop.time()
            if self._requests:
                self._serve()
            else:
                self._throttle()

    def _check_idle(self) -> None:
        quiet = self._loop.time() - self._active
        limit = self._service.settings.idle_seconds
        if not self._busy and quiet >= limit:
            if self._transport is not None:
                self._transport.close()
            return
        self._idle = self._loop.call_later(limit if self._busy else max(limit - quiet, 0.001), self._check_idle)


def _cut_short(exchange: Exchange, unsent: int) -> None:
    entry = exchange.entry
    if entry is not None and exchange.body is not None:
        entry.state = "disconnected"
        entry.bytes_sent = max(len(exchange.body) - unsent, 0)
        entry.events_sent = exchange.body.count(b"\n\n", 0, entry.bytes_sent)
