"""The SDK's client, with requests for answers that are put together once and then only filled.

They all go to one address with one head, and the SDK takes longer to build such a head than a turn takes for everything
else that it does with the model.
"""

from typing import Any, Final, final

import httpx2
from openai import AsyncOpenAI
from openai._models import FinalRequestOptions

_LENGTH: Final = "content-length"


@final
class ModelClient(AsyncOpenAI):
    """AsyncOpenAI with a way to ask for streamed answers. Its key must not change while it lives."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._question = FinalRequestOptions.construct(
            method="post", url="/chat/completions", headers={"Accept": "text/event-stream"}
        )
        self._pattern: httpx2.Request | None = None

    async def ask(self, content: bytes) -> httpx2.Response:
        """Send the JSON of a request with `"stream": true`, and return the response once its head is there.

        Raises what the SDK raises for a request that fails or is refused. Who leaves the response early closes it.
        """
        question = self._question.model_copy(update={"content": content})
        return await self.request(httpx2.Response, question, stream=True)

    def _build_request(self, options: FinalRequestOptions, *, retries_taken: int = 0) -> httpx2.Request:
        # Here the SDK's own clients for other providers make their requests differ, too.
        content = options.content
        if options.url != self._question.url or not isinstance(content, bytes):
            return super()._build_request(options, retries_taken=retries_taken)
        if self._pattern is None:
            self._pattern = super()._build_request(options, retries_taken=retries_taken)
        pattern = self._pattern
        headers = pattern.headers.copy()
        headers[_LENGTH] = str(len(content))
        stream = httpx2.ByteStream(content)
        return httpx2.Request(
            pattern.method, pattern.url, headers=headers, stream=stream, extensions=pattern.extensions
        )
