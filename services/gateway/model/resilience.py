"""Model calls that are tried again while that is safe, behind a circuit breaker."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, final

import anyio

from chat_protocol.events import ErrorCode
from gateway.errors import ModelError
from gateway.logs import get_logger
from gateway.model.answer import AnswerPart
from gateway.model.breaker import BreakerState, CircuitBreaker
from gateway.model.llm_gateway import AnswerStream, LLMGateway
from gateway.settings import Settings

_LONGEST_DELAY: Final = 10.0
_FAULTS: Final = frozenset(
    {ErrorCode.MODEL_UNREACHABLE, ErrorCode.MODEL_TIMEOUT, ErrorCode.MODEL_BROKE_OFF, ErrorCode.MODEL_REFUSED}
)


@final
class ResilientModel:
    """Asks the model like `LLMGateway`, trying again until the first part of an answer has come.

    From then on the user has seen something, so a call that breaks off is not repeated.
    """

    def __init__(self, llm: LLMGateway, settings: Settings, *, jitter: Callable[[], float] = random.random) -> None:
        self._llm = llm
        self._retries = settings.llm_retries
        self._delay = settings.llm_retry_delay
        self._jitter = jitter
        self._breaker = CircuitBreaker(failures=settings.breaker_failures, pause=settings.breaker_pause)
        self._log = get_logger("gateway.model")

    @property
    def breaker_state(self) -> BreakerState:
        """Whether the model is being called at all."""
        return self._breaker.state(anyio.current_time())

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> AsyncIterator[AsyncIterator[AnswerPart]]:
        """See `LLMGateway.stream`.

        Raises:
            ModelError: the last try failed, or the circuit is open.
        """
        self._admit()
        settled = False
        try:
            async with AsyncExitStack() as stack:
                answer = await self._open(stack, messages, tools)
                yield answer
            self._breaker.succeeded()
            settled = True
        except ModelError as error:
            settled = True
            if error.retryable and error.code in _FAULTS:
                self._breaker.failed(anyio.current_time())
            else:
                # A refusal is an answer, too: whoever gives it is there.
                self._breaker.succeeded()
            raise
        finally:
            if not settled:
                self._breaker.abandoned()

    def _admit(self) -> None:
        now = anyio.current_time()
        if not self._breaker.admit(now):
            seconds = max(1, round(self._breaker.retry_after(now)))
            raise ModelError(
                ErrorCode.MODEL_UNREACHABLE,
                f"The model is unavailable after repeated failures. Try again in {seconds} s.",
                retryable=True,
            )

    async def _open(
        self, stack: AsyncExitStack, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> AnswerStream:
        for attempt in range(self._retries + 1):
            try:
                async with AsyncExitStack() as trial:
                    answer = await trial.enter_async_context(self._llm.stream(messages, tools))
                    await answer.wait_ready()
                    await stack.enter_async_context(trial.pop_all())
                    return answer
            except ModelError as error:
                if not error.retryable or attempt == self._retries:
                    raise
                delay = min(self._delay * 2**attempt, _LONGEST_DELAY)
                if error.retry_after is not None:
                    delay = min(max(delay, error.retry_after), _LONGEST_DELAY)
                self._log.info("model call tried again", code=error.code, attempt=attempt + 1)
                await anyio.sleep(delay * (1 + self._jitter()) / 2 if error.retry_after is None else delay)
        raise AssertionError("the last attempt returns or raises")
