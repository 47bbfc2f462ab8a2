"""A recording served as a gateway: each client gets the next recorded connection, played back step by step."""

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, final

import anyio
import anyio.abc
from anyio.abc import TaskStatus

from event_capture.drivers.background import Background
from event_capture.errors import ConnectionFailedError
from event_capture.replay.script import Await, Close, ConnectionScript, Emit, default_name_of
from event_capture.replay.sessions import Session, read_head, refuse, session_of, wire_asked_for
from event_capture.replay.socket import ClientGoneError
from event_capture.wire import Wire

_HANDSHAKE_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 2.0
_HEARD: Final = 1024
"""Client messages that may wait for the script to reach them."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How time passes in a replay.

    `Pace()` keeps the recorded gaps; `Pace(speed=10)` is ten times as fast; `Pace(speed=None)` is virtual time: no
    gaps at all, each message leaves as soon as the one before it has.
    """

    speed: float | None = 1.0

    def __post_init__(self) -> None:
        if self.speed is not None and not self.speed > 0:
            raise ValueError(f"speed: {self.speed} is not greater than zero; None means no waiting at all")

    async def wait(self, start: float, recorded: float) -> None:
        """Wait until `recorded` seconds of the recording have passed since `start` on the event loop's clock."""
        if self.speed is None:
            return
        # Sleeping until a moment, not for a time: the delays of a long recording must not add up their errors.
        await anyio.sleep_until(start + recorded / self.speed)


VIRTUAL: Final = Pace(speed=None)
"""No waiting."""


@final
@dataclass(slots=True)
class ReplayStatistics:
    """What a replay server has done so far."""

    connections: int = 0
    """Clients that came."""
    finished: int = 0
    """Scripts played to their end."""
    sent: int = 0
    """Messages sent."""
    unexpected: int = 0
    """Client messages that no step was waiting for."""


@final
class ReplayServer:
    """Plays scripts to clients. Of those who speak the same wire, the n-th client gets the n-th script; after the last
    comes the first again.

    Args:
        scripts: what to play; see `scripts_of`.
        pace: how time passes.
        name_of: reads the name of a client's message; by default its `type` or `event`.
        max_connections: most clients at once; further ones wait.
    """

    def __init__(
        self,
        scripts: Sequence[ConnectionScript],
        *,
        pace: Pace | None = None,
        name_of: Callable[[Any], str] | None = None,
        max_connections: int = 1000,
    ) -> None:
        if not scripts:
            raise ValueError("scripts: empty, so there is nothing to replay")
        self.statistics = ReplayStatistics()
        self._wires = tuple(dict.fromkeys(script.wire for script in scripts))
        self._scripts = {
            wire: itertools.cycle([script for script in scripts if script.wire is wire]) for wire in self._wires
        }
        self._pace = pace if pace is not None else Pace()
        self._name_of = name_of if name_of is not None else default_name_of
        self._places = anyio.CapacityLimiter(max_connections)

    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled. Reports the address when it accepts connections: `ws://host:port/ws`, and
        `http://host:port/` when the first connection of the recording is one of Socket.IO or server-sent events.

        Raises:
            ConnectionFailedError: the port cannot be bound.
        """
        try:
            listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        except OSError as error:
            raise ConnectionFailedError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        async with listener:
            bound = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  anyio's method, not Django's
            shown = f"[{host}]" if ":" in host else host
            plain = self._wires[0] is Wire.WEBSOCKET
            task_status.started(f"ws://{shown}:{bound}/ws" if plain else f"http://{shown}:{bound}/")
            await listener.serve(self._handle)

    async def _handle(self, stream: anyio.abc.SocketStream) -> None:
        async with stream, self._places:
            with suppress(ClientGoneError):
                session: Session | None = None
                with anyio.move_on_after(_HANDSHAKE_SECONDS):
                    head = await read_head(stream)
                    asked = wire_asked_for(head)
                    if asked not in self._scripts:
                        await refuse(stream, asked, self._wires)
                        return
                    script = next(self._scripts[asked])
                    shaking = session_of(stream, head, script)
                    await shaking.begin()
                    session = shaking
                if session is not None:
                    self.statistics.connections += 1
                    await self._play(session, script)

    async def _play(self, session: Session, script: ConnectionScript) -> None:
        heard, messages = anyio.create_memory_object_stream[str](_HEARD)
        async with anyio.create_task_group() as tasks, heard, messages:

            async def listen() -> None:
                with suppress(ClientGoneError):
                    while True:
                        name = self._name_of(await session.receive())
                        try:
                            heard.send_nowait(name)
                        except anyio.WouldBlock:
                            self.statistics.unexpected += 1
                tasks.cancel_scope.cancel()

            async def keep_alive() -> None:
                with suppress(ClientGoneError):
                    await session.keep_alive()

            tasks.start_soon(listen)
            tasks.start_soon(keep_alive)
            with suppress(ClientGoneError):
                await self._steps(session, script, messages)
                self.statistics.finished += 1
                if script.steps and isinstance(script.steps[-1], Close):
                    await anyio.sleep(_CLOSE_SECONDS)  # for the client's close frame; `listen` ends this earlier
                else:
                    await anyio.sleep_forever()  # the recorded client closed: so does this one, and `listen` sees it
            tasks.cancel_scope.cancel()

    async def _steps(
        self, session: Session, script: ConnectionScript, messages: anyio.abc.ObjectReceiveStream[str]
    ) -> None:
        start, recorded = anyio.current_time(), 0.0
        for step in script.steps:
            match step:
                case Await(name):
                    while await messages.receive() != name and name:
                        self.statistics.unexpected += 1
                    start, recorded = anyio.current_time(), 0.0
                case Emit(delay, message):
                    recorded += delay
                    await self._pace.wait(start, recorded)
                    await session.send(message)
                    self.statistics.sent += 1
                case Close(delay, code, reason):
                    recorded += delay
                    await self._pace.wait(start, recorded)
                    if code is None:
                        raise ClientGoneError  # the recorded connection broke off; so does this one
                    await session.close(code, reason)


@asynccontextmanager
async def replaying(
    scripts: Sequence[ConnectionScript], *, pace: Pace | None = None, **settings: Any
) -> AsyncIterator[tuple[str, ReplayServer]]:
    """Serve scripts on a free port of 127.0.0.1 for as long as the block runs. Yields the address and the server."""
    server = ReplayServer(scripts, pace=pace, **settings)

    async def run(task_status: TaskStatus[str]) -> None:
        await server.serve(task_status=task_status)

    async with Background() as background:
        yield await background.start(run), server
