"""Makes the events of one run: the envelope is filled in here and nowhere else."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, final

from msgspec import UNSET

from chat_protocol.events import (
    AgentCompleted,
    AgentCompletedPayload,
    AgentStarted,
    AgentStartedPayload,
    AgentThinking,
    AgentThinkingPayload,
    ErrorCode,
    ErrorEvent,
    ErrorPayload,
    MessageAccepted,
    MessageAcceptedPayload,
    PartialResult,
    PartialResultPayload,
    ToolCompleted,
    ToolCompletedPayload,
    ToolExecuting,
    ToolExecutingPayload,
    Usage,
    format_timestamp,
)
from gateway.ids import IdGenerator
from gateway.storage.entries import Accepted
from gateway.turns.context import UserExecutionContext


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@final
class RunEvents:
    """Events of the run that `context` names."""

    def __init__(self, context: UserExecutionContext, ids: IdGenerator, wall: Callable[[], datetime] = now) -> None:
        self._context = context
        self._ids = ids
        self._wall = wall

    def _envelope(self) -> dict[str, Any]:
        return {
            "id": self._ids.event(),
            "timestamp": format_timestamp(self._wall()),
            "user_id": self._context.user_id,
            "thread_id": self._context.thread_id,
            "run_id": self._context.run_id,
        }

    def accepted(self, content: str) -> MessageAccepted:
        payload = MessageAcceptedPayload(message_id=self._context.message_id, content=content)
        return MessageAccepted(**self._envelope(), payload=payload)

    def duplicate(self, first: Accepted) -> MessageAccepted:
        """The answer to a message id that is known: it names the thread and the run of its first arrival."""
        envelope = self._envelope() | {"thread_id": first.thread_id, "run_id": first.run_id}
        payload = MessageAcceptedPayload(message_id=self._context.message_id, duplicate=True)
        return MessageAccepted(**envelope, payload=payload)

    def started(self) -> AgentStarted:
        payload = AgentStartedPayload(
            message_id=self._context.message_id, text="The agent has begun to work on your message"
        )
        return AgentStarted(**self._envelope(), payload=payload)

    def thinking(self, text: str) -> AgentThinking:
        return AgentThinking(**self._envelope(), payload=AgentThinkingPayload(text=text))

    def tool_executing(self, call_id: str, name: str, arguments: dict[str, Any]) -> ToolExecuting:
        payload = ToolExecutingPayload(
            tool_call_id=call_id, tool_name=name, arguments=arguments, text=f"Running the tool {name}"
        )
        return ToolExecuting(**self._envelope(), payload=payload)

    def tool_completed(
        self, call_id: str, name: str, *, result: Any, error: str | None, duration_ms: float
    ) -> ToolCompleted:
        payload = ToolCompletedPayload(
            tool_call_id=call_id,
            tool_name=name,
            status="ok" if error is None else "error",
            result=result if error is None else {"error": error},
            duration_ms=duration_ms,
            text=f"The tool {name} is done" if error is None else f"The tool {name} failed: {error}",
        )
        return ToolCompleted(**self._envelope(), payload=payload)

    def partial(self, text: str) -> PartialResult:
        return PartialResult(**self._envelope(), payload=PartialResultPayload(text=text))

    def completed(self, text: str, finish_reason: str, usage: Usage, duration_ms: float) -> AgentCompleted:
        payload = AgentCompletedPayload(text=text, finish_reason=finish_reason, usage=usage, duration_ms=duration_ms)
        return AgentCompleted(**self._envelope(), payload=payload)

    def failed(self, code: ErrorCode, text: str, *, retryable: bool) -> ErrorEvent:
        payload = ErrorPayload(code=code, text=text, retryable=retryable, request_id=self._context.request_id or UNSET)
        return ErrorEvent(**self._envelope(), payload=payload)
