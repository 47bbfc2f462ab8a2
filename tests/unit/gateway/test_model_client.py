"""Requests that are put together once are the ones that the SDK would have built each time."""

import httpx2
import openai
import pytest

from gateway.model.client import ModelClient

pytestmark = pytest.mark.anyio

BODIES = [b'{"stream":true}', b'{"stream":true,"messages":[{"role":"user","content":"\xc3\xa4"}]}', b"{}"]


class Notes:
    """A server that notes what is asked of it."""

    def __init__(self, status: int = 200) -> None:
        self.requests: list[tuple[str, str, list[tuple[bytes, bytes]], bytes]] = []
        self.timeouts: list[object] = []
        self._status = status

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        headers = sorted((name.lower(), value) for name, value in request.headers.raw)
        self.requests.append((request.method, str(request.url), headers, await request.aread()))
        self.timeouts.append(request.extensions["timeout"])
        return httpx2.Response(self._status, json={"error": {"message": "no"}})

    def client(self) -> ModelClient:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return ModelClient(base_url="http://model/v1", api_key="secret", max_retries=0, http_client=http)


async def test_they_are_the_requests_of_the_sdk() -> None:
    ours, theirs = Notes(), Notes()
    async with ours.client() as client:
        for body in BODIES:
            await (await client.ask(body)).aclose()
    for body in BODIES:
        # Each by a client of its own, which has nothing to remember.
        async with theirs.client() as client:
            await client.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                content=body,
                options={"headers": {"Accept": "text/event-stream"}},
                stream=True,
            )
    assert ours.requests == theirs.requests
    assert ours.timeouts == theirs.timeouts
    assert [request[3] for request in ours.requests] == BODIES


async def test_other_requests_in_between_are_their_own() -> None:
    notes = Notes(status=404)
    async with notes.client() as client:
        for ask in (lambda: client.ask(BODIES[0]), client.models.list, lambda: client.ask(BODIES[1])):
            with pytest.raises(openai.NotFoundError):
                await ask()
    assert [(method, url) for method, url, _, _ in notes.requests] == [
        ("POST", "http://model/v1/chat/completions"),
        ("GET", "http://model/v1/models"),
        ("POST", "http://model/v1/chat/completions"),
    ]
