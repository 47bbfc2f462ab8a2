"""`/socket.io/`: the two transports of Engine.IO, polling and WebSocket, and the change from one to the other."""

from typing import Final, final

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint
from engineio import packet as engine_packets  # type: ignore[import-untyped]  # ships no types
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from chat_protocol.close_codes import ProtocolCloseCode
from gateway.application import Gateway
from gateway.delivery.connection import Connection
from gateway.endpoints.answers import Answers
from gateway.endpoints.authorization import bearer_token
from gateway.endpoints.frames import GONE, close, receive
from gateway.endpoints.socketio.session import BadPacketError, Session
from gateway.logs import get_logger

_SEPARATOR: Final = "\x1e"
_MOST_PACKETS: Final = 16
"""Most packets in one POST, as python-engineio has it."""
_UNKNOWN_TRANSPORT: Final = 0
_UNKNOWN_SID: Final = 1
_BAD_REQUEST: Final = 3
_WRONG_VERSION: Final = 5
_SWEEP_SECONDS: Final = 0.5


@final
class SocketIOEndpoint:
    """The sessions of one gateway, and the way in."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._answers = Answers(gateway.ids, gateway.epoch, gateway.settings)
        self._sessions: dict[str, Session] = {}
        self._group: TaskGroup | None = None
        self._scope = anyio.CancelScope(shield=True)
        self._log = get_logger("gateway.socketio")

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep heartbeats and replays going until `stop` is called. Cancellation alone does not end it."""
        with self._scope:
            async with anyio.create_task_group() as group:
                self._group = group
                task_status.started()
                while True:
                    await anyio.sleep(min(_SWEEP_SECONDS, self._gateway.settings.heartbeat / 2))
                    for session in list(self._sessions.values()):
                        session.beat()
                        self._forget_if_ended(session)

    def stop(self) -> None:
        """End every session, and `run`."""
        for session in list(self._sessions.values()):
            session.close()
        self._sessions.clear()
        self._scope.cancel()

    async def serve_http(self, request: Request) -> Response:
        """Handshake, poll and post of the polling transport."""
        query = request.query_params
        if query.get("EIO") != "4":
            return _refused(_WRONG_VERSION, "Unsupported protocol version")
        if query.get("transport") != "polling":
            return _refused(_UNKNOWN_TRANSPORT, "Transport unknown")
        sid = query.get("sid")
        if sid is None:
            return self._open(request) if request.method == "GET" else _refused(_BAD_REQUEST, "Bad request")
        session = self._sessions.get(sid)
        if session is None or session.upgraded:
            return _refused(_UNKNOWN_SID, "Session ID unknown")
        if request.method == "GET":
            return await self._poll(request, session)
        return await self._post(request, session)

    async def serve_websocket(self, websocket: WebSocket) -> None:
        """The WebSocket transport, from the start or as an upgrade of a polling session."""
        query = websocket.query_params
        sid = query.get("sid")
        session = self._sessions.get(sid) if sid is not None else None
        if query.get("EIO") != "4" or (sid is not None and (session is None or not session.can_upgrade)):
            await websocket.send_denial_response(_refused(_UNKNOWN_SID, "Session ID unknown"))
        elif session is not None:
            await self._upgrade(websocket, session)
        elif self._is_full:
            await websocket.send_denial_response(_refused(_BAD_REQUEST, "Too many sessions", status=503))
        else:
            session = self._make_session(bearer_token(websocket.headers))
            await self._serve_session(websocket, session, greeting=self._open_packet(session, upgrades=[]))

    async def _upgrade(self, websocket: WebSocket, session: Session) -> None:
        """Let a polling session move over to this WebSocket, when it does so in time."""
        session.upgrading = True
        moved = False
        try:
            async with anyio.create_task_group() as group:
                group.cancel_scope.deadline = anyio.current_time() + self._gateway.settings.auth_timeout
                group.start_soon(_cancel_when_ended, session, group)
                moved = await _probe(websocket, session)
                group.cancel_scope.cancel()
        finally:
            session.upgrading = False
        if moved:
            await self._serve_session(websocket, session)
        else:
            await close(websocket, ProtocolCloseCode.PROTOCOL_ERROR, "a probe and an upgrade were expected, in time")

    async def _serve_session(self, websocket: WebSocket, session: Session, *, greeting: str | None = None) -> None:
        session.upgraded = True
        try:
            if greeting is not None:
                await websocket.accept()
                await websocket.send_text(greeting)
            async with anyio.create_task_group() as group:
                group.start_soon(_write, websocket, session, group)
                await self._read(websocket, session)
                group.cancel_scope.cancel()
        except GONE:
            return
        finally:
            closing = session.connection.closing if session.connection is not None else None
            session.close()
            self._forget_if_ended(session)
            await close(websocket, *(closing or (1000, "")))

    async def _read(self, websocket: WebSocket, session: Session) -> None:
        try:
            while not session.ended.is_set():
                packet = await receive(websocket)
                await session.handle(packet)
                # What is there already is read at once, so the others must be given their turn.
                await checkpoint()
        except GONE:
            return
        except BadPacketError as error:
            self._log.info("session ended by a bad packet", reason=str(error))
            return

    def _open(self, request: Request) -> Response:
        if self._is_full:
            return _refused(_BAD_REQUEST, "Too many sessions", status=503)
        session = self._make_session(bearer_token(request.headers))
        return _text(self._open_packet(session, upgrades=["websocket"]))

    async def _poll(self, request: Request, session: Session) -> Response:
        if session.polling:
            session.close()
            return _refused(_BAD_REQUEST, "Bad request")
        session.polling = True
        packets: list[str] | None = None
        answered = False
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_on_disconnect, request, group)
                packets = await session.next_packets()
                answered = True
                group.cancel_scope.cancel()
        finally:
            session.polling = False
        if answered and packets is None:
            session.close()
            self._forget_if_ended(session)
            return _text(str(engine_packets.CLOSE))
        return _text(_SEPARATOR.join(packets or [str(engine_packets.NOOP)]))

    async def _post(self, request: Request, session: Session) -> Response:
        try:
            body = await self._body(request)
            if body is None:
                session.close()
                return _refused(_BAD_REQUEST, "Payload too large", status=413)
            packets = body.decode().split(_SEPARATOR)
            if len(packets) > _MOST_PACKETS:
                raise BadPacketError("too many packets in one payload")
            for packet in packets:
                await session.handle(packet)
        except (BadPacketError, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, BadPacketError) else "not UTF-8"
            self._log.info("session ended by a bad packet", reason=reason)
            session.close()
            self._forget_if_ended(session)
            return _refused(_BAD_REQUEST, "Bad request")
        self._forget_if_ended(session)
        return _text("ok")

    async def _body(self, request: Request) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise BadPacketError("the payload broke off")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._gateway.settings.max_frame_bytes:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)

    @property
    def _is_full(self) -> bool:
        # A WebSocket that would carry a session counts with it: a session has one at most.
        return len(self._sessions) >= self._gateway.settings.max_sessions

    def _make_session(self, token: str | None) -> Session:
        sid = self._gateway.ids.connection()
        session = Session(sid, token, self._gateway, self._answers, self._spawn, anyio.current_time)
        self._sessions[sid] = session
        return session

    def _spawn(self, session: Session, connection: Connection) -> None:
        if self._group is not None:
            self._group.start_soon(self._replay, session, connection)

    async def _replay(self, session: Session, connection: Connection) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(connection.replay, self._gateway.history)
            await session.ended.wait()
            group.cancel_scope.cancel()
        self._forget_if_ended(session)

    def _forget_if_ended(self, session: Session) -> None:
        if session.ended.is_set():
            self._sessions.pop(session.sid, None)

    def _open_packet(self, session: Session, *, upgrades: list[str]) -> str:
        settings = self._gateway.settings
        details = {
            "sid": session.sid,
            "upgrades": upgrades,
            "pingInterval": round(settings.heartbeat * 1000),
            "pingTimeout": round(settings.heartbeat_timeout * 1000),
            "maxPayload": settings.max_frame_bytes,
        }
        return f"{engine_packets.OPEN}{msgspec.json.encode(details).decode()}"


