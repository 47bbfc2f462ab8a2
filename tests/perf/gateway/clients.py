"""Clients of the turn benchmark: users who send a message, and wait for its turn, and send the next."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from websockets.asyncio.client import connect

from perf.gateway import stage

CLOSE_SECONDS: Final = 1.0
"""How long a server may take to close a connection; Flask-SocketIO leaves it open."""


class User(Protocol):
    """Speaks one side's language."""

    url: str
    headers: dict[str, str]

    async def greet(self, websocket: Any) -> None:
        """Do what comes before the first message."""

    def message(self, thread: str) -> str:
        """A message that starts a turn."""

    def name(self, frame: str) -> str:
        """What kind of event a frame holds. The rest is left unread: decoding is the client's cost."""


class GatewayUser:
    """Speaks the gateway's JSON."""

    def __init__(self, server: stage.Server, name: str) -> None:
        self.url = f"{server.ws_base}/ws"
        self.headers = stage.headers(name)

    async def greet(self, websocket: Any) -> None:
        await websocket.recv()

    def message(self, thread: str) -> str:
        return json.dumps({"type": "user_message", "content": "six times seven", "thread_id": thread})

    def name(self, frame: str) -> str:
        return frame[9 : frame.index('"', 9)]


class SocketIOUser:
    """Speaks Socket.IO over its WebSocket transport."""

    def __init__(self, server: stage.Server, _name: str) -> None:
        self.url = f"{server.ws_base}/socket.io/?EIO=4&transport=websocket"
        self.headers: dict[str, str] = {}

    async def greet(self, websocket: Any) -> None:
        await websocket.recv()
        await websocket.send("40")
        await websocket.recv()

    def message(self, thread: str) -> str:
        return "42" + json.dumps(["chat_message", {"content": "six times seven", "session_id": thread}])

    def name(self, frame: str) -> str:
        return frame[4 : frame.index('"', 4)] if frame.startswith("42") else ""


@dataclass
class Delays:
    """Milliseconds from sending a message, or from when it was due, to events of its turn."""

    accepted: list[float] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    completed: list[float] = field(default_factory=list)

    def of(self, name: str) -> list[float] | None:
        kinds = {"message_accepted": self.accepted, "agent_started": self.started, "agent_completed": self.completed}
        return kinds.get(name)


async def _turn(user: User, websocket: Any, thread: str, delays: Delays, began: float) -> None:
    await websocket.send(user.message(thread))
    name = ""
    while name != "agent_completed":
        name = user.name(str(await websocket.recv()))
        if (kept := delays.of(name)) is not None:
            kept.append((time.perf_counter() - began) * 1000)
        if name in {"error_event", "busy"}:
            raise RuntimeError(name)


async def closed_loop(
    make_user: Callable[[str], User], turns: int, concurrency: int, spread: float, ready: Callable[[], None]
) -> tuple[float, Delays]:
    """Run `turns` turns, always `concurrency` at a time; returns the seconds it took, and the delays.

    Delays of each user's first turn are left out: it comes while others have not begun. The time ends with the last
    turn: closing the connections is not part of it.

    Args:
        make_user: makes the user of a name.
        turns: how many in all.
        concurrency: how many users.
        spread: seconds over which the users begin, evenly; nobody's next turn waits for others.
        ready: called when everybody is connected.
    """
    delays = Delays()
    left: Iterator[int] = iter(range(turns))
    gate = asyncio.Barrier(concurrency + 1)
    ended = 0.0

    async def work(number: int) -> None:
        nonlocal ended
        user = make_user(f"u{number}")
        async with connect(
            user.url,
            additional_headers=user.headers,
            compression=None,
            max_queue=None,
            close_timeout=CLOSE_SECONDS,
        ) as websocket:
            await user.greet(websocket)
            await _turn(user, websocket, f"w{number}", Delays(), 0.0)  # what is done once only, such as imports
            await gate.wait()
            await asyncio.sleep(spread * number / concurrency)
            kept = Delays()
            for turn in left:
                await _turn(user, websocket, f"t{turn}", kept, time.perf_counter())
                kept = delays
            ended = time.perf_counter()

    async with asyncio.TaskGroup() as group:
        for number in range(concurrency):
            group.create_task(work(number))
        await gate.wait()
        ready()
        began = time.perf_counter()
    return ended - began, delays
