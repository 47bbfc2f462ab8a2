"""Handlers of the messages about delivery: positions, heartbeat, a fresh token."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, final

from chat_protocol.events import ErrorCode, Pong, PongPayload, format_timestamp
from chat_protocol.messages import Ack, Auth, Ping, Resume
from gateway.delivery.connection import Connection
from gateway.errors import RequestError, StorageError, TokenRefusedError
from gateway.identity.tokens import TokenVerifier
from gateway.ids import IdGenerator
from gateway.storage.entries import NewAck
from gateway.storage.history import History
from gateway.storage.journal import Journal

_BEYOND: Final = "the log ends before this position"


@final
class ResumeHandler:
    """Brings a connection to a place in a thread's log."""

    def __init__(self, history: History, epoch: str) -> None:
        self._history = history
        self._epoch = epoch

    async def handle(self, connection: Connection, message: Resume) -> None:
        """Send the events after the position, then live ones: nothing is left out and nothing comes twice.

        Raises:
            RequestError: the log is another one, the user has no such thread, or the position is beyond its end.
        """
        check_epoch(message.epoch, self._epoch)
        address = connection.principal.thread(message.thread_id)
        try:
            thread = await self._history.get(address)
        except StorageError:
            raise RequestError(
                ErrorCode.STORAGE_UNAVAILABLE, "The log cannot be read now. Resume again in a moment.", retryable=True
            ) from None
        connection.check_room(address)
        if thread is None and not message.seq:
            # Nothing to replay yet; whoever opens a thread in two tabs wants its first message in both.
            connection.follow(address, after_seq=0, catch_up=True, restart=True)
            return
        if thread is None:
            raise RequestError(ErrorCode.NOT_FOUND, "You have no thread of that name.", field="thread_id")
        after_seq = thread.acked_seq if message.seq is None else message.seq
        if after_seq > thread.last_seq:
            raise RequestError(ErrorCode.INVALID_FIELD, f"{_BEYOND}: it ends at {thread.last_seq}", field="seq")
        connection.follow(address, after_seq=after_seq, catch_up=True, restart=True)


@final
class AckHandler:
    """Notes what has arrived."""

    def __init__(self, journal: Journal, epoch: str) -> None:
        self._journal = journal
        self._epoch = epoch

    async def handle(self, connection: Connection, message: Ack) -> None:
        """Store the position, from which `resume` without a position goes on, and expect such acks from now on.

        Raises:
            RequestError: the log is another one, or the connection was not sent that much of the thread.
        """
        check_epoch(message.epoch, self._epoch)
        address = connection.principal.thread(message.thread_id)
        sent = connection.position(address)
        if sent is None:
            raise RequestError(ErrorCode.NOT_FOUND, "This connection does not follow that thread.", field="thread_id")
        if message.seq > sent:
            raise RequestError(ErrorCode.INVALID_FIELD, f"only events up to {sent} were sent", field="seq")
        connection.acknowledge(address, message.seq)
        await self._journal.append(NewAck(address, message.seq))


@final
class PingHandler:
    """Answers `ping`."""

    def __init__(self, ids: IdGenerator) -> None:
        self._ids = ids

    async def handle(self, connection: Connection, message: Ping) -> None:
        """Send `pong` with the same nonce."""
        timestamp = format_timestamp(datetime.now(UTC))
        connection.send(Pong(id=self._ids.event(), timestamp=timestamp, payload=PongPayload(nonce=message.nonce)))


@final
class AuthHandler:
    """Takes a fresh token for a connection that is open already."""

    def __init__(self, verifier: TokenVerifier, review: Callable[[Connection], list[str]]) -> None:
        self._verifier = verifier
        self._review = review

    async def handle(self, connection: Connection, message: Auth) -> None:
        """Go on under the new token, with its roles and its expiry.

        Raises:
            RequestError: the token is not good, or it is another user's; then the old one stays in force. Also when the
                new roles close channels that the connection had joined; then the new one is in force.
        """
        try:
            principal = self._verifier.verify(message.token)
        except TokenRefusedError as error:
            raise RequestError(
                ErrorCode.UNAUTHENTICATED, f"Not authenticated: {error.reason}.", field="token"
            ) from None
        if principal.user_key != connection.principal.user_key:
            raise RequestError(
                ErrorCode.FORBIDDEN, "The token is another user's. Open a connection of its own.", field="token"
            )
        connection.authenticate(principal)
        if left := self._review(connection):
            raise RequestError(
                ErrorCode.FORBIDDEN, f"Your roles no longer open these channels, which you have left: {', '.join(left)}"
            )


def check_epoch(given: str, current: str) -> None:
    """Raises RequestError when a position counts in another log than the one there is."""
    if given != current:
        raise RequestError(
            ErrorCode.EPOCH_CHANGED,
            "The position belongs to another log. Read the thread again from seq 0 of the epoch in this event.",
            field="epoch",
            epoch=current,
        )
