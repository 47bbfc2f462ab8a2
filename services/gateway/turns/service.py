"""Takes messages in and runs their turns: the piece between the wire and the engine."""

from collections.abc import Callable
from typing import Any, final

import anyio
import structlog

from chat_protocol.events import AnyEvent, ErrorCode
from gateway.errors import StorageError, TurnError
from gateway.ids import IdGenerator
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.storage.entries import Accepted, NewEvent, NewTurn, RunOutcome
from gateway.storage.history import History, StoredMessage
from gateway.storage.journal import Journal
from gateway.turns.context import Turn, UserExecutionContext
from gateway.turns.engine import ExecutionEngineFactory
from gateway.turns.events import RunEvents
from gateway.turns.queue import TurnQueue

_INTERNAL = "Something went wrong here. Send the message again; if it happens again, tell the operator the run id."


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
    ) -> None:
        self._journal = journal
        self._history = history
        self._engines = engines
        self._ids = ids
        self._settings = settings
        self._log = get_logger("gateway.turns")
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

        Args:
            context: whose message it is.
            content: the user's words.
            before_publish: called once it is stored, before the first event goes out.

        Raises:
            BusyError: the user's queue is full, or the database takes nothing now.
        """
        user_key = context.address.user_key
        self.queue.reserve(user_key)

        def settle(accepted: Accepted) -> None:
            # Called at the commit, even when nobody waits for it any more: what is stored will run.
            before_publish(accepted)
            if accepted.duplicate:
                self.queue.release(user_key)
            else:
                self.queue.submit(Turn(context, content, accepted.seq))

        turn = NewTurn(
            address=context.address,
            run_id=context.run_id,
            message_id=context.message_id,
            content=content,
            request=context.to_json(),
            accepted=RunEvents(context, self._ids).accepted(),
        )
        queued = False

        def mark_queued() -> None:
            nonlocal queued
            queued = True

        try:
            return await self._journal.accept(turn, before_publish=settle, on_queued=mark_queued)
        finally:
            if not queued:
                self.queue.release(user_key)

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

        async def emit(event: AnyEvent) -> None:
            await self._journal.append(NewEvent(context.address, event))

        await self._journal.append(NewEvent(context.address, events.started(), status="running"))
        try:
            conversation = await self._conversation(turn)
            result = await engine.run(conversation, emit)
        except TurnError as error:
            await self._fail(context, events, error.code, error.text, retryable=error.retryable)
        except Exception:  # noqa: BLE001  a fault in one turn must not end another user's
            self._log.exception("turn failed")
            await self._fail(context, events, ErrorCode.INTERNAL_ERROR, _INTERNAL, retryable=True)
        else:
            completed = events.completed(result.text, result.finish_reason, result.usage, result.duration_ms)
            outcome = RunOutcome("completed", answer=result.text, usage=result.usage, duration_ms=result.duration_ms)
            await self._journal.append_and_wait(NewEvent(context.address, completed, outcome=outcome))
            self._log.info("turn completed", duration_ms=result.duration_ms)

    async def _fail(
        self, context: UserExecutionContext, events: RunEvents, code: ErrorCode, text: str, *, retryable: bool
    ) -> None:
        outcome = RunOutcome("failed", error_code=code)
        event = events.failed(code, text, retryable=retryable)
        await self._journal.append_and_wait(NewEvent(context.address, event, outcome=outcome))
        self._log.warning("turn failed", code=code)

    async def _conversation(self, turn: Turn) -> list[dict[str, Any]]:
        earlier = await self._earlier_messages(turn)
        return [
            *({"role": message.role, "content": message.content} for message in earlier),
            {"role": "user", "content": turn.content},
        ]

    async def _earlier_messages(self, turn: Turn) -> list[StoredMessage]:
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
