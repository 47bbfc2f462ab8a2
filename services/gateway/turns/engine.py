"""The agent loop: ask the model, run the tools it asks for, ask again, until it answers."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import anyio
import msgspec

from chat_protocol.events import AnyEvent, ErrorCode, Usage
from gateway.channels.access import Access
from gateway.errors import TurnError
from gateway.ids import IdGenerator
from gateway.model.answer import AnswerEnd, AnswerPart, ReasoningDelta, TextDelta, ToolCall
from gateway.model.resilience import ResilientModel
from gateway.settings import Settings
from gateway.tools.toolbox import Toolbox
from gateway.turns.context import UserExecutionContext
from gateway.turns.events import RunEvents
from gateway.turns.tool_runner import ToolRunner

SYSTEM_PROMPT: Final = (
    "You are a careful assistant. Use the calculator for arithmetic and the search for facts about running software. "
    "Say when you do not know."
)

Emit = Callable[[AnyEvent], Awaitable[None]]


@final
@dataclass(frozen=True, slots=True)
class EngineResult:
    """A turn that ended well."""

    text: str
    finish_reason: str
    usage: Usage
    duration_ms: float


@dataclass(slots=True)
class _Answer:
    text: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    end: AnswerEnd | None = None


@final
class ExecutionEngine:
    """Runs one turn for one user. Made by `ExecutionEngineFactory`, used once."""

    def __init__(
        self,
        model: ResilientModel,
        toolbox: Toolbox,
        events: RunEvents,
        ids: IdGenerator,
        settings: Settings,
        *,
        show_thinking: bool,
    ) -> None:
        self._model = model
        self._toolbox = toolbox
        self._events = events
        self._ids = ids
        self._settings = settings
        self._show_thinking = show_thinking
        self._size = 0
        self._call_ids: set[str] = set()

    async def run(
        self, conversation: Sequence[dict[str, Any]], emit: Emit, *, may_emit: Callable[[], Awaitable[None]]
    ) -> EngineResult:
        """Answer the last message of `conversation`, handing every event between the first and the last to `emit`.

        Args:
            conversation: what was said so far, as the model takes it.
            emit: takes the events.
            may_emit: waited for before an event is made. The model is asked in the meantime.

        Raises:
            TurnError: the turn cannot end well; the words are for the user.
        """
        began = time.perf_counter()
        tools = ToolRunner(
            self._toolbox,
            self._events,
            emit,
            timeout=self._settings.tool_timeout,
            max_result_bytes=self._settings.max_tool_result_bytes,
        )
        messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM_PROMPT}, *conversation]
        texts: list[str] = []
        usage = Usage()
        try:
            with anyio.fail_after(self._settings.turn_timeout):
                for _ in range(self._settings.max_steps):
                    answer = await self._ask(messages, emit, may_emit)
                    texts.extend(answer.text)
                    end = answer.end or AnswerEnd("stop", Usage())
                    usage = usage + end.usage
                    if not answer.calls:
                        duration_ms = round((time.perf_counter() - began) * 1000, 3)
                        return EngineResult("".join(texts), end.finish_reason, usage, duration_ms)
                    results = await tools.run(answer.calls)
                    messages.extend(_tool_messages(answer, results))
        except TimeoutError:
            raise TurnError(
                ErrorCode.TURN_LIMIT, f"The turn took longer than {self._settings.turn_timeout:g} s. Ask for less."
            ) from None
        raise TurnError(
            ErrorCode.TURN_LIMIT, f"The turn did not end within {self._settings.max_steps} steps. Ask for less."
        )

    async def _ask(
        self, messages: Sequence[dict[str, Any]], emit: Emit, may_emit: Callable[[], Awaitable[None]]
    ) -> _Answer:
        answer = _Answer()
        async with self._model.stream(messages, self._toolbox.describe()) as parts:
            await may_emit()
            async for part in parts:
                await self._take(part, answer, emit)
        return answer

    async def _take(self, part: AnswerPart, answer: _Answer, emit: Emit) -> None:
        match part:
            case ReasoningDelta(text):
                self._count(text)
                if self._show_thinking:
                    await emit(self._events.thinking(text))
            case TextDelta(text):
                self._count(text)
                answer.text.append(text)
                await emit(self._events.partial(text))
            case ToolCall():
                self._count(part.id)
                self._count(part.arguments)
                answer.calls.append(self._told_apart(part))
            case AnswerEnd():
                answer.end = part

    def _told_apart(self, call: ToolCall) -> ToolCall:
        # Models leave ids out or repeat them, within an answer or in each one; the events of a run are paired by them.
        if not call.id or call.id in self._call_ids:
            call = replace(call, id=self._ids.tool_call())
        self._call_ids.add(call.id)
        return call

    def _count(self, text: str) -> None:
        # As it goes over the wire: the last event carries all of the text once more, and clients bound what they take.
        self._size += len(msgspec.json.encode(text)) - 2
        if self._size > self._settings.max_answer_bytes:
            raise TurnError(
                ErrorCode.TURN_LIMIT,
                f"The answer is larger than {self._settings.max_answer_bytes} bytes. Ask for less.",
            )


@final
class ExecutionEngineFactory:
    """Makes an engine for each turn, bound to one user's context. Keeps nothing about any of them."""

    def __init__(
        self, model: ResilientModel, toolbox: Toolbox, access: Access, ids: IdGenerator, settings: Settings
    ) -> None:
        self._model = model
        self._toolbox = toolbox
        self._access = access
        self._ids = ids
        self._settings = settings

    def create(self, context: UserExecutionContext) -> tuple[ExecutionEngine, RunEvents]:
        """An engine for `context` and the maker of its events."""
        events = RunEvents(context, self._ids)
        toolbox = self._toolbox.only(lambda name: self._access.may_use(context.roles, name))
        thinking = context.enable_thinking and self._access.may_see_thinking(context.roles)
        engine = ExecutionEngine(self._model, toolbox, events, self._ids, self._settings, show_thinking=thinking)
        return engine, events


def _tool_messages(answer: _Answer, results: Sequence[str]) -> list[dict[str, Any]]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.calls
    ]
    asked: dict[str, Any] = {"role": "assistant", "content": "".join(answer.text) or None, "tool_calls": calls}
    told = [
        {"role": "tool", "tool_call_id": call.id, "content": result}
        for call, result in zip(answer.calls, results, strict=True)
    ]
    return [asked, *told]
