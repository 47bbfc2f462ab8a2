"""One direction of one connection: a bounded buffer between two sockets, emptied at the pace of the faults."""

import socket
from collections import deque
from collections.abc import Callable
from typing import final

import anyio
import anyio.lowlevel

from fault_proxy import _sockets
from fault_proxy._wakeup import Wakeup
from fault_proxy.faults import Cut, Faults
from fault_proxy.shaping import CutNow, Hold, Pass, Shaper, Wait
from fault_proxy.statistics import FlowStatistics

__all__ = ["Flow", "LostError", "OrderedCutError"]

READ_SIZE = 65536


class LostError(Exception):
    """A peer reset its connection. `sender` says whether it was the one that sends in this direction."""

    def __init__(self, *, sender: bool) -> None:
        self.sender = sender
        super().__init__("sender" if sender else "receiver")


class OrderedCutError(Exception):
    """The faults cut the whole connection here."""

    def __init__(self, kind: Cut) -> None:
        self.kind = kind
        super().__init__(kind)


@final
class Flow:
    """Bytes arrive by `fill` and leave by `drain`; both run until the end of the stream has passed."""

    def __init__(self, faults: Callable[[], Faults], limit: int, on_progress: Callable[[], None]) -> None:
        self.wakeup = Wakeup()
        self._faults = faults
        self._limit = limit
        self._on_progress = on_progress
        self._shaper = Shaper()
        self._chunks: deque[tuple[float, memoryview]] = deque()
        self._received = self._buffered = self._writes = 0
        self._ended_at: float | None = None
        self._finished = False

    def statistics(self) -> FlowStatistics:
        return FlowStatistics(self._received, self._buffered, self._shaper.passed, self._writes, self._finished)

    async def fill(self, source: socket.socket) -> None:
        """Reads no further than the buffer has room: a stalled flow pushes back on its sender.

        Raises:
            LostError: the sender reset the connection.
        """
        while True:
            room = self._limit - self._buffered
            if room == 0:
                await self.wakeup.wait()
                continue
            try:
                data = await _sockets.receive(source, min(room, READ_SIZE))
            except OSError:
                raise LostError(sender=True) from None
            now = anyio.current_time()
            if data and self._finished:
                self._received += len(data)  # after a half-close there is nobody to hand it to
            elif data:
                self._chunks.append((now, memoryview(data)))
                self._received += len(data)
                self._buffered += len(data)
            else:
                self._ended_at = now
            self._changed()
            if not data:
                return

    async def drain(self, target: socket.socket) -> None:
        """Writes what the faults let pass.

        Raises:
            OrderedCutError: the faults end the whole connection.
            LostError: the receiver is gone.
        """
        while not self._finished:
            now = anyio.current_time()
            faults = self._faults()
            if not self._chunks and self._ended_at is not None:
                instead = self._shaper.may_finish(faults, arrived_at=self._ended_at, now=now)
                if instead is None:
                    self._finish(target)
                    return
                decision = instead
            else:
                arrived_at, data = self._chunks[0] if self._chunks else (now, memoryview(b""))
                decision = self._shaper.decide(faults, waiting=len(data), arrived_at=arrived_at, now=now)
            match decision:
                case Pass(size):
                    await self._write(target, size, faults)
                case Wait(seconds):
                    await self.wakeup.wait(seconds)
                case Hold():
                    await self.wakeup.wait()
                case CutNow(Cut.HALF):
                    self._finish(target)
                    return
                case CutNow(kind):
                    raise OrderedCutError(kind)

    async def _write(self, target: socket.socket, size: int, faults: Faults) -> None:
        arrived_at, data = self._chunks[0]
        try:
            sent = target.send(data[:size])
        except (BlockingIOError, InterruptedError):
            await anyio.wait_writable(target)
            return
        except OSError:
            raise LostError(sender=False) from None
        if sent == len(data):
            self._chunks.popleft()
        else:
            self._chunks[0] = (arrived_at, data[sent:])
        self._buffered -= sent
        self._writes += 1
        self._shaper.left(sent, faults, anyio.current_time())
        self._changed()
        # A peer that always has room would otherwise keep this task running: everybody else gets a turn.
        await anyio.lowlevel.checkpoint()

    def _finish(self, target: socket.socket) -> None:
        self._chunks.clear()
        self._buffered = 0
        self._finished = True
        _sockets.finish(target)
        self._changed()

    def _changed(self) -> None:
        self.wakeup.set()
        self._on_progress()
