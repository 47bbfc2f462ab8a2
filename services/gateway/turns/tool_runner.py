"""Runs the tools that one model answer asks for: side by side, each within its time, each with its pair of events."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, final

import anyio
import msgspec

from chat_protocol.events import AnyEvent
from gateway.errors import ToolError
from gateway.logs import get_logger
from gateway.model.answer import ToolCall
from gateway.tools.toolbox import Toolbox
from gateway.turns.events import RunEvents

_LONGEST_NAME = 64
_MAX_DEPTH = 64
"""Objects and arrays inside each other that a tool takes or gives: whoever decodes the event has so much stack."""
_LAST_WORD_SECONDS = 1.0


@final
class ToolRunner:
    """Runs tool calls of one run.

    Args:
        toolbox: the tools that this user may use.
        events: makes the run's events.
        emit: takes them.
        timeout: seconds that one tool may take.
        max_result_bytes: largest result, as JSON.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        events: RunEvents,
        emit: Callable[[AnyEvent], Awaitable[None]],
        *,
        timeout: float,
        max_result_bytes: int,
    ) -> None:
        self._toolbox = toolbox
        self._events = events
        self._emit = emit
        self._timeout = timeout
        self._max_result_bytes = max_result_bytes
        self._log = get_logger("gateway.tools")

    async def run(self, calls: Sequence[ToolCall]) -> list[str]:
        """Run the calls side by side and return what each one says to the model, in the order of `calls`.

        A tool that fails says so to the model; nothing is raised for it.
        """
        answers = [""] * len(calls)

        async def run_one(index: int, call: ToolCall) -> None:
            answers[index] = await self._run_one(call)

        async with anyio.create_task_group() as group:
            for index, call in enumerate(calls):
                group.start_soon(run_one, index, call)
        return answers

    async def _run_one(self, call: ToolCall) -> str:
        name = call.name[:_LONGEST_NAME]
        arguments, problem = _parse_arguments(call.arguments)
        await self._emit(self._events.tool_executing(call.id, name, arguments))
        began = time.perf_counter()
        result: Any = None
        if problem is None:
            try:
                result, problem = await self._call_tool(call.name, arguments)
            except anyio.get_cancelled_exc_class():
                # Whoever watches the tool run sees it end, also when the turn is stopped.
                with anyio.move_on_after(_LAST_WORD_SECONDS, shield=True):
                    await self._report(call, name, began, None, f"{name} was stopped")
                raise
        await self._report(call, name, began, result, problem)
        return msgspec.json.encode(result if problem is None else {"error": problem}).decode()

    async def _report(self, call: ToolCall, name: str, began: float, result: Any, problem: str | None) -> None:
        duration_ms = round((time.perf_counter() - began) * 1000, 3)
        await self._emit(
            self._events.tool_completed(call.id, name, result=result, error=problem, duration_ms=duration_ms)
        )

    async def _call_tool(self, name: str, arguments: dict[str, Any]) -> tuple[Any, str | None]:
        try:
            tool = self._toolbox.get(name)
            with anyio.fail_after(self._timeout):
                result = await tool.run(arguments)
            if _depth(result) > _MAX_DEPTH:
                return None, f"the result is nested deeper than {_MAX_DEPTH} levels"
            if (size := len(msgspec.json.encode(result))) > self._max_result_bytes:
                return None, f"the result has {size} bytes, the limit is {self._max_result_bytes}; ask for less"
            return result, None
        except ToolError as error:
            return None, str(error)
        except TimeoutError:
            return None, f"{name} took longer than {self._timeout:g} s"
        except Exception:  # noqa: BLE001  a fault in one tool must not end the turn, let alone another user's
            self._log.exception("tool failed", tool=name)
            return None, f"{name} failed for a reason of its own"


def _parse_arguments(text: str) -> tuple[dict[str, Any], str | None]:
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}, "arguments: not JSON; send one JSON object"
    if not isinstance(arguments, dict):
        return {}, "arguments: not an object; send one JSON object"
    if _depth(arguments) > _MAX_DEPTH:
        return {}, f"arguments: nested deeper than {_MAX_DEPTH} levels; send a flatter object"
    return arguments, None


def _depth(value: Any) -> int:
    """Levels of objects and arrays in a value, counted no further than one beyond what is allowed."""
    depth = 0
    level = [value]
    while depth <= _MAX_DEPTH:
        level = [part for part in level if isinstance(part, dict | list | tuple)]
        if not level:
            break
        depth += 1
        level = [inner for part in level for inner in (part.values() if isinstance(part, dict) else part)]
    return depth
