"""The mock model as an ASGI app, for any ASGI server or for httpx without a socket.

An ASGI server hides its socket, so here a FIN, an RST and a refused connection all become an exception that makes the
server drop the connection. The service's own server does each of them exactly.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, final

import anyio

from mock_llm.application import Application
from mock_llm.engine import MockModel
from mock_llm.errors import MockModelError
from mock_llm.exchange import CloseEarly, Exchange, Flush, RefuseFor, Relay, Send, Silence, SleepUntil, TearDown, WaitAt
from mock_llm.http.request import HttpRequest
from mock_llm.http.stage import wait
from mock_llm.server import make_model, read_scenario
from mock_llm.settings import MockLLMSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
SendMessage = Callable[[Message], Awaitable[None]]
Gentle = Send | Relay | SleepUntil | WaitAt | Silence | Flush


@final
class BrokenOffError(MockModelError):
    """The scenario breaks the connection here; the ASGI server has to drop it."""

    def __init__(self) -> None:
        super().__init__("the scenario breaks the connection off here")


@final
class MockLLMApp:
    """An ASGI 3 app.

    Args:
        model: the engine.
        settings: for the admin token and the largest body.
    """

    def __init__(self, model: MockModel, settings: MockLLMSettings | None = None) -> None:
        self.model = model
        self._settings = settings or MockLLMSettings()
        self._application = Application(model, self._settings.admin_token, lambda: 0)

    async def __call__(self, scope: Message, receive: Receive, send: SendMessage) -> None:
        """Serve one request. A client that goes away ends the answer."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise MockModelError(f"the mock model speaks HTTP, not {scope['type']}")
        body = await self._body(receive)
        if body is None:
            await _respond(send, 413, ((b"content-type", b"text/plain"),), b"the body is too large")
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        request = HttpRequest(scope["method"], scope["path"], headers, body, query=query)
        started = self.model.clock.now()
        exchange = self._application.handle(request)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch, receive, tasks.cancel_scope)
            broken = await self._perform(exchange, send, started)
            tasks.cancel_scope.cancel()
        self.model.ended(exchange, "disconnected")
        if broken:
            raise BrokenOffError

    async def _body(self, receive: Receive) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b"".join(parts)
            part = message.get("body", b"")
            size += len(part)
            if size > self._settings.max_body_bytes:
                return None
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def _perform(self, exchange: Exchange, send: SendMessage, started: float) -> bool:
        if exchange.later is not None:
            entry, exchange = exchange.entry, await exchange.later()
            exchange.entry = entry
        entry = exchange.entry
        if exchange.body is not None:
            await _respond(send, exchange.status, exchange.headers, exchange.body)
            if entry is not None:
                entry.events_sent, entry.bytes_sent = exchange.events, len(exchange.body)
            self.model.ended(exchange, "done")
            return False
        if not exchange.silent:
            await send({"type": "http.response.start", "status": exchange.status, "headers": list(exchange.headers)})
        for step in exchange.steps:
            if isinstance(step, CloseEarly | TearDown | RefuseFor):
                self.model.ended(exchange, "broken_off")
                return True
            await self._step(step, exchange, send, started)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self.model.ended(exchange, "done")
        return False

    async def _step(self, step: Gentle, exchange: Exchange, send: SendMessage, started: float) -> None:
        if isinstance(step, Send):
            await send({"type": "http.response.body", "body": step.data, "more_body": True})
            if exchange.entry is not None:
                exchange.entry.events_sent = step.events
                exchange.entry.bytes_sent += len(step.data)
        elif isinstance(step, Relay):
            async for data in step.source:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        else:
            await wait(step, self.model.clock, self.model.barriers, started)


def create_app() -> MockLLMApp:
    """An app made from the environment: `uvicorn --factory mock_llm.asgi:create_app`.

    Raises:
        SettingsError: a variable cannot be used.
        ScenarioError: the scenario cannot be used.
    """
    settings = MockLLMSettings.from_environment()
    return MockLLMApp(make_model(settings, read_scenario(settings)), settings)


async def _respond(send: SendMessage, status: int, headers: Any, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _lifespan(receive: Receive, send: SendMessage) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
