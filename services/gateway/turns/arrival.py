"""A user message on its way into the log, and the turn that begins meanwhile."""

from collections.abc import Callable
from typing import final

import anyio

from gateway.errors import BusyError, RequestError
from gateway.storage.entries import Accepted
from gateway.turns.context import Turn, UserExecutionContext
from gateway.turns.queue import TurnQueue
from gateway.turns.running import Ending, Running

Answer = Callable[[Accepted | RequestError], None]
"""Takes the news about a message: what it became, or why it was not taken."""


@final
class MessageArrival:
    """Hears from the journal what becomes of a message, and starts, queues or ends its turn. See `Arrival`.

    Args:
        context: whose message it is.
        content: the user's words.
        queue: where a place is reserved for the turn.
        running: the runs that are under way, by id.
        begins: whether the place is one among those that run.
        answer: told what becomes of the message, before the first event goes out. After a `BusyError` it may be told
            something else, because the message was being stored all the same.
    """

    def __init__(
        self,
        context: UserExecutionContext,
        content: str,
        queue: TurnQueue,
        running: dict[str, Running],
        answer: Answer,
        *,
        begins: bool,
    ) -> None:
        self._context = context
        self._content = content
        self._queue = queue
        self._running = running
        self._answer = answer
        self._begins = begins
        self._stored = anyio.Event()
        self._run: Running | None = None
        self._settled = False
        self._waiter: anyio.Event | None = None

    def placed(self, seq: int) -> None:
        """Begin the turn, when there is room for it."""
        if self._begins and self._run is None:
            self._run = self._running[self._context.run_id] = Running(self._context.address.user_key)
            self._queue.begin(Turn(self._context, self._content, seq, self._stored))

    def late(self, error: BusyError) -> None:
        """Tell the client to come back."""
        self._settle(error)

    def stored(self, accepted: Accepted) -> None:
        """Let the turn show itself, or put it into the queue: what is stored will run, whoever still waits for it."""
        self._settle(accepted)
        if accepted.duplicate:
            self._give_way()
        elif self._begins:
            # The news that it has its place may be overtaken by this.
            self.placed(accepted.seq)
            self._stored.set()
        else:
            self._queue.submit(Turn(self._context, self._content, accepted.seq))

    def dropped(self, error: RequestError) -> None:
        """Tell the client why, and end a turn that has begun."""
        self._settle(error)
        self._give_way()

    async def wait_settled(self) -> None:
        """Return once the client was told what becomes of the message."""
        while not self._settled:
            self._waiter = self._waiter or anyio.Event()
            await self._waiter.wait()

    def _settle(self, news: Accepted | RequestError) -> None:
        self._answer(news)
        self._settled = True
        if self._waiter is not None:
            self._waiter.set()

    def _give_way(self) -> None:
        if self._run is not None:
            self._run.stop(Ending.UNWANTED)
        else:
            self._queue.release(self._context.address, begins=self._begins)
