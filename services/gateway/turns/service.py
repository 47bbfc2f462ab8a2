"""Takes messages in and runs their turns: the piece between the wire and the engine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, final

import anyio
import structlog

from chat_protocol.events import AnyEvent, ErrorCode
from gateway.errors import BusyError, RequestError, StorageError, TurnError
from gateway.ids import IdGenerator
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.storage.entries import Accepted, NewEvent, NewTurn, RunOutcome, RunStatus
from gateway.storage.history import History, StoredMessage
from gateway.storage.journal import Journal
from gateway.turns.context import Turn, UserExecutionContext
from gateway.turns.engine import ExecutionEngine, ExecutionEngineFactory
from gateway.turns.events import RunEvents
from gateway.turns.queue import TurnQueue
from gateway.turns.turnstile import Turnstile

_INTERNAL = "Something went wrong here. Send the message again; if it happens again, tell the operator the run id."


class _Ending(Enum):
    CANCELLED = auto()
    INTERRUPTED = auto()
    UNWANTED = auto()
    """The message turned out to be known already: its run is another one, and of this one nobody hears."""


_ENDINGS: Final[dict[_Ending, tuple[ErrorCode, RunStatus, str]]] = {
    _Ending.CANCELLED: (ErrorCode.CANCELLED, "cancelled", "The run was cancelled, as you asked."),
    _Ending.INTERRUPTED: (
        ErrorCode.INTERRUPTED,
        "interrupted",
        "The gateway was stopped while the run was under way. Send the message again under a new message_id.",
    ),
}


@dataclass(slots=True)
class _Running:
    user_key: str
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ending: _Ending = _Ending.CANCELLED

    def stop(self, ending: _Ending) -> None:
        self.ending = ending
        self.scope.cancel()


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
        self._running: dict[str, _Running] = {}
        self.draining = False
        """Set when the gateway takes no further messages."""
        self.queue = TurnQueue(
            self.run,
            per_user=settings.queue_size,
            running_per_user=settings.runs_per_user,
            running=settings.runs_in_all,
        )

    async def accept(
        self, context: UserExecutionContext, content: str, *, before_publish: Callable[[Accepted], None]
    ) -> Accepted:
        """Store the message and queue its turn. The `message_accepted` event is published with it.

        A turn for which there is room begins while the message is being stored: it asks the model, and nobody sees
        anything of it before the commit, which holds its `agent_started`, too.

        Args:
            context: whose message it is.
            content: the user's words.
            before_publish: called once it is stored, before the first event goes out.

        Raises:
            BusyError: the user's queue is full, or the database takes nothing now.
        """
        if self.draining:
            raise BusyError("The gateway is shutting down. Reconnect and send the message again.", retry_after_ms=1000)
        address, events = context.address, RunEvents(context, self._ids)
        begins = self.queue.reserve(address)
        stored = anyio.Event()
        under_way: _Running | None = None

        def begin(seq: int) -> None:
            nonlocal under_way
            if begins and under_way is None:
                under_way = self._running[context.run_id] = _Running(address.user_key)
                self.queue.begin(Turn(context, content, seq, stored))

        def settle(accepted: Accepted) -> None:
            # Called at the commit, even when nobody waits for it any more: what is stored will run.
            before_publish(accepted)
            if not accepted.duplicate:
                stored.set()
                if not begins:
                    self.queue.submit(Turn(context, content, accepted.seq))
            elif under_way is not None:
                under_way.stop(_Ending.UNWANTED)
            else:
                self.queue.release(address, begins=begins)

        turn = NewTurn(
            address=address,
            run_id=context.run_id,
            message_id=context.message_id,
            content=content,
            request=context.to_json(),
            accepted=events.accepted(),
            session_id=context.session_id,
            started=events.started() if begins else None,
        )
        queued = False

        def mark_queued() -> None:
            nonlocal queued
            queued = True

        try:
            return await self._journal.accept(turn, on_queued=mark_queued, on_placed=begin, before_publish=settle)
        finally:
            if not queued:
                self.queue.release(address, begins=begins)

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
                await self._end(context, events, _Ending.INTERRUPTED)

    def cancel(self, user_key: str, run_id: str) -> Turn | None:
        """Stop a run of the user.

        Returns:
            The turn, when it had not begun: then `report_cancelled` must be called for it.

        Raises:
            RequestError: the user has no such run under way.
        """
        running = self._running.get(run_id)
        if running is not None and running.user_key == user_key:
            running.stop(_Ending.CANCELLED)
            return None
        if (turn := self.queue.withdraw(user_key, run_id)) is not None:
            return turn
        raise RequestError(ErrorCode.NOT_FOUND, "You have no such run under way.", field="run_id")

    async def report_cancelled(self, turn: Turn) -> None:
        """Log the end of a turn that was cancelled before it began."""
        await self._end(turn.context, RunEvents(turn.context, self._ids), _Ending.CANCELLED)

    def interrupt_all(self) -> None:
        """End every run under way with `interrupted`."""
        for running in self._running.values():
            running.stop(_Ending.INTERRUPTED)

    async def run(self, turn: Turn) -> None:
        """Run a turn to its last event. Raises nothing but cancellation."""
        with structlog.contextvars.bound_contextvars(**turn.context.log_fields):
            try:
                await self._run(turn)
            except StorageError as error:
                # The journal is closed: the gateway is going down, and the restart reports the run.
                self._log.warning("turn ended without its last event", error=str(error))

    async def _run(self, turn: Turn) -> None:
        context = turn.context
        engine, events = self._engines.create(context)
        running = self._running.setdefault(context.run_id, _Running(context.address.user_key))
        try:
            with running.scope:
                await self._turnstile.enter()
                await self._run_engine(turn, engine, events)
        finally:
            del self._running[context.run_id]
        if running.scope.cancelled_caught and running.ending is not _Ending.UNWANTED:
            await self._end(context, events, running.ending)

    async def _run_engine(self, turn: Turn, engine: ExecutionEngine, events: RunEvents) -> None:
        context = turn.context

        async def emit(event: AnyEvent) -> None:
            await self._journal.append(NewEvent(context.address, event))

        if turn.stored is None:
            await self._journal.append(NewEvent(context.address, events.started(), status="running"))
        try:
            try:
                conversation = await self._conversation(turn)
                result = await engine.run(conversation, emit, may_emit=turn.wait_stored)
            finally:
                await turn.wait_stored()
        except TurnError as error:
            await self._fail(context, events, error.code, error.text, retryable=error.retryable)
        except StorageError:
            raise
        except Exception:  # noqa: BLE001  a fault in one turn must not end another user's
            self._log.exception("turn failed")
            await self._fail(context, events, ErrorCode.INTERNAL_ERROR, _INTERNAL, retryable=True)
        else:
            completed = events.completed(result.text, result.finish_reason, result.usage, result.duration_ms)
            outcome = RunOutcome("completed", answer=result.text, usage=result.usage, duration_ms=result.duration_ms)
            await self._finish(NewEvent(context.address, completed, outcome=outcome))
            self._log.info("turn completed", duration_ms=result.duration_ms)

    async def _end(self, context: UserExecutionContext, events: RunEvents, ending: "_Ending") -> None:
        code, status, text = _ENDINGS[ending]
        event = events.failed(code, text, retryable=ending is _Ending.INTERRUPTED)
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
            except StorageError:
                # The turn is accepted, so it waits for the database.
                await anyio.sleep(delay)
                delay = min(2 * delay, 1.0)
