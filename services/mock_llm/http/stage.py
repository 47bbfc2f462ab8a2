"""Performs the steps of an exchange on anything that can send."""

from typing import Protocol

import anyio

from mock_llm.barriers import Barriers
from mock_llm.clock import Clock
from mock_llm.exchange import CloseEarly, Exchange, Send, Silence, SleepUntil, TearDown, WaitAt
from mock_llm.http import framing


class Wire(Protocol):
    """Where a response goes."""

    async def send(self, data: bytes) -> None:
        """Hand bytes to the kernel; waits while it takes no more."""

    async def close_early(self) -> None:
        """End with FIN."""

    async def tear_down(self) -> None:
        """End with RST, after the peer has acknowledged everything."""


async def perform_exchange(
    exchange: Exchange, wire: Wire, clock: Clock, barriers: Barriers, *, started: float, keep_alive: bool
) -> bool:
    """Send a response. True when it ended regularly, False when the connection is gone or must go.

    Cancellation means that the client went away; nothing needs to be undone then.
    """
    entry = exchange.entry
    if exchange.body is not None:
        await wire.send(
            framing.whole(
                exchange.status, exchange.headers, exchange.body, streamed=exchange.streamed, keep_alive=keep_alive
            )
        )
        if entry is not None:
            entry.events_sent, entry.bytes_sent, entry.state = exchange.events, len(exchange.body), "done"
        return True
    await wire.send(framing.head(exchange.status, exchange.headers, length=None, keep_alive=keep_alive))
    for step in exchange.steps:
        if isinstance(step, Send):
            await wire.send(framing.chunk(step.data))
            if entry is not None:
                entry.events_sent = step.events
                entry.bytes_sent += len(step.data)
        elif isinstance(step, CloseEarly):
            _finish(exchange, "broken_off")
            await wire.close_early()
            return False
        elif isinstance(step, TearDown):
            _finish(exchange, "broken_off")
            await wire.tear_down()
            return False
        else:
            await wait(step, clock, barriers, started)
    await wire.send(framing.LAST_CHUNK)
    _finish(exchange, "done")
    return True


async def wait(step: SleepUntil | WaitAt | Silence, clock: Clock, barriers: Barriers, started: float) -> None:
    """Wait as a step says."""
    if isinstance(step, SleepUntil):
        await clock.sleep_until(started + step.offset)
    elif isinstance(step, WaitAt):
        await barriers.wait_at(step.barrier)
    elif step.duration is None:
        await anyio.sleep_forever()
    else:
        await clock.sleep_until(clock.now() + step.duration)


def _finish(exchange: Exchange, state: str) -> None:
    if exchange.entry is not None:
        exchange.entry.state = state
