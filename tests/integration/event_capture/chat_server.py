"""A small chat gateway for testers: speaks the default dialect, on either event loop.

It is the peer under which the tester is tested, so it keeps what it was sent.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import msgspec

from event_capture.replay.socket import ClientGoneError, ServerSocket


@dataclass
class Client:
    """One client, as the server sees it."""

    socket: ServerSocket
    token: str | None = None
    offered: tuple[str, ...] = ()
    received: list[dict[str, Any]] = field(default_factory=list)

    async def emit(self, *events: dict[str, Any]) -> None:
        for event in events:
            await self.socket.send(msgspec.json.encode(event).decode())

    async def close(self, code: int, reason: str = "") -> None:
        await self.socket.close(code, reason)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the client sends, until it goes."""
        with suppress(ClientGoneError):
            while True:
                message: dict[str, Any] = msgspec.json.decode(await self.socket.receive())
                self.received.append(message)
                yield message


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
        async with stream:
            socket = ServerSocket(stream)
            with suppress(ClientGoneError):
                request = await socket.accept()
                token = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
                client = Client(socket, token, socket.offered)
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
