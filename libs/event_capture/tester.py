"""`ChatTester`: a user of a chat gateway, for tests. It sends, it waits, and it remembers everything that came."""

import ssl
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, final

import anyio
from anyio.abc import TaskStatus

from event_capture.dialect import Dialect, fill
from event_capture.drivers.background import Background
from event_capture.drivers.connection import Connection, connect
from event_capture.drivers.limits import ConnectionLimits
from event_capture.errors import AwaitedEventError, ConnectionEndedError, MissingEventsError, RecordingWriteError
from event_capture.inbox import Inbox
from event_capture.isolation import Canaries
from event_capture.recording.recorder import Recorder
from event_capture.recording.timeline import timeline_text
from event_capture.records import Direction, Kind, Record

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that a wait takes at most, unless it is told otherwise."""
Opener = Callable[..., AbstractAsyncContextManager[Connection]]
"""Opens a connection, with the parameters of `connect`."""

_NOT_ENTERED: Final = "the tester is not connected; use it in `async with ChatTester(...) as tester:`"
_SHOWN: Final = 50
_MAX_THREADS: Final = 1000


@final
class ChatTester:
    """One user, connected. An async context manager: entering connects and authenticates, leaving closes.

    Args:
        url: `ws://` or `wss://` address of the gateway.
        user: who this is, in the recording.
        token: the user's token. It never reaches the recording, also where the gateway repeats it, unless it is the
            user's own name or shorter than six characters.
        dialect: how to speak to the gateway.
        recorder: where everything goes; shared by the testers of one test. By default one of its own, in memory.
        headers: further headers of the handshake.
        subprotocols: further subprotocols to offer.
        tls: TLS settings for `wss`.
        limits: timeouts and sizes of the connection.
        open_connection: what opens a connection: `connect`, `connect_socketio` with its dialect, or `connect_sse`, on
            which a tester only waits.
        canaries: plants this user's canary in everything the user sends, and searches for it in other streams later.

    Raises, on entering:
        ConnectionFailedError: no connection.
        AwaitedEventError: the gateway did not say that it is ready, or closed the connection.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        token: str | None = None,
        dialect: Dialect | None = None,
        recorder: Recorder | None = None,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        limits: ConnectionLimits | None = None,
        open_connection: Opener = connect,
        canaries: Canaries | None = None,
    ) -> None:
        self.url = url
        self.user = user
        self.dialect = dialect if dialect is not None else Dialect()
        self.recorder = recorder if recorder is not None else Recorder()
        self.canary = canaries.plant(user) if canaries is not None else None
        """A word that nobody else knows, in everything this user sends: found elsewhere, it proves a leak."""
        self._token = token
        if token is not None and token != user:
            self.recorder.hide(token)
        self._headers = dict(headers or {})
        self._subprotocols = tuple(subprotocols)
        self._tls = tls
        self._limits = limits if limits is not None else ConnectionLimits()
        self._open_connection = open_connection
        self._names: set[str] = set()
        self._recent: deque[Record] = deque(maxlen=_SHOWN)
        self._seen = 0
        self._inbox = Inbox()
        self._positions: OrderedDict[str, tuple[Any, Any]] = OrderedDict()
        self._waiters: list[anyio.Event] = []
        self._connection: Connection | None = None
        self._release: anyio.Event | None = None
        self._released: anyio.Event | None = None
        self._write_error: RecordingWriteError | None = None
        self._stack = AsyncExitStack()
        self._background: Background | None = None

    async def __aenter__(self) -> Self:
        self._stack.callback(self.recorder.subscribe(self._take))
        try:
            self._background = await self._stack.enter_async_context(Background())
            await self._connect(self._limits.connect_timeout)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._disconnect()
        finally:
            await self._stack.aclose()
        if self._write_error is not None and error is None:
            raise self._write_error

    @property
    def connection(self) -> Connection:
        """The current connection. Raises RuntimeError outside of `async with`."""
        if self._connection is None:
            raise RuntimeError(_NOT_ENTERED)
        return self._connection

    @property
    def records(self) -> Iterator[Record]:
        """Everything on all connections of this tester so far, oldest first."""
        return (record for record in self.recorder.records() if record.connection in self._names)

    @property
    def events(self) -> Iterator[Any]:
        """What the gateway sent so far: the data of received events, oldest first."""
        return (
            record.data
            for record in self.records
            if record.kind is Kind.EVENT and record.direction is Direction.RECEIVED
        )

    def timeline(self) -> str:
        """The newest events as text, one line each."""
        return timeline_text(
            self._recent,
            name_of=self.dialect.name_of,
            words_of=self.dialect.words_of,
            earlier=self._seen - len(self._recent),
        )

    async def send(self, content: str, *, thread_id: str | None = None, **fields: Any) -> None:
        """Say something, which starts a turn.

        Args:
            content: the words.
            thread_id: the conversation to continue.
            fields: further fields of the message, beside those of the dialect.

        Raises:
            ConnectionEndedError: the connection has ended.
            SendTimeoutError: the gateway does not read.
        """
        words = content if self.canary is None else f"{content} {self.canary}"
        values = {"content": words, "thread_id": thread_id, "user": self.user or None}
        await self.connection.send({**fill(self.dialect.message, values), **fields})

    async def send_raw(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send any message, also one that is wrong. Raises like `send`."""
        await self.connection.send(message)

    async def wait_for(self, event: str | Collection[str], timeout: float = DEFAULT_TIMEOUT) -> Record:
        """The next event of this name (or of one of these names) that no wait has returned yet.

        Args:
            event: its name.
            timeout: seconds.

        Raises:
            AwaitedEventError: it did not come in time, or the connection ended first. Shows the timeline so far.
        """
        names = (event,) if isinstance(event, str) else tuple(event)
        return await self._await(names, timeout, self._inbox.take)

    async def wait_for_completion(self, timeout: float = DEFAULT_TIMEOUT) -> Record:
        """The event that ends the turn, well or not. Later waits look only at what comes after it.

        Raises:
            AwaitedEventError: the turn did not end in time, or the connection ended first.
        """
        return await self._await(self.dialect.ends_turn, timeout, self._inbox.take_and_end_turn)

    async def wait_until_closed(self, timeout: float = DEFAULT_TIMEOUT) -> Record:
        """The record of the connection's end. Raises AwaitedEventError when it does not come in time."""
        with anyio.move_on_after(timeout):
            while (record := self.connection.close_record) is None:
                await self._next_change()
            return record
        raise AwaitedEventError(("the connection to close",), f"it is open after {timeout:g} s", self.timeline())

    async def reconnect(self, *, resume: bool = True, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Close the connection if it is open, connect again, and ask for what was missed.

        The new connection has a name of its own in the recording and the same user.

        Args:
            resume: ask, for each thread seen so far, for everything after its newest event.
            timeout: seconds for all of it.

        Raises:
            ConnectionFailedError: no connection.
            AwaitedEventError: the gateway did not say that it is ready.
        """
        await self._disconnect()
        await self._connect(timeout)
        if resume and self.dialect.resume is not None:
            for thread, (epoch, seq) in tuple(self._positions.items()):
                values = {"thread_id": thread, "epoch": epoch, "seq": seq, "user": self.user or None}
                await self.connection.send(fill(self.dialect.resume, values))

    def drop(self) -> None:
        """Lose the connection without a close frame, as a network does that breaks. Then `reconnect`."""
        self.connection.abort()

    def _take(self, record: Record) -> None:
        if record.connection not in self._names:
            return
        self._seen += 1
        self._recent.append(record)
        if record.kind is Kind.EVENT and record.direction is Direction.RECEIVED:
            self._inbox.put(self.dialect.name_of(record.data), record)
            position = self.dialect.position_of(record.data)
            if position is not None:
                self._positions[position[0]] = position[1:]
                self._positions.move_to_end(position[0])
                if len(self._positions) > _MAX_THREADS:
                    self._positions.popitem(last=False)
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.set()

    async def _await(
        self, names: tuple[str, ...], timeout: float, take: Callable[[Collection[str]], Record | None]
    ) -> Record:
        connection = self.connection
        reason = f"nothing within {timeout:g} s"
        with anyio.move_on_after(timeout):
            while True:
                record = take(names)
                if record is not None:
                    return record
                ended = connection.close_record
                if ended is not None:
                    said = f" {ended.data['reason']!r}" if ended.data["reason"] else ""
                    reason = f"the connection ended with code {ended.data['code']}{said}, {ended.note}"
                    break
                await self._next_change()
        if self._inbox.forgotten:
            reason += f" ({self._inbox.forgotten} older events were forgotten before anyone waited for them)"
        raise AwaitedEventError(names, reason, self.timeline())

    async def _next_change(self) -> None:
        changed = anyio.Event()
        self._waiters.append(changed)
        try:
            await changed.wait()
        finally:
            if changed in self._waiters:
                self._waiters.remove(changed)

    async def _connect(self, timeout: float) -> None:
        if self._background is None:
            raise RuntimeError(_NOT_ENTERED)
        self._connection = await self._background.start(self._hold)
        if self._token is not None and self.dialect.authenticate_by == "message":
            await self._send_auth()
        if self.dialect.ready is not None:
            await self._await((self.dialect.ready,), timeout, self._inbox.take)

    async def _send_auth(self) -> None:
        try:
            await self.connection.send(fill(self.dialect.auth, {"token": self._token, "user": self.user or None}))
        except ConnectionEndedError as error:
            raise AwaitedEventError((self.dialect.ready or "auth",), error.why, self.timeline()) from None

    async def _hold(self, task_status: TaskStatus[Connection]) -> None:
        """Keep one connection open until it is released. A task of its own, so that its scopes outlive the caller's."""
        release, released = anyio.Event(), anyio.Event()
        name = self.recorder.connection_name(self.user)
        self._names.add(name)
        header_token = self._token if self.dialect.authenticate_by == "header" else None
        in_subprotocol = self._token is not None and self.dialect.authenticate_by == "subprotocol"
        offered = (f"bearer.{self._token}", *self._subprotocols) if in_subprotocol else self._subprotocols
        try:
            async with self._open_connection(
                self.url,
                recorder=self.recorder,
                name=name,
                user=self.user,
                token=header_token,
                headers=self._headers,
                subprotocols=offered,
                tls=self._tls,
                limits=self._limits,
            ) as connection:
                self._release, self._released = release, released
                task_status.started(connection)
                await release.wait()
        except RecordingWriteError as error:
            self._write_error = error
        finally:
            released.set()

    async def _disconnect(self) -> None:
        if self._release is not None and self._released is not None:
            self._release.set()
            await self._released.wait()
            self._release = None


@asynccontextmanager
async def open_testers(
    url: str,
    tokens: Mapping[str, str | None],
    *,
    recorder: Recorder | None = None,
    canaries: Canaries | None = None,
    **settings: Any,
) -> AsyncIterator[dict[str, ChatTester]]:
    """Many users at once, in one recording, each with a canary in everything they send.

        canaries = Canaries()
        async with open_testers(url, {"ada": token_a, "bob": token_b}, canaries=canaries) as testers:
            ...
        assert canaries.search(recorder.records(), vocabulary).isolated

    Args:
        url: address of the gateway.
        tokens: token by user name.
        recorder: where everything goes.
        canaries: hands out the canaries; search with it afterwards.
        settings: further parameters of each ChatTester.
    """
    recorder = recorder if recorder is not None else Recorder()
    canaries = canaries if canaries is not None else Canaries()
    async with AsyncExitStack() as stack:
        testers: dict[str, ChatTester] = {}
        for user, token in tokens.items():
            tester = ChatTester(url, user=user, token=token, recorder=recorder, canaries=canaries, **settings)
            testers[user] = await stack.enter_async_context(tester)
        yield testers


def assert_websocket_events_sent(
    events: Iterable[Any], names: Iterable[str], *, dialect: Dialect | None = None
) -> None:
    """All of these events were sent; a name that stands twice must have come twice. Their order is not looked at.

    Args:
        events: records, decoded messages, or names.
        names: what must be among them.
        dialect: how to read an event's name.

    Raises:
        MissingEventsError: some did not come.
        ValueError: `names` is empty: that would hold for any stream.
    """
    dialect = dialect if dialect is not None else Dialect()
    wanted = list(names)
    if not wanted:
        raise ValueError("names: empty, which holds for any stream; name the events that must have been sent")
    came = [name for event in events if (name := _name_of(event, dialect))]
    left = Counter(came)
    missing = []
    for name in wanted:
        if left[name]:
            left[name] -= 1
        else:
            missing.append(name)
    if missing:
        raise MissingEventsError(missing, "\n".join(f"  {name}" for name in came) or "  (nothing)")


def _name_of(event: Any, dialect: Dialect) -> str:
    if isinstance(event, str):
        return event
    if isinstance(event, Record):
        wire = event.kind is Kind.EVENT and event.direction is Direction.RECEIVED
        return dialect.name_of(event.data) if wire else ""
    return dialect.name_of(event)
