"""Engine.IO v4 and Socket.IO v5 over one WebSocket, as facts. Sans-I/O; the packets are python-socketio's own codec.

https://socket.io/docs/v4/engine-io-protocol/ and https://socket.io/docs/v4/socket-io-protocol/
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import engineio.packet  # type: ignore[import-untyped]  # it ships no types
import msgspec
import socketio.packet  # type: ignore[import-untyped]  # it ships no types

from event_capture.drivers.frames import decode_strictly, excerpt_of, nests_deeper

_MAX_ATTACHMENTS: Final = 64
_MAX_PAYLOAD: Final = 1_000_000
"""What a server of ours tells its clients that it takes at once, in bytes."""


class _StrictJson:
    """What the codec calls in place of the standard library: no duplicate keys, no NaN."""

    @staticmethod
    def loads(text: str) -> Any:
        return decode_strictly(text)

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return msgspec.json.encode(value).decode("utf-8")


class _Packet(socketio.packet.Packet):  # type: ignore[misc]  # python-socketio has no annotations
    json = _StrictJson


@final
@dataclass(frozen=True, slots=True)
class Opened:
    """Engine.IO is ready: now the namespace may be joined."""


@final
@dataclass(frozen=True, slots=True)
class Joined:
    """The server let the client into the namespace; seen from the server, the client asks for it."""

    namespace: str = "/"


@final
@dataclass(frozen=True, slots=True)
class Refused:
    """The server did not let the client into the namespace."""

    reason: str


@final
@dataclass(frozen=True, slots=True)
class Left:
    """The server ended the session."""

    reason: str


@final
@dataclass(frozen=True, slots=True)
class Reply:
    """The protocol wants this sent: a pong, an acknowledgement."""

    message: str


@final
@dataclass(frozen=True, slots=True)
class Event:
    """An event, as a recording holds it: `{"event": name, "data": argument}`; several arguments are a list."""

    data: dict[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Broken:
    """Something that is no packet."""

    excerpt: Any
    note: str


Fact = Opened | Joined | Refused | Left | Reply | Event | Broken


@final
class SocketIOCodec:
    """Both directions of one Socket.IO session in one namespace, for either side.

    Args:
        namespace: the namespace to join.
        max_depth: deepest nesting of a packet's data.
    """

    def __init__(self, namespace: str = "/", *, max_depth: int = 128) -> None:
        self.namespace = namespace
        self._max_depth = max_depth
        self._partial: Any = None

    def opening(self, session: str, *, ping_interval: float, ping_timeout: float) -> str:
        """A server's first message. Both times in seconds."""
        facts = {"sid": session, "upgrades": [], "pingInterval": round(ping_interval * 1000)}
        facts |= {"pingTimeout": round(ping_timeout * 1000), "maxPayload": _MAX_PAYLOAD}
        return f"{engineio.packet.OPEN}{msgspec.json.encode(facts).decode()}"

    def ping(self) -> str:
        """A server's heartbeat."""
        return str(engineio.packet.PING)

    def welcome(self, session: str) -> str:
        """A server's message that lets the client into the namespace."""
        return self._encode(socketio.packet.CONNECT, {"sid": session})

    def join(self, auth: Mapping[str, Any] | None) -> str:
        """The message that asks to join the namespace."""
        return self._encode(socketio.packet.CONNECT, dict(auth) if auth is not None else None)

    def leave(self) -> str:
        """The message that leaves the namespace."""
        return self._encode(socketio.packet.DISCONNECT, None)

    def emit(self, name: str, *arguments: Any) -> str:
        """The message that carries an event."""
        return self._encode(socketio.packet.EVENT, [name, *arguments])

    def text(self, payload: bytes) -> list[Fact]:
        """Read one text message. Never raises."""
        if nests_deeper(payload, self._max_depth):
            return [Broken(excerpt_of(payload), f"nested deeper than {self._max_depth} levels")]
        try:
            text = payload.decode("utf-8")
            kind = int(text[:1]) if text[:1].isdigit() else -1
            match kind:
                case engineio.packet.OPEN:
                    return [Opened()]
                case engineio.packet.CLOSE:
                    return [Left("the server closed the session")]
                case engineio.packet.PING:
                    return [Reply(f"{engineio.packet.PONG}{text[1:]}")]
                case engineio.packet.MESSAGE:
                    return self._packet(_Packet(encoded_packet=text[1:]), payload)
                case engineio.packet.PONG | engineio.packet.UPGRADE | engineio.packet.NOOP:
                    return []
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
            return [Broken(excerpt_of(payload), f"not a Socket.IO packet: {error}")]
        return [Broken(excerpt_of(payload), "not an Engine.IO packet: it starts with no packet type")]

    def binary(self, payload: bytes) -> list[Fact]:
        """Read one binary message: an attachment of the packet before it. Never raises."""
        partial = self._partial
        if partial is None:
            excerpt = {"base64": base64.b64encode(payload[:256]).decode("ascii")}
            return [Broken(excerpt, f"binary frame of {len(payload)} bytes that no packet announced")]
        try:
            complete = partial.add_attachment(payload)
        except (ValueError, TypeError, LookupError) as error:
            self._partial = None
            return [Broken(None, f"not a Socket.IO packet: {error}")]
        if not complete:
            return []
        self._partial = None
        return self._event(partial)

    def _packet(self, packet: Any, payload: bytes) -> list[Fact]:
        namespace = packet.namespace or "/"
        match packet.packet_type:
            case socketio.packet.CONNECT:
                return [Joined(namespace)]
            case socketio.packet.CONNECT_ERROR:
                said = packet.data.get("message") if isinstance(packet.data, dict) else packet.data
                return [Refused(str(said or "no reason given"))]
            case socketio.packet.DISCONNECT:
                return [Left(f"the server disconnected namespace {namespace}")]
            case socketio.packet.EVENT:
                return self._event(packet)
            case socketio.packet.BINARY_EVENT:
                if packet.attachment_count > _MAX_ATTACHMENTS:
                    return [Broken(excerpt_of(payload), f"more than {_MAX_ATTACHMENTS} attachments")]
                if packet.attachment_count == 0:
                    return self._event(packet)
                self._partial = packet
                return []
            case socketio.packet.ACK | socketio.packet.BINARY_ACK:
                return []
            case _:
                return [Broken(excerpt_of(payload), f"unknown Socket.IO packet type {packet.packet_type}")]

    def _event(self, packet: Any) -> list[Fact]:
        if not isinstance(packet.data, list) or not packet.data or not isinstance(packet.data[0], str):
            return [Broken(excerpt_of(str(packet.data).encode()), "an event packet without an event name")]
        facts: list[Fact] = [Event(event_data(packet.data[0], packet.data[1:], packet.namespace or "/"))]
        if packet.id is not None:
            facts.append(Reply(self._encode(socketio.packet.ACK, [], packet_id=packet.id)))
        return facts

    def _encode(self, kind: int, data: Any, *, packet_id: int | None = None) -> str:
        packet = _Packet(kind, data=data, namespace=self.namespace, id=packet_id, binary=False)
        return f"{engineio.packet.MESSAGE}{packet.encode()}"


def event_data(name: str, arguments: list[Any], namespace: str = "/") -> dict[str, Any]:
    """An event as a recording holds it."""
    data: dict[str, Any] = {"event": name, "data": None}
    if arguments:
        shown = [_without_bytes(argument) for argument in arguments]
        data["data"] = shown[0] if len(shown) == 1 else shown
    if namespace != "/":
        data["namespace"] = namespace
    return data


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _without_bytes(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_bytes(inner) for inner in value]
    return value
