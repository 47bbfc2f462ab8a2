"""Performs the steps of an exchange on anything that can send."""

from typing import Protocol

import anyio
import anyio.lowlevel

from mock_llm.barriers import Barriers
from mock_llm.clock import ControlledClock
from mock_llm.engine import MockModel
from mock_llm.exchange import CloseEarly, Exchange, Flush, RefuseFor, Relay, Send, Silence, SleepUntil, TearDown, WaitAt
from mock_llm.http import framing


class Wire(Protocol):
    """Where a response goes."""

    async def send(self, data: bytes) -> None:
        """Hand bytes to the kernel; waits while it takes no more."""

    async def close_early(self) -> None:
        """End with FIN."""

    async def tear_down(self) -> None:
        """End with RST, after the peer has acknowledged everything."""

    def refuse_for(self, seconds: float) -> None:
        """Refuse new connections for so many seconds."""


async def perform_exchange(
    exchange: Exchange, wire: Wire, model: MockModel, *, started: float, keep_alive: bool, head_sent: bool = False
) -> bool:
    """Send a response. True when it ended regularly, False when the connection is gone or must go.

    Cancellation means that the client went away; nothing needs to be undone then.
    """
    entry = exchange.entry
    if exchange.body is not None:
        data = framing.whole(
            exchange.status, exchange.headers, exchange.body, streamed=exchange.streamed, keep_alive=keep_alive
        )
        await wire.send(data)
        if entry is not None:
            entry.events_sent, entry.bytes_sent = exchange.events, len(exchange.body)
        model.ended(exchange, "done")
        return True
    chunked = exchange.length is None and not exchange.silent
    if not (exchange.silent or head_sent):
        head = framing.head(exchange.status, exchange.headers, length=exchange.length, keep_alive=keep_alive)
        await wire.send(head)
    for step in exchange.steps:
        if isinstance(step, Send):
            await wire.send(framing.chunk(step.data) if chunked else step.data)
            if entry is not None:
                entry.events_sent = step.events
                entry.bytes_sent += len(step.data)
        elif isinstance(step, Relay):
            await _relay(step, wire)
        elif isinstance(step, CloseEarly | TearDown | RefuseFor):
            model.ended(exchange, "broken_off")
            await _break_off(step, wire)
            return False
        else:
            await wait(step, model.clock, model.barriers, started)
    await wire.send(framing.LAST_CHUNK if chunked else b"")
    model.ended(exchange, "done")
    return True


async def _relay(step: Relay, wire: Wire) -> None:
    async for data in step.source:
        await wire.send(framing.chunk(data))


async def _break_off(step: CloseEarly | TearDown | RefuseFor, wire: Wire) -> None:
    if isinstance(step, CloseEarly):
        await wire.close_early()
        return
    if isinstance(step, RefuseFor):
        wire.refuse_for(step.duration)
    await wire.tear_down()


async def wait(
    step: SleepUntil | WaitAt | Silence | Flush, clock: ControlledClock, barriers: Barriers, started: float
) -> None:
    """Wait as a step says."""
    if isinstance(step, SleepUntil):
        await clock.sleep_until(started + step.offset)
    elif isinstance(step, WaitAt):
        await barriers.wait_at(step.barrier)
    elif isinstance(step, Flush):
        # One turn of the loop lets the transport write, the next one lets the peer read.
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
    elif step.duration is None:
        await anyio.sleep_forever()
    else:
        await clock.sleep_until(clock.now() + step.duration)
