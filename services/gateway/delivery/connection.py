"""One client connection, whatever carries it: who it is, what it follows, what waits to be written to it."""

from collections.abc import Callable, Iterable
from typing import Final, final

import anyio
from msgspec import UNSET

from chat_protocol.close_codes import CloseCode
from chat_protocol.decoding import decode_event, encode
from chat_protocol.events import AnyEvent, ErrorCode
from gateway.delivery.acks import Acknowledgements, Due
from gateway.delivery.following import Following
from gateway.delivery.hub import Hub
from gateway.delivery.outbox import Outbox
from gateway.delivery.veil import Veil
from gateway.errors import OutboxFullError, RequestError, StorageError
from gateway.identity.principal import Principal
from gateway.storage.entries import LoggedEvent
from gateway.storage.history import History
from gateway.storage.schema import ThreadAddress

MAX_FOLLOWED: Final = 256
"""Threads that one connection may follow."""

_PAGE: Final = 200


@final
class Connection:
    """An authenticated connection. Its methods never wait, so the journal's writer is never held up by a client.

    Args:
        connection_id: unique name.
        principal: whose connection it is.
        hub: where it hears of events.
        outbox: what waits to be written.
        veil: what its user is not shown.
        speaks_of_sessions: whether its client calls a thread a session.
    """

    def __init__(
        self,
        connection_id: str,
        principal: Principal,
        hub: Hub,
        outbox: Outbox,
        *,
        veil: Veil | None = None,
        speaks_of_sessions: bool = False,
    ) -> None:
        self.id = connection_id
        self.principal = principal
        self.outbox = outbox
        self.veil = veil or Veil()
        self.speaks_of_sessions = speaks_of_sessions
        self.channels: set[str] = set()
        """Channels that the connection has joined."""
        self.closing: tuple[CloseCode, str] | None = None
        """Set once the gateway wants to close: the code and the reason."""
        self._hub = hub
        self._following: dict[str, Following] = {}
        self._acks: dict[str, Acknowledgements] = {}
        # A list, because a deque has room for many from the start, and most connections never fall behind.
        self._behind: list[Following] = []
        self._woken: anyio.Event | None = None
        self._start_replay: Callable[[], object] | None = None
        self._stop: Callable[[], None] | None = None
        self._finished: Callable[[], None] | None = None

    @property
    def followed(self) -> Iterable[str]:
        """Keys of the threads that the connection follows."""
        return tuple(self._following)

    def send(self, event: AnyEvent) -> None:
        """Queue an event about the connection itself."""
        self._put(encode(event).decode())

    def send_frame(self, frame: str) -> None:
        """Queue an event that is encoded already, because it goes to several connections."""
        self._put(frame)

    def check_room(self, address: ThreadAddress) -> None:
        """Raises RequestError when the connection follows so many threads that it cannot follow this one, too."""
        if len(self._following) >= MAX_FOLLOWED and address.thread_key not in self._following:
            raise RequestError(
                ErrorCode.FORBIDDEN, f"A connection follows at most {MAX_FOLLOWED} threads. Open another one."
            )

    def follow(self, address: ThreadAddress, *, after_seq: int, catch_up: bool, restart: bool = False) -> None:
        """Follow a thread from the event after `after_seq`.

        Args:
            address: the thread; its owner must be this connection's user.
            after_seq: the last event that the client has seen.
            catch_up: read what is there already from the log first.
            restart: begin there even when the thread is followed already.
        """
        following = self._following.get(address.thread_key)
        if following is None:
            following = Following(address, after_seq=after_seq, live=not catch_up)
            self._following[following.thread_key] = following
            self._hub.follow(self, following.thread_key)
        elif restart:
            following.restart(after_seq=after_seq)
            self.veil.restart(following.thread_key)
        else:
            return
        if not following.live:
            self._catch_up(following)

    def deliver(self, logged: LoggedEvent) -> None:
        """Queue an event of a thread, unless it comes from the log anyway."""
        following = self._following[logged.thread_key]
        was_live = following.live
        if self.outbox.must_wait(logged.frame):
            # Nobody is too slow for this one: it comes from the log, once what is before it is written.
            following.fall_behind()
        if following.published(logged.seq):
            self._show(logged.thread_key, logged.frame, logged.event)
        elif was_live and not following.live:
            self._catch_up(following)

    def position(self, address: ThreadAddress) -> int | None:
        """The furthest event of the thread that was queued for the client. None: the thread is not followed."""
        following = self._following.get(address.thread_key)
        return None if following is None else following.furthest

    def acknowledge(self, address: ThreadAddress, seq: int) -> None:
        """Note that the client has everything of the thread up to here; from now on it is asked for acks."""
        acks = self._acks.get(address.thread_key)
        if acks is None:
            self._acks[address.thread_key] = Acknowledgements(seq)
        else:
            acks.arrived(seq)

    def redeliver(self, now: float, *, timeout: float, tries: int) -> None:
        """Send again what was not acknowledged in time. See `gateway.delivery.acks`."""
        if not self._acks or self.closing is not None or self.outbox.waiting_bytes:
            # What has not even been written is not missed.
            return
        for thread_key, acks in self._acks.items():
            following = self._following[thread_key]
            match acks.due(following.furthest, now, timeout=timeout, tries=tries):
                case Due.AGAIN:
                    following.restart(after_seq=acks.seq)
                    self.veil.restart(thread_key)
                    self._catch_up(following)
                case Due.GIVE_UP:
                    self.close(
                        CloseCode.SLOW_READER, f"no ack; resume seq={acks.seq} thread={following.address.thread_id}"
                    )
                    return

    def authenticate(self, principal: Principal) -> None:
        """Go on under a fresh token of the same user."""
        self.principal = principal

    def close(self, code: CloseCode, reason: str) -> None:
        """Ask the connection to end now: what waits is dropped, and the client is told why."""
        if self.closing is None:
            self.closing = (code, reason)
        self.outbox.discard()
        if self._stop is not None:
            self._stop()

    def finish(self, code: CloseCode, reason: str) -> None:
        """Ask the connection to end once everything that waits is written."""
        if self.closing is None:
            self.closing = (code, reason)
            self.outbox.close()
            if self._finished is not None:
                self._finished()

    def on_close(self, stop: Callable[[], None], *, finished: Callable[[], None] | None = None) -> None:
        """Call `stop` when `close` is called, and `finished` when `finish` is."""
        self._stop = stop
        self._finished = finished

    def on_behind(self, start: Callable[[], object]) -> None:
        """Call `start` when `replay` is first needed; most connections never need it, and tasks are not free."""
        self._start_replay = start

    async def replay(self, history: History) -> None:
        """Bring the followed threads from the log to the live events. Runs beside the reader until cancelled."""
        while True:
            while self._behind:
                await self._replay_one(self._behind.pop(0), history)
            self._woken = anyio.Event()
            await self._woken.wait()

    def _catch_up(self, following: Following) -> None:
        if following not in self._behind:
            self._behind.append(following)
        if self._start_replay is not None:
            start, self._start_replay = self._start_replay, None
            start()
        if self._woken is not None:
            self._woken.set()

    async def _replay_one(self, following: Following, history: History) -> None:
        while not following.live:
            try:
                page = await history.get_frames(following.thread_key, after_seq=following.seq, limit=_PAGE)
            except StorageError as error:
                if error.refused:
                    raise
                await anyio.sleep(1.0)
                continue
            for seq, frame in page:
                await self.outbox.wait_for_room(frame)
                if following.replayed(seq):
                    self._show(following.thread_key, frame)
            if not page:
                following.reached_end()

    def _show(self, thread_key: str, frame: str, event: AnyEvent | None = None) -> None:
        if self.veil.active:
            original = event or decode_event(frame)
            shown = self.veil.show(thread_key, original)
            if shown is None:
                return
            if shown is not original:
                frame, event = encode(shown).decode(), event and shown
        self._put(frame, event)

    def _put(self, frame: str, event: AnyEvent | None = None) -> None:
        try:
            self.outbox.put(frame, event)
        except OutboxFullError:
            self.close(CloseCode.SLOW_READER, f"too slow; resume{self._place_of_first(frame)}")

    def _place_of_first(self, refused: str) -> str:
        """Where the client goes on: before the first event that was not written. What was merged begins earlier."""
        for frame in (*self.outbox.unsent, refused):
            event = decode_event(frame) if frame.startswith("{") else None
            if event is not None and event.seq is not UNSET:
                first_seq = event.seq if event.first_seq is UNSET else event.first_seq
                return f" seq={first_seq - 1} thread={event.thread_id}"
        return ""
