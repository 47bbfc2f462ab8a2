"""Tasks that run beside a block of code and end with it."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, final

import anyio
from anyio.abc import TaskStatus

T = TypeVar("T")


@final
class Background:
    """Async context manager: a task group that never wraps what the block raises.

    A plain task group turns an assertion that fails inside its block into an ExceptionGroup, and a test would no
    longer fail with its own error. In return, a task that has started must not raise. When the block ends, all tasks
    are cancelled and awaited.
    """

    def __init__(self) -> None:
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def start(self, run: Callable[[TaskStatus[T]], Awaitable[Any]]) -> T:
        """Start a task and return what it reports as started. What it raises before that is raised here, unwrapped."""

        async def started(*, task_status: TaskStatus[T]) -> None:
            await run(task_status)

        result: T = await self._tasks.start(started)
        return result
