"""One Engine.IO session: what it has been told, what waits to be told to it. Knows nothing of HTTP or WebSocket.

    OPENED --(CONNECT with a good token)--> CONNECTED
    OPENED, CONNECTED --(close, disconnect, heartbeat missed, too slow)--> CLOSED

Everything that goes out passes through one bounded outbox. Frames in it are packets, which begin with a digit, or
events of the gateway, which begin with a brace and are translated when they leave.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, Protocol, final

import anyio
import msgspec
from engineio import packet as engine_packets  # type: ignore[import-untyped]  # ships no types
from socketio import packet as socket_packets  # type: ignore[import-untyped]  # ships no types

from chat_protocol.close_codes import CloseCode
from chat_protocol.decoding import MalformedMessageError
from chat_protocol.events import ErrorCode
from gateway.application import Gateway
from gateway.delivery.connection import Connection
from gateway.delivery.outbox import Outbox
from gateway.delivery.veil import Veil
from gateway.endpoints.answers import Answers
from gateway.endpoints.socketio.translation import from_frame, to_frame
from gateway.errors import OutboxFullError, TokenRefusedError
from gateway.identity.principal import Principal

_BATCH: Final = 64
"""Most packets in one answer to a poll."""
_EVENTS: Final = (socket_packets.EVENT, socket_packets.BINARY_EVENT)
_ACKS: Final = (socket_packets.ACK, socket_packets.BINARY_ACK)
"""Answers to events that asked for one, which those of the gateway never do."""


class State(Enum):
    """See the drawing above."""

    OPENED = auto()
    CONNECTED = auto()
    CLOSED = auto()


class Spawn(Protocol):
    """Starts a task that lives as long as the session."""

    def __call__(self, session: "Session", connection: Connection) -> None: ...


class BadPacketError(Exception):
    """The client sent something that is not a packet, or not one that may come now."""


@final
class Session:
    """A client of the Socket.IO endpoint.

    Args:
        sid: its name, unguessable.
        token: the token of the handshake, if it carried one.
        gateway: the rest of the house.
        answers: handles messages.
        spawn: called with the connection once the client is authenticated.
        now: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        sid: str,
        token: str | None,
        gateway: Gateway,
        answers: Answers,
        spawn: Spawn,
        now: Callable[[], float],
    ) -> None:
        self.sid = sid
        self.state = State.OPENED
        self.upgraded = False
        self.upgrading = False
        """Whether a WebSocket is about to take over."""
        self.polling = False
        """Whether a poll is waiting for an answer."""
        self.ended = anyio.Event()
        self.opened_at = now()
        self._token = token
        self._gateway = gateway
        self._answers = answers
        self._spawn = spawn
        self._now = now
        self._connection: Connection | None = None
        self._outbox = Outbox(gateway.settings.outbound_bytes, coalesce_bytes=gateway.settings.coalesce_bytes)
        self._pinged_at = now()
        self._awaiting_pong = False
        self._attachments = 0
        """Binary packets that are still to come, of events that were refused for them."""

    @property
    def can_upgrade(self) -> bool:
        """Whether a WebSocket may take over."""
        return not (self.upgraded or self.upgrading or self.ended.is_set())

    @property
    def connection(self) -> Connection | None:
        """The connection, once the client is authenticated."""
        return self._connection

    async def handle(self, encoded: str | bytes) -> None:
        """Take one Engine.IO packet of the client: text, or the bytes of a binary one.

        Raises:
            BadPacketError: it is none, or it may not come now; the session is of no further use.
        """
        packet = _decode_engine(encoded)
        match packet.packet_type:
            case engine_packets.PONG:
                self._awaiting_pong = False
            case engine_packets.MESSAGE if isinstance(packet.data, str):
                await self._handle_message(packet.data)
            case engine_packets.MESSAGE if self._attachments:
                self._attachments -= 1
            case engine_packets.CLOSE:
                self.close()
            case engine_packets.NOOP | engine_packets.UPGRADE:
                return
            case _:
                raise BadPacketError("not a packet that a client sends")

    async def next_packets(self) -> list[str] | None:
        """Wait for something to send and return what there is, up to a bound. None: the session has ended."""
        packets: list[str] = []
        while not packets:
            frame = await self._outbox.get()
            if frame is None:
                return None
            packets.extend(_packets_of(frame))
        while len(packets) < _BATCH and self._outbox.waiting_bytes:
            frame = await self._outbox.get()
            packets.extend(_packets_of(frame) if frame is not None else ())
        return packets

    def put(self, packet_type: int, data: str = "") -> None:
        """Queue an Engine.IO packet."""
        self._put(engine_packets.Packet(packet_type, data).encode())

    def beat(self) -> None:
        """Ping when it is time, and end the session when the last ping was not answered in time."""
        now = self._now()
        settings = self._gateway.settings
        if self.state is State.OPENED and now - self.opened_at > settings.auth_timeout:
            self.close()
        elif self._awaiting_pong:
            if now - self._pinged_at > settings.heartbeat_timeout:
                self.close()
        elif now - self._pinged_at >= settings.heartbeat:
            self._pinged_at = now
            self._awaiting_pong = True
            self.put(engine_packets.PING)

    def close(self) -> None:
        """End the session. What waits is dropped; the log has it."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._outbox.discard()
        if self._connection is not None:
            self._gateway.hub.remove(self._connection)
        self.ended.set()

    def _finish(self) -> None:
        # Between two polls there is nobody to tell; the next poll learns that the session is gone.
        if not self.upgraded and not self.polling:
            self.close()

    async def _handle_message(self, encoded: str) -> None:
        packet = _decode_socket(encoded)
        namespace = packet.namespace or "/"
        if namespace != "/":
            self._put_socket(socket_packets.CONNECT_ERROR, {"message": "Invalid namespace"}, namespace=namespace)
        elif packet.packet_type == socket_packets.CONNECT:
            self._connect(packet.data)
        elif packet.packet_type == socket_packets.DISCONNECT:
            self.close()
        elif self._connection is None:
            raise BadPacketError("the first packet must be CONNECT")
        elif packet.packet_type in _EVENTS:
            await self._handle_event(self._connection, encoded, packet)
        elif packet.packet_type not in _ACKS:
            raise BadPacketError("not a packet that a client sends")

    def _connect(self, data: Any) -> None:
        if self._connection is not None:
            raise BadPacketError("the session is connected already")
        token = data.get("token") if isinstance(data, dict) else None
        try:
            principal = self._gateway.verifier.verify(token if isinstance(token, str) else self._token or "")
        except TokenRefusedError as error:
            details = {"code": ErrorCode.UNAUTHENTICATED.value}
            self._put_socket(
                socket_packets.CONNECT_ERROR, {"message": f"Not authenticated: {error.reason}.", "data": details}
            )
            return
        self._connection = connection = self._make_connection(principal)
        self.state = State.CONNECTED
        self._put_socket(socket_packets.CONNECT, {"sid": connection.id})
        self._gateway.hub.add(connection)
        self._spawn(self, connection)

    def _make_connection(self, principal: Principal) -> Connection:
        connection = Connection(
            self._gateway.ids.connection(),
            principal,
            self._gateway.hub,
            self._outbox,
            veil=Veil(self._gateway.access.hidden(principal.roles)),
            speaks_of_sessions=True,
        )
        connection.on_close(self.close, finished=self._finish)
        return connection

    async def _handle_event(self, connection: Connection, encoded: str, packet: socket_packets.Packet) -> None:
        try:
            limit = self._gateway.settings.max_inbound_bytes
            if (size := len(encoded.encode("utf-8", "surrogatepass"))) > limit:
                raise MalformedMessageError(
                    ErrorCode.MESSAGE_TOO_LARGE, f"the message has {size} bytes, the limit is {limit}"
                )
            if packet.attachment_count:
                self._attachments = packet.attachment_count
                raise MalformedMessageError(ErrorCode.INVALID_MESSAGE, "binary data is not taken; send text")
            frame = to_frame(packet.data if isinstance(packet.data, list) else [])
        except MalformedMessageError as error:
            connection.send(self._answers.refused(error.code, str(error), field=error.field))
            settled = None
        else:
            settled = await self._answers.handle(connection, frame, self._gateway.router)
        if packet.id is not None:
            # Whoever asks for an acknowledgement learns with it that the message is stored, or was refused.
            if settled is not None:
                await settled()
            self._put_socket(socket_packets.ACK, [], ack_id=packet.id)

    def _put_socket(self, packet_type: int, data: Any, *, namespace: str = "/", ack_id: int | None = None) -> None:
        encoded = socket_packets.Packet(packet_type, data=data, namespace=namespace, id=ack_id, binary=False).encode()
        self.put(engine_packets.MESSAGE, encoded)

    def _put(self, frame: str) -> None:
        try:
            self._outbox.put(frame)
        except OutboxFullError:
            if self._connection is not None:
                self._connection.close(CloseCode.SLOW_READER, "too slow")
            self.close()


def _packets_of(frame: str) -> list[str]:
    if not frame.startswith("{"):
        return [frame]
    return [
        engine_packets.Packet(
            engine_packets.MESSAGE, f"{socket_packets.EVENT}{msgspec.json.encode([name, data]).decode()}"
        ).encode()
        for name, data in from_frame(frame)
    ]


def _decode_engine(encoded: str | bytes) -> engine_packets.Packet:
    try:
        return engine_packets.Packet(encoded_packet=encoded)
    except (ValueError, RecursionError) as error:
        raise BadPacketError("not an Engine.IO packet") from error


def _decode_socket(encoded: str) -> socket_packets.Packet:
    if not encoded:
        raise BadPacketError("an empty message")
    try:
        return socket_packets.Packet(encoded_packet=encoded)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadPacketError("not a Socket.IO packet") from error
