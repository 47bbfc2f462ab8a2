"""The proxy: accepts connections, forwards them to one server, and does to their bytes what it is told."""

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, final

import anyio

from fault_proxy import _sockets
from fault_proxy._link import Link
from fault_proxy._wakeup import Wakeup
from fault_proxy.errors import FaultProxyError, FaultValueError
from fault_proxy.faults import NO_FAULTS, Cut, Direction, Faults
from fault_proxy.statistics import ConnectionStatistics, Ending, ProxyStatistics

__all__ = ["FaultProxy"]

BACKLOG = 128
# Out of file descriptors or memory: accepting again at once would spin.
SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@final
class FaultProxy:
    """A TCP proxy for tests. `async with FaultProxy("127.0.0.1", port) as proxy:`, then connect to `proxy.port`.

    Faults are set at any time and act at once, on every live connection and on those to come, in both directions;
    `direction` and `connection` (numbers count accepted connections from 1, and may lie ahead) narrow them. Setting
    one fault keeps the others. Faults of one connection replace those of all connections for it.

    Leaving the block aborts what is still connected. It belongs to the task that entered it, and works on asyncio
    and on trio. Its methods are for tasks of the same event loop, not for other threads.

    Args:
        upstream_host, upstream_port: the server behind the proxy.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        buffer_bytes: most bytes held per direction and connection; a full buffer stops reading from the sender.
        max_connections: most connections at once; more wait in the backlog of the listening socket.
        remembered: how many ended connections stay in the statistics.
    """

    def __init__(
        self,
        upstream_host: str,
        upstream_port: int,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        buffer_bytes: int = 65536,
        max_connections: int = 1024,
        remembered: int = 256,
    ) -> None:
        for field, value in (("buffer_bytes", buffer_bytes), ("max_connections", max_connections)):
            if value < 1:
                raise FaultValueError(field, value, "1 or more")
        if remembered < 0:
            raise FaultValueError("remembered", remembered, "0 or more")
        self.host = host
        self._requested_port = port
        self._upstream = (upstream_host, upstream_port)
        self._buffer_bytes = buffer_bytes
        self._max_connections = max_connections
        self._faults = dict.fromkeys(Direction, NO_FAULTS)
        self._faults_of: dict[int, dict[Direction, Faults]] = {}
        self._links: dict[int, Link] = {}
        self._ended: deque[ConnectionStatistics] = deque(maxlen=remembered)
        self._accepted = 0
        self._accepting = True
        self._changed = Wakeup()
        self._port: int | None = None

    async def __aenter__(self) -> Self:
        """Listens when this returns. Raises OSError when the port is taken."""
        if self._port is not None:
            raise FaultProxyError("a FaultProxy is used once; make another one")
        self._listener = _sockets.bind(self.host, self._requested_port)
        try:
            self._port = self._listener.getsockname()[1]
            self._listener.listen(BACKLOG)
            self._tasks = await anyio.create_task_group().__aenter__()
        except BaseException:
            self._listener.close()
            raise
        self._tasks.start_soon(self._accept_connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, tb)
        finally:
            self._listener.close()

    @property
    def port(self) -> int:
        """The port it listens on; known inside the block."""
        if self._port is None:
            raise FaultProxyError("the port is known once the proxy listens: enter `async with` first")
        return self._port

    @property
    def url_host(self) -> str:
        """`host:port`, as a URL holds it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def faults(self, direction: Direction, connection: int | None = None) -> Faults:
        """What applies to a direction: of one connection, or of all that have none of their own."""
        return self._faults_of.get(connection or 0, self._faults)[direction]

    def delay(self, seconds: float, direction: Direction | None = None, connection: int | None = None) -> None:
        """Every byte leaves `seconds` after it arrived; 0 ends it. The pace is then at most a buffer per delay."""
        self._change(direction, connection, delay=seconds)

    def throttle(
        self, bytes_per_second: float | None, direction: Direction | None = None, connection: int | None = None
    ) -> None:
        """Bytes leave at this pace; None ends it."""
        self._change(direction, connection, bytes_per_second=bytes_per_second)

    def split(self, size: int | None, direction: Direction | None = None, connection: int | None = None) -> None:
        """Every write holds at most `size` bytes; None ends it. A receiver may still read several writes at once."""
        self._change(direction, connection, split=size)

    def stall(self, direction: Direction | None = None, connection: int | None = None, *, after_bytes: int = 0) -> None:
        """Nothing leaves any more once `after_bytes` of the connection have; the connection stays open."""
        self._change(direction, connection, stall_after=after_bytes)

    def resume(self, direction: Direction | None = None, connection: int | None = None) -> None:
        """Ends a stall; what was held leaves."""
        self._change(direction, connection, stall_after=None)

    def cut(self, kind: Cut = Cut.FIN, connection: int | None = None) -> None:
        """Cuts what is connected now: one live connection, or all of them. What the proxy still held is lost.

        Raises:
            FaultValueError: HALF, which needs a direction and a byte: `cut_after` has both.
        """
        if kind is Cut.HALF:
            raise FaultValueError("kind", kind, "a cut of a whole connection; use cut_after for a half-close")
        for link in [*self._links.values()]:
            if connection is None or link.number == connection:
                link.end(Ending.CUT_FIN if kind is Cut.FIN else Ending.CUT_RST)

    def cut_after(
        self, after_bytes: int | None, direction: Direction, kind: Cut = Cut.FIN, connection: int | None = None
    ) -> None:
        """Cuts a connection as soon as exactly `after_bytes` have left in this direction; None ends it."""
        self._change(direction, connection, cut_after=after_bytes, cut=kind)

    def clear(self, direction: Direction | None = None, connection: int | None = None) -> None:
        """Ends every fault. With a connection: it has none, whatever the others have."""
        self._store(direction, connection, lambda _: NO_FAULTS)

    def refuse(self) -> None:
        """New connections are refused from now on, as by a server that is down; live ones are left alone."""
        if not self._accepting:
            return
        self._accepting = False
        anyio.notify_closing(self._listener)
        self._listener.close()
        # Bound again without listening, so that no other process gets the port meanwhile.
        self._listener = _sockets.bind(self.host, self.port)
        self._progress()

    def accept(self) -> None:
        """New connections are accepted again, on the same port."""
        if self._accepting:
            return
        self._listener.listen(BACKLOG)
        self._accepting = True
        self._progress()

    def statistics(self) -> ProxyStatistics:
        """A frozen snapshot."""
        live = tuple(link.statistics() for link in self._links.values())
        return ProxyStatistics(self._accepting, self._accepted, live, tuple(self._ended))

    async def until(self, condition: Callable[[ProxyStatistics], bool]) -> ProxyStatistics:
        """Waits until the statistics satisfy `condition`, and returns them. Bound it with `anyio.fail_after`."""
        while True:
            statistics = self.statistics()
            if condition(statistics):
                return statistics
            await self._changed.wait()

    def _change(self, direction: Direction | None, connection: int | None, **changes: Any) -> None:
        self._store(direction, connection, lambda faults: replace(faults, **changes))

    def _store(self, direction: Direction | None, connection: int | None, change: Callable[[Faults], Faults]) -> None:
        if connection is not None and connection < 1:
            raise FaultValueError("connection", connection, "the number of a connection, 1 or more")
        before = self._faults if connection is None else self._faults_of.get(connection, self._faults)
        # Made whole before it is stored: a value that is refused changes nothing.
        after = {each: change(before[each]) if direction in (None, each) else before[each] for each in Direction}
        if connection is None:
            self._faults = after
        elif connection > self._accepted or connection in self._links:
            self._faults_of[connection] = after
        for link in self._links.values():
            link.wake()

    async def _accept_connections(self) -> None:
        while True:
            if not self._accepting or len(self._links) >= self._max_connections:
                await self._changed.wait()
                continue
            listener = self._listener
            try:
                await anyio.wait_readable(listener)
                if listener is not self._listener:
                    continue  # refused meanwhile, and closed
                client, _ = listener.accept()
            except (anyio.ClosedResourceError, BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in SHORTAGE:
                    raise
                await self._changed.wait(0.1)
                continue
            client.settimeout(0)
            _sockets.unbuffered(client)
            self._accepted += 1
            link = Link(self._accepted, client, self._faults_for, self._buffer_bytes, self._progress)
            self._links[link.number] = link
            self._tasks.start_soon(self._serve, link)
            self._progress()

    async def _serve(self, link: Link) -> None:
        try:
            await link.run(*self._upstream)
        finally:
            del self._links[link.number]
            self._faults_of.pop(link.number, None)
            self._ended.append(link.statistics())
            self._progress()

    def _faults_for(self, connection: int, direction: Direction) -> Faults:
        return self._faults_of.get(connection, self._faults)[direction]

    def _progress(self) -> None:
        self._changed.set()
