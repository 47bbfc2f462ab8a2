"""Takes messages in and runs their turns: the piece between the wire and the engine."""

from functools import partial
from typing import Any, final

import anyio
import structlog

from chat_protocol.events import AnyEvent, ErrorCode
from gateway.errors import BusyError, RequestError, StorageError, TurnError
from gateway.ids import IdGenerator
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.storage.entries import NewEvent, NewTurn, RunOutcome
from gateway.storage.history import History, StoredMessage
from gateway.storage.journal import Journal
from gateway.turns.arrival import Answer, MessageArrival
from gateway.turns.context import Turn, UserExecutionContext
from gateway.turns.engine import EngineResult, ExecutionEngine, ExecutionEngineFactory
from gateway.turns.events import RunEvents
from gateway.turns.queue import TurnQueue
from gateway.turns.running import INTERNAL, LAST_WORDS, Ending, Running
from gateway.turns.turnstile import Turnstile


@final
class MessageHandlerService:
    """Accepts user messages and runs them."""

    def __init__(
        self,
        journal: Journal,
        history: History,
        engines: ExecutionEngineFactory,
        ids: IdGenerator,
        settings: Settings,
        turnstile: Turnstile,
    ) -> None:
        self._journal = journal
        self._history = history
        self._engines = engines
        self._ids = ids
        self._settings = settings
        self._turnstile = turnstile
        self._log = get_logger("gateway.turns")
        self._running: dict[str, Running] = {}
        self.draining = False
        """Set when the gateway takes no further messages."""
        self.queue = TurnQueue(
            self.run,
            per_user=settings.queue_size,
            running_per_user=settings.runs_per_user,
            running=settings.runs_in_all,
        )

    def accept(self, context: UserExecutionContext, content: str, answer: Answer) -> MessageArrival:
        """Have the message stored and its turn run. The `message_accepted` event is published with it. Never waits.

        A turn for which there is room begins while the message is being stored: it asks the model, and nobody sees
        anything of it before the commit, which holds its `agent_started`, too.

        Args:
            context: whose message it is.
            content: the user's words.
            answer: told what becomes of it.

        Raises:
            BusyError: the user's queue is full, or the database takes nothing now; `answer` is told nothing.
        """
        if self.draining:
            raise BusyError("The gateway is shutting down. Reconnect and send the message again.", retry_after_ms=1000)
        begins = self.queue.reserve(context.address)
        try:
            arrival = MessageArrival(context, content, self.queue, self._running, answer, begins=begins)
            events = RunEvents(context, self._ids)
            turn = NewTurn(
                address=context.address,
                run_id=context.run_id,
                message_id=context.message_id,
                content=content,
                request=context.to_json(),
                accepted=events.accepted(content),
                session_id=context.session_id,
                started=events.started() if begins else None,
            )
            self._journal.accept(turn, arrival)
        except BaseException:
            self.queue.release(context.address, begins=begins)
            raise
        return arrival

    async def recover(self) -> None:
        """After a restart: end the runs that were under way with `interrupted`, queue those that had not begun.

        Raises:
            StorageError: the database cannot be read.
        """
        for run in await self._history.get_unfinished_runs():
            context = UserExecutionContext.from_json(run.request)
            if run.status == "queued":
                self.queue.adopt(Turn(context, run.content, run.seq))
                continue
            events = RunEvents(context, self._ids)
            with structlog.contextvars.bound_contextvars(**context.log_fields):
                await self._end(context, events, Ending.INTERRUPTED)

    def cancel(self, user_key: str, run_id: str) -> Turn | None:
        """Stop a run of the user.

        Returns:
            The turn, when it had not begun: then `report_cancelled` must be called for it.

        Raises:
            RequestError: the user has no such run under way.
        """
        running = self._running.get(run_id)
        if running is not None and running.user_key == user_key:
            running.stop(Ending.CANCELLED)
            return None
        if (turn := self.queue.withdraw(user_key, run_id)) is not None:
            return turn
        raise RequestError(ErrorCode.NOT_FOUND, "You have no such run under way.", field="run_id")

    async def report_cancelled(self, turn: Turn) -> None:
        """Log the end of a turn that was cancelled before it began."""
        try:
            await self._end(turn.context, RunEvents(turn.context, self._ids), Ending.CANCELLED)
        finally:
            self.queue.release(turn.context.address, begins=False)

    def interrupt_all(self) -> None:
        """End every run under way with `interrupted`."""
        for running in self._running.values():
            running.stop(Ending.INTERRUPTED)

    async def run(self, turn: Turn) -> None:
        """Run a turn to its last event. Raises nothing but cancellation."""
        with structlog.contextvars.bound_contextvars(**turn.context.log_fields):
            try:
                await self._run(turn)
            except StorageError as error:
                # The gateway is going down, or the database will not even have this: the restart reports the run.
                self._log.warning("turn ended without its last event", error=str(error))

    async def _run(self, turn: Turn) -> None:
        context = turn.context
        engine, events = self._engines.create(context)
        running = self._running.setdefault(context.run_id, Running(context.address.user_key))
        try:
            with running.scope:
                await self._turnstile.enter()
                await self._run_engine(turn, engine, events, running)
        finally:
            del self._running[context.run_id]
        if running.scope.cancelled_caught and running.ending is not Ending.UNWANTED:
            await self._end(context, events, running.ending)

    async def _run_engine(self, turn: Turn, engine: ExecutionEngine, events: RunEvents, running: Running) -> None:
        context = turn.context
        refuse = partial(running.stop, Ending.REFUSED)

        async def emit(event: AnyEvent) -> None:
            await self._journal.append(NewEvent(context.address, event), on_refused=refuse)

        if turn.stored is None:
            started = NewEvent(context.address, events.started(), status="running")
            await self._journal.append(started, on_refused=refuse)
        try:
            try:
                conversation = await self._conversation(turn)
                result = await engine.run(conversation, emit, may_emit=turn.wait_stored)
            finally:
                await turn.wait_stored()
            await self._complete(context, events, result)
        except TurnError as error:
            await self._fail(context, events, error.code, error.text, retryable=error.retryable)
        except StorageError as error:
            if not error.refused:
                raise
            await self._fail(context, events, ErrorCode.INTERNAL_ERROR, INTERNAL, retryable=True)
        except Exception:  # noqa: BLE001  a fault in one turn must not end another user's
            self._log.exception("turn failed")
            await self._fail(context, events, ErrorCode.INTERNAL_ERROR, INTERNAL, retryable=True)

    async def _complete(self, context: UserExecutionContext, events: RunEvents, result: EngineResult) -> None:
        completed = events.completed(result.text, result.finish_reason, result.usage, result.duration_ms)
        outcome = RunOutcome("completed", answer=result.text, usage=result.usage, duration_ms=result.duration_ms)
        await self._finish(NewEvent(context.address, completed, outcome=outcome))
        self._log.info("turn completed", duration_ms=result.duration_ms)

    async def _end(self, context: UserExecutionContext, events: RunEvents, ending: Ending) -> None:
        code, status, text = LAST_WORDS[ending]
        event = events.failed(code, text, retryable=ending is not Ending.CANCELLED)
        await self._finish(NewEvent(context.address, event, outcome=RunOutcome(status, error_code=code)))
        self._log.info("turn ended early", code=code)

    async def _fail(
        self, context: UserExecutionContext, events: RunEvents, code: ErrorCode, text: str, *, retryable: bool
    ) -> None:
        event = events.failed(code, text, retryable=retryable)
        await self._finish(NewEvent(context.address, event, outcome=RunOutcome("failed", error_code=code)))
        self._log.warning("turn failed", code=code)

    async def _finish(self, last: NewEvent) -> None:
        # A turn has one last event: once it is on its way, no cancel comes between it and its commit.
        with anyio.CancelScope(shield=True):
            await self._journal.append_and_wait(last)

    async def _conversation(self, turn: Turn) -> list[dict[str, Any]]:
        earlier = await self._earlier_messages(turn)
        return [
            *({"role": message.role, "content": message.content} for message in earlier),
            {"role": "user", "content": turn.content},
        ]

    async def _earlier_messages(self, turn: Turn) -> list[StoredMessage]:
        if turn.seq == 1:
            return []
        delay = 0.05
        while True:
            try:
                return await self._history.get_history(
                    turn.context.address, before_seq=turn.seq, limit=self._settings.history_messages
                )
            except StorageError as error:
                if error.refused:
                    raise
                # The turn is accepted, so it waits for the database.
                await anyio.sleep(delay)
                delay = min(2 * delay, 1.0)
