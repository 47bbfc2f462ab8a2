"""The peer of the benchmarks: the same agent turn on python-socketio's ASGI server, as its manual builds one.

    python -m perf.gateway.socketio_peer POSTGRESQL_DSN LLM_BASE_URL messages|events

`messages`: the user's message and the answer are committed before the turn goes on. `events`: every event is, before
it is sent; the first holds the user's message and the last the answer.
"""

import asyncio
import json
import socket
import sys
from typing import Any, Final

import psycopg
import socketio  # type: ignore[import-untyped]  # it ships no types
import uvicorn
from openai import AsyncOpenAI

CONNECTIONS: Final = 10
INSERT: Final = "INSERT INTO peer_log VALUES (%s, %s, %s)"


class Store:
    """A pool of connections, and one statement with its own commit for whatever is stored."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await psycopg.AsyncConnection.connect(self._dsn, autocommit=True))
        connection = self._free.get_nowait()
        await connection.execute("CREATE TABLE IF NOT EXISTS peer_log (thread text, type text, content text)")
        self._free.put_nowait(connection)

    async def save(self, thread: str, kind: str, content: str) -> None:
        connection = await self._free.get()
        try:
            await connection.execute(INSERT, (thread, kind, content))
        finally:
            self._free.put_nowait(connection)


class Turn:
    """One turn of one client: asks the model, runs its tools and tells the client, event by event."""

    def __init__(self, server: Any, store: Store, client: AsyncOpenAI, *, every_event: bool) -> None:
        self._server = server
        self._store = store
        self._client = client
        self._every_event = every_event

    async def run(self, sid: str, data: dict[str, Any]) -> None:
        thread, content = data["session_id"], data["content"]
        if not self._every_event:
            await self._store.save(thread, "user", content)
        await self._tell(sid, thread, "message_accepted", {"content": content})
        await self._tell(sid, thread, "agent_started", {"text": "started"})
        messages: list[Any] = [{"role": "user", "content": content}]
        while True:
            text, calls = await self._ask(sid, thread, messages)
            if not calls:
                break
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            for call in calls:
                await self._tell(sid, thread, "tool_executing", {"tool_call_id": call["id"]})
                result = {"value": 42}
                await self._tell(sid, thread, "tool_completed", {"tool_call_id": call["id"], "result": result})
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
        if not self._every_event:
            await self._store.save(thread, "assistant", text)
        await self._tell(sid, thread, "agent_completed", {"text": text})

    async def _tell(self, sid: str, thread: str, kind: str, payload: dict[str, Any]) -> None:
        if self._every_event:
            await self._store.save(thread, kind, json.dumps(payload))
        await self._server.emit(kind, payload, to=sid)

    async def _ask(self, sid: str, thread: str, messages: list[Any]) -> tuple[str, list[dict[str, Any]]]:
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        stream: Any = await self._client.chat.completions.create(model="mock", messages=messages, stream=True)
        async for chunk in stream:
            for choice in chunk.choices[:1]:
                if thought := getattr(choice.delta, "reasoning_content", None):
                    await self._tell(sid, thread, "agent_thinking", {"text": thought})
                if choice.delta.content:
                    text.append(choice.delta.content)
                    await self._tell(sid, thread, "partial_result", {"text": choice.delta.content})
                for call in choice.delta.tool_calls or ():
                    if call.id:
                        function = {"name": call.function.name, "arguments": ""}
                        calls.append({"id": call.id, "type": "function", "function": function})
                    calls[-1]["function"]["arguments"] += call.function.arguments or ""
        return "".join(text), calls


async def serve(dsn: str, llm_base_url: str, commits: str) -> None:
    """Serve until killed."""
    store = Store(dsn)
    await store.open()
    server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
    client = AsyncOpenAI(base_url=llm_base_url, api_key="any", max_retries=0)
    server.on("chat_message", Turn(server, store, client, every_event=commits == "events").run)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(socketio.ASGIApp(server), log_level="error", ws="websockets-sansio")
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """Read the arguments and serve on uvloop."""
    import uvloop

    uvloop.run(serve(*sys.argv[1:]))


if __name__ == "__main__":
    main()
