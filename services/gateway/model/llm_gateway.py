"""The model's API: one streamed request, with every way it can fail turned into a `ModelError`."""

import math
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Self, final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx2
import msgspec
import openai
from anyio import to_thread
from openai import DefaultAsyncHttpxClient

from chat_protocol.events import ErrorCode
from gateway.errors import ModelError
from gateway.logs import get_logger
from gateway.model.answer import AnswerPart
from gateway.model.chunks import AnswerReader
from gateway.model.client import ModelClient
from gateway.model.transport import PooledTransport
from gateway.settings import Settings
from gateway.turns.turnstile import Turnstile

_IDLE_SECONDS: Final = 5.0
"""How long a connection to the model is kept for the next call; servers commonly close theirs soon after."""

_RETRYABLE_STATUS = frozenset({408, 409, 429})


@final
class LLMGateway:
    """Asks a model over any API that speaks Chat Completions.

    Make one with `LLMGateway.open`; it holds the HTTP connections.
    """

    def __init__(self, client: ModelClient, settings: Settings, turnstile: Turnstile) -> None:
        self._client = client
        self._model = settings.llm_model
        self._max_tool_calls = settings.max_tool_calls
        self._turnstile = turnstile
        self._log = get_logger("gateway.model")

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, turnstile: Turnstile) -> AsyncIterator[Self]:
        """Hold a client for `settings.llm_base_url`, and close its connections on the way out.

        Each request, and each piece of an answer, waits for its turn at `turnstile`.
        """
        # Making one imports modules and reads certificates, which belongs in a thread.
        client = await to_thread.run_sync(_make_client, settings)
        try:
            yield cls(client, settings, turnstile)
        finally:
            with anyio.CancelScope(shield=True):
                await client.close()

    async def check(self) -> None:
        """Reach the model's API once. Raises ModelError when that fails."""
        try:
            await self._client.models.list()
        except openai.APIStatusError as error:
            raise _refused(error.status_code, error.response.headers) from error
        except openai.APIError as error:
            raise ModelError(ErrorCode.MODEL_UNREACHABLE, "the model cannot be reached; check the base URL") from error

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]
    ) -> AsyncIterator["AnswerStream"]:
        """Ask, and iterate over the parts of the answer; the last one is an `AnswerEnd`.

        Leaving the block early closes the request.

        Raises:
            ModelError: unreachable, refused, silent for too long, or broken off in the middle.
        """
        request: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tools:
            request["tools"] = tools
        await self._turnstile.enter()
        try:
            response = await self._client.ask(msgspec.json.encode(request))
            async with aclosing(response):
                answer = AnswerStream(
                    response.aiter_bytes(), AnswerReader(max_tool_calls=self._max_tool_calls), self._turnstile
                )
                try:
                    yield answer
                finally:
                    await answer.unwind()
        except openai.APITimeoutError as error:
            raise _silent() from error
        except openai.APIConnectionError as error:
            self._log.warning("model unreachable", error=type(error.__cause__ or error).__name__)
            raise ModelError(
                ErrorCode.MODEL_UNREACHABLE,
                "The model is unavailable: it cannot be reached. Try again in a minute.",
                retryable=True,
            ) from error
        except openai.APIStatusError as error:
            self._log.warning("model refused", status=error.status_code, request_id=error.request_id)
            raise _refused(error.status_code, error.response.headers) from error


@final
class AnswerStream:
    """The parts of one answer as they arrive.

    It reads the bytes itself, because the SDK's own decoder leaves generators to the garbage collector, which trio
    rightly objects to; and it is no generator itself, for the same reason.
    """

    def __init__(self, chunks: AsyncIterator[bytes], reader: AnswerReader, turnstile: Turnstile) -> None:
        self._chunks = chunks
        self._reader = reader
        self._turnstile = turnstile
        self._ready: deque[AnswerPart] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnswerPart:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            await self._read()
        return self._ready.popleft()

    async def wait_ready(self) -> None:
        """Wait until the first part is there. Raises ModelError when the answer fails before it."""
        while not self._ready and not self._ended:
            await self._read()

    async def _read(self) -> None:
        try:
            chunk = await anext(self._chunks)
            await self._turnstile.enter()
            self._ready.extend(self._reader.feed(chunk))
        except StopAsyncIteration:
            self._ended = True
            self._ready.extend(self._reader.finish())
        except httpx2.TimeoutException as error:
            raise _silent() from error
        except httpx2.HTTPError as error:
            raise ModelError(
                ErrorCode.MODEL_BROKE_OFF, "The model's answer broke off. Send the message again.", retryable=True
            ) from error

    async def unwind(self) -> None:
        """End the reading where it is, generators inside generators included. Never waits.

        Closing the outer generator would leave the inner ones to the garbage collector. Cancellation goes to the
        innermost await and unwinds them all.
        """
        with anyio.CancelScope(shield=True) as scope:
            scope.cancel()
            try:
                async for _ in self._chunks:
                    pass
            except httpx2.HTTPError:
                return


def _make_client(settings: Settings) -> ModelClient:
    timeout = httpx2.Timeout(settings.llm_timeout, connect=settings.llm_connect_timeout)
    transport = None
    # Proxies are a matter of the client's own transport.
    if not _has_proxy(settings.llm_base_url):
        transport = PooledTransport(
            httpx2.create_ssl_context(),
            max_connections=settings.runs_in_all,
            max_idle=settings.runs_in_all,
            idle_seconds=_IDLE_SECONDS,
        )
    return ModelClient(
        base_url=settings.llm_base_url,
        api_key=settings.llm_api_key,
        max_retries=0,  # retried by the caller, who knows whether something was shown already
        timeout=timeout,
        http_client=DefaultAsyncHttpxClient(timeout=timeout, transport=transport),
    )


def _has_proxy(url: str) -> bool:
    parts = urlsplit(url)
    proxies = getproxies()
    return bool({parts.scheme, "all"} & proxies.keys()) and not proxy_bypass(parts.netloc)


def _silent() -> ModelError:
    return ModelError(
        ErrorCode.MODEL_TIMEOUT, "The model took too long to answer. Try again in a minute.", retryable=True
    )


def _refused(status: int, headers: Mapping[str, str]) -> ModelError:
    if status in _RETRYABLE_STATUS or status >= 500:
        return ModelError(
            ErrorCode.MODEL_REFUSED,
            f"The model is unavailable: overloaded or failing (status {status}). Try again in a minute.",
            retryable=True,
            retry_after=_retry_after(headers),
        )
    return ModelError(
        ErrorCode.MODEL_REFUSED, f"The model refused the request (status {status}). Ask the operator to check it."
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the API asks to wait. Dates are left alone: clocks differ."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < math.inf:
            return seconds
    return None
