"""One connection through the proxy: two sockets, two flows, one ending."""

import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import final

import anyio

from fault_proxy import _sockets
from fault_proxy._flow import Flow, LostError, OrderedCutError
from fault_proxy.faults import Cut, Direction, Faults
from fault_proxy.statistics import ConnectionStatistics, Ending

__all__ = ["Link"]

# After a FIN the sockets stay open so long for what the peers still send: closing at once would answer it with a RST.
LINGER_SECONDS = 1.0
ENDINGS_BY_CUT = {Cut.FIN: Ending.CUT_FIN, Cut.RST: Ending.CUT_RST}


@final
class Link:
    """Owns both sockets from the moment it has them."""

    def __init__(
        self,
        number: int,
        client: socket.socket,
        faults: Callable[[int, Direction], Faults],
        buffer_bytes: int,
        on_progress: Callable[[], None],
    ) -> None:
        self.number = number
        self._client = client
        self._on_progress = on_progress
        self._flows = {
            direction: Flow(partial(faults, number, direction), buffer_bytes, on_progress) for direction in Direction
        }
        self._scope = anyio.CancelScope()
        self._ending: Ending | None = None

    def statistics(self) -> ConnectionStatistics:
        flows = self._flows
        return ConnectionStatistics(
            self.number,
            flows[Direction.TO_SERVER].statistics(),
            flows[Direction.TO_CLIENT].statistics(),
            self._ending,
        )

    def wake(self) -> None:
        """The faults changed."""
        for flow in self._flows.values():
            flow.wakeup.set()

    def end(self, ending: Ending) -> None:
        """Ends the connection this way, unless it is ending already."""
        if self._ending is None:
            self._ending = ending
            self._scope.cancel()
            self._on_progress()

    async def run(self, host: str, port: int) -> None:
        """Connects to the server and forwards until the connection ends; both sockets are closed on every path."""
        server: socket.socket | None = None
        try:
            with self._scope:
                try:
                    server = await _sockets.connect(host, port)
                except OSError:
                    self.end(Ending.UPSTREAM_UNREACHABLE)
                else:
                    await self._forward(server)
            await self._close_in_order(server)
        finally:
            # Only the cancellation of the proxy itself comes here without an ending.
            self.end(Ending.PROXY_CLOSED)
            self._close(server)

    async def _forward(self, server: socket.socket) -> None:
        up, down = self._flows[Direction.TO_SERVER], self._flows[Direction.TO_CLIENT]
        client = self._client
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_lost, up.fill, client, Direction.TO_SERVER)
            tasks.start_soon(self._until_lost, up.drain, server, Direction.TO_SERVER)
            tasks.start_soon(self._until_lost, down.fill, server, Direction.TO_CLIENT)
            tasks.start_soon(self._until_lost, down.drain, client, Direction.TO_CLIENT)
        self.end(Ending.FINISHED)

    async def _until_lost(
        self, work: Callable[[socket.socket], Awaitable[None]], sock: socket.socket, direction: Direction
    ) -> None:
        try:
            await work(sock)
        except OrderedCutError as cut:
            self.end(ENDINGS_BY_CUT[cut.kind])
        except LostError as lost:
            # The sender of one direction is the receiver of the other.
            client_lost = lost.sender == (direction is Direction.TO_SERVER)
            self.end(Ending.CLIENT_LOST if client_lost else Ending.SERVER_LOST)

    async def _close_in_order(self, server: socket.socket | None) -> None:
        if self._ending is not Ending.CUT_FIN or server is None:
            return
        with anyio.move_on_after(LINGER_SECONDS):
            async with anyio.create_task_group() as tasks:
                for sock in (self._client, server):
                    _sockets.finish(sock)
                    tasks.start_soon(_read_to_the_end, sock)

    def _close(self, server: socket.socket | None) -> None:
        orderly = self._ending in (Ending.FINISHED, Ending.CUT_FIN)
        for sock in (self._client, server):
            if sock is not None:
                (socket.socket.close if orderly else _sockets.reset)(sock)


async def _read_to_the_end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while await _sockets.receive(sock, 65536):
            pass
