"""What `streamproof record` does on its connection, and when it stops."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import anyio
from anyio.abc import TaskStatus

from event_capture.command.running import note
from event_capture.dialect import Dialect
from event_capture.drivers import Connection, ConnectionLimits, connect
from event_capture.drivers.background import Background
from event_capture.drivers.frames import decode_text
from event_capture.errors import AwaitedEventError, BadInputError, ConnectionFailedError
from event_capture.recording import Recorder
from event_capture.records import Direction, Kind, Record
from event_capture.tester import ChatTester, Opener
from event_capture.wire import Wire

_SOCKETIO: Final = Dialect(
    message={"event": "chat_message", "data": {"content": "{content}", "session_id": "{thread_id}"}},
    ready=None,
    ends_turn=("chat_complete", "error"),
    name="event",
    resume=None,
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line."""

    url: str
    output: Path
    wire: Wire
    user: str
    token: str | None
    headers: dict[str, str]
    subprotocols: tuple[str, ...]
    tls: ssl.SSLContext | None
    messages: tuple[str, ...]
    send: tuple[str, ...]
    until: str | None
    count: int | None
    seconds: float | None
    turn_seconds: float
    redact: tuple[str, ...]


@final
class Conversation:
    """Connects, says what it was told to say, and listens until an event it waits for, a limit, or `interrupted`.

    A connection that stands is closed properly; one that is stopped within a turn is dropped, so that nobody takes the
    recording for one that was seen to its end.
    """

    def __init__(self, wanted: Wanted, recorder: Recorder) -> None:
        self.interrupted = anyio.Event()
        """Set it, and the conversation ends at once, whatever it waits for."""
        self._wanted = wanted
        self._recorder = recorder
        self._stop = anyio.Event()
        """Enough has been heard, or it was interrupted."""
        self._over = anyio.Event()
        """The connection has ended."""
        self._received = 0
        self._stands = False
        """The connection is established, with its session where the wire has one."""
        self._ready = False
        """The gateway has said that it is ready, where it says so."""
        self._in_turn = False
        recorder.subscribe(self._look)

    async def run(self) -> bool:
        """Returns whether everything was said and answered.

        Raises:
            ConnectionFailedError: no connection, or none before it was stopped.
            ConnectionEndedError, SendTimeoutError: the server went, or does not read, before everything was said.
        """
        wanted, beginning = self._wanted, anyio.CancelScope()

        async def pass_on_interruption(task_status: TaskStatus[None]) -> None:
            task_status.started()
            await self.interrupted.wait()
            self._stop.set()

        async def stop_beginning(task_status: TaskStatus[None]) -> None:
            task_status.started()
            await self._stop.wait()
            if not self._ready:
                beginning.cancel()

        async with Background() as background:
            await background.start(pass_on_interruption)
            await background.start(stop_beginning)
            with anyio.move_on_after(wanted.seconds), beginning:
                return await (self._talk() if wanted.messages else self._listen())
        if not self._stands:
            within = "it was interrupted" if self.interrupted.is_set() else f"no connection within {wanted.seconds:g} s"
            raise ConnectionFailedError(f"cannot connect to {self._recorder.redaction.url(wanted.url)}: {within}")
        return not wanted.messages and not self.interrupted.is_set()

    def _look(self, seen: Record) -> None:
        wanted = self._wanted
        if seen.kind is Kind.CLOSE:
            self._over.set()
        elif seen.direction is Direction.RECEIVED and seen.kind is Kind.EVENT:
            self._received += 1
            if wanted.count is not None and self._received >= wanted.count:
                self._stop.set()
            if wanted.until is not None and wanted.until in _names_of(seen.data):
                self._stop.set()

    async def _listen(self) -> bool:
        wanted = self._wanted
        opener, settings = self._opener()
        async with opener(wanted.url, recorder=self._recorder, **settings) as connection:
            self._ready = True

            async def say_and_wait() -> None:
                if wanted.wire is not Wire.SSE:
                    for text in wanted.send:
                        await connection.send(_decoded(text) if wanted.wire is Wire.SOCKETIO else text)
                await self._over.wait()

            await self._until_stopped(say_and_wait)
        return True

    async def _talk(self) -> bool:
        wanted = self._wanted
        opener, settings = self._opener()
        dialect = _SOCKETIO if wanted.wire is Wire.SOCKETIO else Dialect()
        try:
            async with ChatTester(
                wanted.url, recorder=self._recorder, dialect=dialect, open_connection=opener, **settings
            ) as tester:
                self._ready = True

                async def take_turns() -> None:
                    for text in wanted.send:
                        await tester.send_raw(_decoded(text) if wanted.wire is Wire.SOCKETIO else text)
                    for text in wanted.messages:
                        self._in_turn = True
                        await tester.send(text)
                        await tester.wait_for_completion(wanted.turn_seconds)
                        self._in_turn = False

                finished = await self._until_stopped(take_turns)
                if self._in_turn and not await _has_completed(tester):
                    tester.drop()
        except AwaitedEventError as error:
            note(f"still waiting for {' or '.join(error.awaited)}: {error.reason}")
            return False
        return finished or not self.interrupted.is_set()

    async def _until_stopped(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether the work came to its end before it had to stop."""

        async def stop(task_status: TaskStatus[None]) -> None:
            task_status.started()
            await self._stop.wait()
            scope.cancel()

        with anyio.CancelScope() as scope:
            async with Background() as background:
                await background.start(stop)
                await work()
                return True
        return False

    def _opener(self) -> tuple[Opener, dict[str, Any]]:
        """What opens a connection of the wanted wire and notes when it stands, and its settings."""
        open_connection, settings = _opener(self._wanted)

        @asynccontextmanager
        async def noting(*arguments: Any, **rest: Any) -> AsyncIterator[Connection]:
            async with open_connection(*arguments, **rest) as connection:
                self._stands = True
                yield connection

        return noting, settings


async def _has_completed(tester: ChatTester) -> bool:
    """Whether the event that ends the turn has come, though nobody had the time to take it."""
    try:
        await tester.wait_for_completion(0)
    except AwaitedEventError:
        return False
    return True


def _names_of(data: Any) -> tuple[str, ...]:
    return Dialect().name_of(data), _SOCKETIO.name_of(data)


def _opener(wanted: Wanted) -> tuple[Opener, dict[str, Any]]:
    settings: dict[str, Any] = {
        "user": wanted.user,
        "token": wanted.token,
        "headers": wanted.headers,
        "tls": wanted.tls,
        "limits": ConnectionLimits(),
    }
    if wanted.wire is Wire.SSE:
        from event_capture.drivers.sse import connect_sse

        body = _decoded(wanted.send[0]) if wanted.send else None
        return connect_sse, {**settings, "body": body}
    settings["subprotocols"] = wanted.subprotocols
    if wanted.wire is Wire.SOCKETIO:
        from event_capture.drivers.socketio import connect_socketio

        return connect_socketio, settings
    return connect, settings


def _decoded(text: str) -> dict[str, Any]:
    kind, data, problem = decode_text(text.encode("utf-8", "surrogatepass"))
    if kind is not Kind.EVENT:
        raise BadInputError(f"--send: {problem}; write one JSON object")
    decoded: dict[str, Any] = data
    return decoded
