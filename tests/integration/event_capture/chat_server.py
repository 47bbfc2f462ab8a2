"""A small chat gateway for testers: speaks the default dialect, on `websockets` or `trio-websocket` by backend.

It is the peer under which the tester is tested, so it keeps what it was sent.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import msgspec
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage


@dataclass
class Client:
    """One client, as the server sees it."""

    stream: anyio.abc.SocketStream
    protocol: WSConnection
    token: str | None = None
    offered: tuple[str, ...] = ()
    received: list[dict[str, Any]] = field(default_factory=list)

    async def emit(self, *events: dict[str, Any]) -> None:
        for event in events:
            await self._send(TextMessage(data=msgspec.json.encode(event).decode()))

    async def close(self, code: int, reason: str = "") -> None:
        await self._send(CloseConnection(code=code, reason=reason))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the client sends, until it goes."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                self.protocol.receive_data(await self.stream.receive())
                for event in self.protocol.events():
                    if isinstance(event, TextMessage):
                        message: dict[str, Any] = msgspec.json.decode(event.data)
                        self.received.append(message)
                        yield message
                    elif isinstance(event, CloseConnection):
                        with suppress(Exception):
                            await self._send(event.response())
                        return

    async def accept(self) -> None:
        while True:
            self.protocol.receive_data(await self.stream.receive())
            for event in self.protocol.events():
                if isinstance(event, Request):
                    headers = {name.lower(): value.decode() for name, value in event.extra_headers}
                    self.token = headers.get(b"authorization", "").removeprefix("Bearer ") or None
                    self.offered = tuple(event.subprotocols)
                    await self._send(AcceptConnection(subprotocol=self.offered[0] if self.offered else None))
                    return

    async def _send(self, event: Event) -> None:
        await self.stream.send(self.protocol.send(event))


Talk = Callable[[Client], Awaitable[None]]


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


async def answer_turns(client: Client) -> None:
    """Welcome, then a whole turn for each user message."""
    await client.emit(event("welcome"))
    seq = 0
    async for message in client.messages():
        if message["type"] == "user_message":
            thread = message.get("thread_id", "t1")
            for kind in ("agent_started", "agent_thinking", "partial_result", "partial_result", "agent_completed"):
                seq += 1
                payload = {"text": f"{kind} to {message['content']}"}
                await client.emit(event(kind, thread_id=thread, epoch="e1", seq=seq, payload=payload))


@asynccontextmanager
async def chat_server(talk: Talk = answer_turns) -> AsyncIterator[tuple[str, list[Client]]]:
    """Serve `talk` to every client. Yields the address and the clients that came."""
    clients: list[Client] = []

    async def handle(stream: anyio.abc.SocketStream) -> None:
        client = Client(stream, WSConnection(ConnectionType.SERVER))
        async with stream:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                await client.accept()
                clients.append(client)
                await talk(client)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  anyio's method, not Django's
        tasks.start_soon(listener.serve, handle)
        yield f"ws://127.0.0.1:{port}/ws", clients
        tasks.cancel_scope.cancel()