async def _probe(websocket: WebSocket, session: Session) -> bool:
    """The client asks on the new transport, gets its answer, empties the old one and moves over. False: it does not."""
    try:
        await websocket.accept()
        if await receive(websocket) != f"{engine_packets.PING}probe":
            return False
        await websocket.send_text(f"{engine_packets.PONG}probe")
        # A poll that waits is answered, so that the client can stop polling.
        session.put(engine_packets.NOOP)
        return await receive(websocket) == str(engine_packets.UPGRADE)
    except GONE:
        return False


async def _cancel_when_ended(session: Session, group: TaskGroup) -> None:
    await session.ended.wait()
    group.cancel_scope.cancel()


async def _write(websocket: WebSocket, session: Session, group: TaskGroup) -> None:
    try:
        while (packets := await session.next_packets()) is not None:
            for packet in packets:
                await websocket.send_text(packet)
    except GONE:
        pass
    group.cancel_scope.cancel()


async def _cancel_on_disconnect(request: Request, group: TaskGroup) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    group.cancel_scope.cancel()


def _text(body: str) -> Response:
    return Response(body, media_type="text/plain", headers={"cache-control": "no-store"})


def _refused(code: int, message: str, *, status: int = 400) -> Response:
    return Response(
        msgspec.json.encode({"code": code, "message": message}), status_code=status, media_type="application/json"
    )
