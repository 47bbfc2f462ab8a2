"""The peer of the turn benchmark: the same agent turn on python-socketio's ASGI server, as its manual builds one.

    python tests/perf/gateway/socketio_peer.py POSTGRESQL_DSN LLM_BASE_URL

Each user message and each answer is committed to PostgreSQL before the turn goes on.
"""

import json
import socket
import sys
import threading
from typing import Any

import anyio
import psycopg
import socketio  # type: ignore[import-untyped]  # it ships no types
import uvicorn
from openai import AsyncOpenAI


class Store:
    """One connection for each worker thread, one commit for each message."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._local = threading.local()

    def prepare(self) -> None:
        with psycopg.connect(self._dsn) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS peer_messages (thread text, role text, content text)")

    def save(self, thread: str, role: str, content: str) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = psycopg.connect(self._dsn)
        connection.execute("INSERT INTO peer_messages VALUES (%s, %s, %s)", (thread, role, content))
        connection.commit()


class Agent:
    """Asks the model, runs its tools and tells the client, event by event."""

    def __init__(self, server: Any, store: Store, client: AsyncOpenAI) -> None:
        self._server = server
        self._store = store
        self._client = client
        self._limiter = anyio.CapacityLimiter(8)

    async def run(self, sid: str, data: dict[str, Any]) -> None:
        """One turn."""
        thread = data["session_id"]
        await self._save(thread, "user", data["content"])
        await self._server.emit("agent_started", {"text": "started"}, to=sid)
        messages: list[Any] = [{"role": "user", "content": data["content"]}]
        while True:
            text, calls = await self._ask(sid, messages)
            if not calls:
                break
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            for call in calls:
                await self._server.emit("tool_executing", {"tool_call_id": call["id"]}, to=sid)
                result = {"value": 42}
                await self._server.emit("tool_completed", {"tool_call_id": call["id"], "result": result}, to=sid)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
        await self._save(thread, "assistant", text)
        await self._server.emit("agent_completed", {"text": text}, to=sid)

    async def _save(self, thread: str, role: str, content: str) -> None:
        await anyio.to_thread.run_sync(self._store.save, thread, role, content, limiter=self._limiter)

    async def _ask(self, sid: str, messages: list[Any]) -> tuple[str, list[dict[str, Any]]]:
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        stream: Any = await self._client.chat.completions.create(model="mock", messages=messages, stream=True)
        async for chunk in stream:
            for choice in chunk.choices[:1]:
                await self._tell(sid, choice.delta, text)
                for call in choice.delta.tool_calls or ():
                    if call.id:
                        function = {"name": call.function.name, "arguments": ""}
                        calls.append({"id": call.id, "type": "function", "function": function})
                    calls[-1]["function"]["arguments"] += call.function.arguments or ""
        return "".join(text), calls

    async def _tell(self, sid: str, delta: Any, text: list[str]) -> None:
        if thought := getattr(delta, "reasoning_content", None):
            await self._server.emit("agent_thinking", {"text": thought}, to=sid)
        if delta.content:
            text.append(delta.content)
            await self._server.emit("partial_result", {"text": delta.content}, to=sid)


def make_app(dsn: str, llm_base_url: str) -> Any:
    """The ASGI application."""
    store = Store(dsn)
    store.prepare()
    server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
    agent = Agent(server, store, AsyncOpenAI(base_url=llm_base_url, api_key="any", max_retries=0))
    server.on("chat_message", agent.run)
    return socketio.ASGIApp(server)


def main() -> None:
    """Serve until killed."""
    dsn, llm_base_url = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    sys.stdout.write(json.dumps({"url": url}) + "\n")
    sys.stdout.flush()
    config = uvicorn.Config(make_app(dsn, llm_base_url), log_level="error", loop="uvloop", ws="websockets-sansio")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
