"""Plays a paced stream from timer callbacks, without a task: half the cost of each piece, so half the lateness."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Protocol, final

from mock_llm.clock import Alarm
from mock_llm.engine import MockModel
from mock_llm.exchange import Exchange, Send, SleepUntil, Step
from mock_llm.http import framing


class Outlet(Protocol):
    """Where the pieces go."""

    def write(self, data: bytes) -> None:
        """Hand bytes on, to the kernel in the end."""


@final
class DirectOutlet:
    """Writes to the kernel at once, and leaves to the transport what the kernel does not take.

    uvloop's transport keeps what is written until the end of the loop's turn. A turn in which two hundred streams are
    due takes milliseconds, so the first piece would wait for the last.
    """

    __slots__ = ("_fileno", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._fileno: int = transport.get_extra_info("socket").fileno()

    def write(self, data: bytes) -> None:
        """Write, in order with what the transport still holds. A broken connection is the transport's to notice."""
        transport = self._transport
        if not transport.is_closing() and not transport.get_write_buffer_size():
            try:
                written = os.write(self._fileno, data)
            except OSError:
                written = 0
            if written == len(data):
                return
            data = data[written:]
        transport.write(data)


@final
class Player:
    """Plays an exchange of `Send` and `SleepUntil`; any other step goes back to the caller.

    Args:
        model: its clock paces the stream.
        exchange: what to play; it is streamed.
        outlet: the transport.
        started: when the request came, on the model's clock.
        finished: called once: with the remaining steps when one of them needs a task, else with None.
    """

    __slots__ = ("_alarm", "_entry", "_finished", "_model", "_outlet", "_paused", "_started", "_steps")

    def __init__(
        self,
        model: MockModel,
        exchange: Exchange,
        outlet: Outlet,
        started: float,
        finished: Callable[[Iterator[Step] | None], None],
    ) -> None:
        self._model = model
        self._steps = iter(exchange.steps)
        self._entry = exchange.entry
        self._outlet = outlet
        self._started = started
        self._finished = finished
        self._alarm: Alarm | None = None
        self._paused = False

    def pause(self) -> None:
        """The transport takes no more: stay where the stream is."""
        self._paused = True

    def resume(self) -> None:
        """The transport takes more again."""
        self._paused = False
        if self._alarm is None:
            self.play()

    def stop(self) -> None:
        """The client went away."""
        self._paused = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def play(self) -> None:
        """Send what is due and set the alarm for what is not."""
        self._alarm = None
        clock, entry = self._model.clock, self._entry
        due = clock.due()
        while not self._paused:
            step = next(self._steps, None)
            if isinstance(step, Send):
                self._outlet.write(framing.chunk(step.data))
                if entry is not None:
                    entry.events_sent = step.events
                    entry.bytes_sent += len(step.data)
            elif isinstance(step, SleepUntil):
                moment = self._started + step.offset
                if moment > due:
                    self._alarm = clock.call_at(moment, self.play)
                    return
            else:
                self._finished(None if step is None else _chain(step, self._steps))
                return


def _chain(first: Step, rest: Iterator[Step]) -> Iterator[Step]:
    yield first
    yield from rest
