"""`/ws`: JSON messages over a WebSocket."""

from functools import partial
from typing import Final, final

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from starlette.websockets import WebSocket

from chat_protocol.close_codes import CloseCode
from chat_protocol.decoding import MalformedMessageError, decode_message
from chat_protocol.events import ErrorCode
from chat_protocol.messages import Auth
from gateway.application import Gateway
from gateway.delivery.connection import Connection
from gateway.delivery.outbox import Outbox
from gateway.delivery.veil import Veil
from gateway.endpoints.answers import Answers
from gateway.endpoints.authorization import bearer_token, unauthorized
from gateway.endpoints.frames import GONE, close, receive
from gateway.errors import TokenRefusedError
from gateway.identity.principal import Principal
from gateway.logs import get_logger

SUBPROTOCOL: Final = "streamproof.v1"
_BEARER_SUBPROTOCOL: Final = "bearer."
_IN_A_ROW: Final = 8
"""Frames of one client that are handled before the others have their turn: what is there already is read at once."""


@final
class WebSocketEndpoint:
    """Serves one WebSocket after the other."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._answers = Answers(gateway.ids, gateway.epoch, gateway.settings)
        self._log = get_logger("gateway.websocket")

    async def serve(self, websocket: WebSocket) -> None:
        """Authenticate the client and exchange messages with it until one side ends."""
        token = _token_of_handshake(websocket)
        principal: Principal | None = None
        if token is not None:
            try:
                principal = self._gateway.verifier.verify(token)
            except TokenRefusedError as error:
                self._log.info("handshake refused", reason=error.reason)
                await websocket.send_denial_response(unauthorized(error.reason))
                return
        try:
            await websocket.accept(_choose_subprotocol(websocket))
            if principal is None:
                principal = await self._authenticate(websocket)
            if principal is not None:
                await self._serve_user(websocket, principal)
        except GONE:
            return

    async def _authenticate(self, websocket: WebSocket) -> Principal | None:
        """Read the first message, which must be `auth`. None: refused, and the connection is closed."""
        reason = logged = "the first message must be auth"
        with anyio.move_on_after(self._gateway.settings.auth_timeout) as scope:
            try:
                message = decode_message(await receive(websocket), max_bytes=self._gateway.settings.max_inbound_bytes)
                if isinstance(message, Auth):
                    return self._gateway.verifier.verify(message.token)
            except TokenRefusedError as error:
                reason = logged = error.reason
            except MalformedMessageError as error:
                # The words for the client repeat what it wrote; the log never does.
                reason, logged = f"{reason}: {error}", error.code
        if scope.cancelled_caught:
            await close(websocket, CloseCode.AUTH_TIMEOUT, "no auth message came in time")
            return None
        self._log.info("connection refused", reason=logged)
        event = self._answers.refused(ErrorCode.UNAUTHENTICATED, f"Not authenticated: {reason}.")
        await websocket.send_text(self._answers.frame(event))
        await close(websocket, CloseCode.UNAUTHENTICATED, reason)
        return None

    async def _serve_user(self, websocket: WebSocket, principal: Principal) -> None:
        gateway = self._gateway
        outbox = Outbox(gateway.settings.outbound_bytes, coalesce_bytes=gateway.settings.coalesce_bytes)
        veil = Veil(gateway.access.hidden(principal.roles))
        connection = Connection(gateway.ids.connection(), principal, gateway.hub, outbox, veil=veil)
        with structlog.contextvars.bound_contextvars(connection_id=connection.id, user_id=principal.user_id):
            self._log.info("connected", tenant_id=principal.tenant_id)
            connection.send(self._answers.welcome(connection))
            gateway.hub.add(connection)
            try:
                async with anyio.create_task_group() as group:
                    connection.on_close(group.cancel_scope.cancel)
                    group.start_soon(_write, websocket, connection, group)
                    connection.on_behind(partial(group.start_soon, connection.replay, gateway.history))
                    await self._read(websocket, connection)
                    group.cancel_scope.cancel()
            finally:
                gateway.hub.remove(connection)
                self._log.info("disconnected", code=connection.closing[0] if connection.closing else None)
                if connection.closing is not None:
                    await close(websocket, *connection.closing)

    async def _read(self, websocket: WebSocket, connection: Connection) -> None:
        try:
            while True:
                for _ in range(_IN_A_ROW):
                    frame = await receive(websocket)
                    await self._answers.handle(connection, frame, self._gateway.router)
                await checkpoint()
        except GONE:
            return


async def _write(websocket: WebSocket, connection: Connection, group: TaskGroup) -> None:
    try:
        while (frame := await connection.outbox.get()) is not None:
            await websocket.send_text(frame)
    except GONE:
        pass
    # Gone, or asked to finish and everything is written: either way there is nothing left to do.
    group.cancel_scope.cancel()


def _token_of_handshake(websocket: WebSocket) -> str | None:
    if (token := bearer_token(websocket.headers)) is not None:
        return token
    for subprotocol in websocket.scope.get("subprotocols", ()):
        if subprotocol.startswith(_BEARER_SUBPROTOCOL):
            return str(subprotocol[len(_BEARER_SUBPROTOCOL) :])
    return None


def _choose_subprotocol(websocket: WebSocket) -> str | None:
    """A browser fails a connection that was offered subprotocols and got none, so one of its own is chosen."""
    offered = websocket.scope.get("subprotocols", ())
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    return next((str(name) for name in offered if name.startswith(_BEARER_SUBPROTOCOL)), None)
