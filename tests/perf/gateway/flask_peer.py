"""The peer of the turn benchmark on Flask-SocketIO over gevent, the server that its manual has for production.

    python -m perf.gateway.flask_peer POSTGRESQL_DSN LLM_BASE_URL messages|events

What is committed: see `socketio_peer`.
"""

from gevent import monkey  # type: ignore[import-untyped]  # it ships no types

monkey.patch_all()

# Everything below must find the sockets patched.
import json  # noqa: E402
import queue  # noqa: E402
import sys  # noqa: E402
from typing import Any, Final  # noqa: E402

import flask  # noqa: E402
import flask_socketio  # type: ignore[import-untyped]  # noqa: E402  # it ships no types
import psycopg  # noqa: E402
from gevent import pywsgi  # noqa: E402
from openai import OpenAI  # noqa: E402

CONNECTIONS: Final = 10
INSERT: Final = "INSERT INTO peer_log VALUES (%s, %s, %s)"


class Store:
    """A pool of connections, and one statement with its own commit for whatever is stored."""

    def __init__(self, dsn: str) -> None:
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._free.put(psycopg.connect(dsn, autocommit=True))
        connection = self._free.get()
        connection.execute("CREATE TABLE IF NOT EXISTS peer_log (thread text, type text, content text)")
        self._free.put(connection)

    def save(self, thread: str, kind: str, content: str) -> None:
        connection = self._free.get()
        try:
            connection.execute(INSERT, (thread, kind, content))
        finally:
            self._free.put(connection)


class Agent:
    """Asks the model, runs its tools and tells the client, event by event."""

    def __init__(self, server: Any, store: Store, client: OpenAI, *, every_event: bool) -> None:
        self._server = server
        self._store = store
        self._client = client
        self._every_event = every_event

    def run(self, data: dict[str, Any]) -> None:
        sid = flask.request.sid  # type: ignore[attr-defined]  # Flask-SocketIO puts it there
        thread, content = data["session_id"], data["content"]
        if not self._every_event:
            self._store.save(thread, "user", content)
        self._tell(sid, thread, "message_accepted", {"content": content})
        self._tell(sid, thread, "agent_started", {"text": "started"})
        messages: list[Any] = [{"role": "user", "content": content}]
        while True:
            text, calls = self._ask(sid, thread, messages)
            if not calls:
                break
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            for call in calls:
                self._tell(sid, thread, "tool_executing", {"tool_call_id": call["id"]})
                result = {"value": 42}
                self._tell(sid, thread, "tool_completed", {"tool_call_id": call["id"], "result": result})
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
        if not self._every_event:
            self._store.save(thread, "assistant", text)
        self._tell(sid, thread, "agent_completed", {"text": text})

    def _tell(self, sid: str, thread: str, kind: str, payload: dict[str, Any]) -> None:
        if self._every_event:
            self._store.save(thread, kind, json.dumps(payload))
        self._server.emit(kind, payload, to=sid)

    def _ask(self, sid: str, thread: str, messages: list[Any]) -> tuple[str, list[dict[str, Any]]]:
        text: list[str] = []
        calls: list[dict[str, Any]] = []
        stream: Any = self._client.chat.completions.create(model="mock", messages=messages, stream=True)
        for chunk in stream:
            for choice in chunk.choices[:1]:
                if thought := getattr(choice.delta, "reasoning_content", None):
                    self._tell(sid, thread, "agent_thinking", {"text": thought})
                if choice.delta.content:
                    text.append(choice.delta.content)
                    self._tell(sid, thread, "partial_result", {"text": choice.delta.content})
                for call in choice.delta.tool_calls or ():
                    if call.id:
                        function = {"name": call.function.name, "arguments": ""}
                        calls.append({"id": call.id, "type": "function", "function": function})
                    calls[-1]["function"]["arguments"] += call.function.arguments or ""
        return "".join(text), calls


def main() -> None:
    """Serve until killed."""
    dsn, llm_base_url, commits = sys.argv[1:]
    app = flask.Flask(__name__)
    server = flask_socketio.SocketIO(app, async_mode="gevent", cors_allowed_origins="*")
    client = OpenAI(base_url=llm_base_url, api_key="any", max_retries=0)
    agent = Agent(server, Store(dsn), client, every_event=commits == "events")
    server.on_event("chat_message", agent.run)
    listener = pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None, backlog=2048)
    listener.start()
    print(json.dumps({"url": f"http://127.0.0.1:{listener.server_port}"}), flush=True)
    listener.serve_forever()


if __name__ == "__main__":
    main()
