"""The driver for any anyio backend; the server uses it on trio."""

import socket
import struct
from typing import Final, final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from mock_llm.exchange import Exchange
from mock_llm.http import framing
from mock_llm.http.delivery import Service, delivered
from mock_llm.http.parsing import BadRequestError, RequestParser
from mock_llm.http.request import HttpRequest
from mock_llm.http.stage import perform_exchange

READ_BYTES: Final = 65_536
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


@final
class StreamConnection:
    """One connection: a reader that notices at once when the client goes, beside the answers in order."""

    def __init__(self, service: Service, stream: SocketStream) -> None:
        self._service = service
        self._stream = stream
        self._scope = anyio.CancelScope()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._scope.cancel()

    async def serve(self) -> None:
        """Serve until either side closes. Cancellation closes the socket."""
        number = self._service.connected(self)
        try:
            with self._scope:
                async with self._stream:
                    if number is None:
                        await self._stream.send(framing.plain_refusal(503, "too many connections"))
                        return
                    await self._answer_all(number)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        except Exception as error:  # noqa: BLE001  one connection that fails must not end the server
            self._service.failed(error)
        finally:
            self._service.disconnected(self)

    async def send(self, data: bytes) -> None:
        """Hand bytes to the kernel; waits while it takes no more."""
        await self._stream.send(data)

    async def close_early(self) -> None:
        """End with FIN."""
        await self._stream.aclose()

    async def tear_down(self) -> None:
        """End with RST, after the peer has acknowledged everything."""
        sock = self._stream.extra(SocketAttribute.raw_socket)  # noqa: S610  no Django here
        await delivered(sock.fileno(), lambda: 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        await self._stream.aclose()

    def refuse_for(self, seconds: float) -> None:
        """Refuse new connections for so many seconds."""
        self._service.refuse_for(seconds)

    async def _answer_all(self, number: int) -> None:
        settings = self._service.settings
        parser = RequestParser(
            number, max_header_bytes=settings.max_header_bytes, max_body_bytes=settings.max_body_bytes
        )
        while True:
            try:
                requests = await self._read(parser, settings.idle_seconds)
            except BadRequestError as refused:
                await self._stream.send(framing.plain_refusal(refused.status, str(refused)))
                return
            if requests is None:
                return
            for request in requests:
                if not await self._answer(request):
                    return

    async def _read(self, parser: RequestParser, idle_seconds: float) -> list[HttpRequest] | None:
        found: list[HttpRequest] = []
        with anyio.move_on_after(idle_seconds):
            while not found:
                try:
                    data = await self._stream.receive(READ_BYTES)
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return None
                found = parser.feed(data)
                if parser.expects_continue:
                    parser.expects_continue = False
                    await self._stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return found or None

    async def _answer(self, request: HttpRequest) -> bool:
        model = self._service.model
        started = model.clock.now()
        exchange = self._service.application.handle(request)
        if exchange.body is not None:
            regular = await perform_exchange(exchange, self, model, started=started, keep_alive=request.keep_alive)
            return regular and request.keep_alive
        try:
            return await self._perform(exchange, request.keep_alive, started)
        finally:
            # What has not ended by now was cut off by the client; an answer that has ended stays as it is.
            model.ended(exchange, "disconnected")

    async def _perform(self, exchange: Exchange, keep_alive: bool, started: float) -> bool:
        regular = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, tasks.cancel_scope)
            if exchange.later is not None:
                entry, headers = exchange.entry, exchange.headers
                exchange = await exchange.later()
                exchange.entry, exchange.headers = entry, exchange.headers + headers
            try:
                regular = await perform_exchange(
                    exchange, self, self._service.model, started=started, keep_alive=keep_alive
                )
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                regular = False
            tasks.cancel_scope.cancel()
        return regular and keep_alive

    async def _watch(self, scope: anyio.CancelScope) -> None:
        # Nothing is read here: a byte that came early stays in the kernel for the next request.
        sock = self._stream.extra(SocketAttribute.raw_socket)  # noqa: S610  no Django here
        while sock.fileno() >= 0:
            try:
                await anyio.wait_readable(sock)
                peeked = sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except (OSError, anyio.ClosedResourceError):
                peeked = b""
            if not peeked:
                scope.cancel()
                return
            await anyio.sleep_forever()
