"""What the gateway says about a connection and its requests, as opposed to the events of a thread."""

from datetime import UTC, datetime
from typing import Any, final

from chat_protocol.decoding import MalformedMessageError, decode_message, encode
from chat_protocol.events import (
    AnyEvent,
    Busy,
    ErrorCode,
    ErrorEvent,
    Welcome,
    WelcomePayload,
    format_timestamp,
)
from chat_protocol.limits import PROTOCOL_VERSION, Limits
from gateway.delivery.connection import Connection
from gateway.delivery.refusals import refusal
from gateway.errors import RequestError
from gateway.ids import IdGenerator
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.turns.router import MessageRouter, Settling

_INTERNAL = "Something went wrong here. Try again; if it happens again, tell the operator the id of this event."


@final
class Answers:
    """Handles client frames: whatever is wrong with one, the client is told and the connection lives on."""

    def __init__(self, ids: IdGenerator, epoch: str, settings: Settings) -> None:
        self._ids = ids
        self._epoch = epoch
        self._settings = settings
        self._log = get_logger("gateway.requests")

    async def handle(self, connection: Connection, frame: str | bytes, router: MessageRouter) -> Settling | None:
        """Decode one frame, route it, and answer what cannot be done. Raises nothing but cancellation.

        Returns:
            What to wait for, if it matters when the request is settled and it is not yet.
        """
        request_id: str | None = None
        try:
            message = decode_message(frame, max_bytes=self._settings.max_inbound_bytes)
            request_id = message.id
            return await router.route(connection, message)
        except MalformedMessageError as error:
            event = self.refused(error.code, str(error), field=error.field, request_id=error.request_id)
            connection.send(event)
        except RequestError as error:
            connection.send(refusal(error, self._ids, request_id=request_id))
        except Exception:  # noqa: BLE001  a fault in one request must not end the connection
            event = self.refused(ErrorCode.INTERNAL_ERROR, _INTERNAL, request_id=request_id, retryable=True)
            self._log.exception("request failed", event_id=event.id)
            connection.send(event)
        return None

    def refused(
        self,
        code: ErrorCode,
        text: str,
        *,
        field: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
    ) -> Busy | ErrorEvent:
        """The event about a request that is refused."""
        return refusal(RequestError(code, text, field=field, retryable=retryable), self._ids, request_id=request_id)

    def welcome(self, connection: Connection) -> Welcome:
        """The first event of a connection."""
        payload = WelcomePayload(
            connection_id=connection.id,
            protocol_version=PROTOCOL_VERSION,
            limits=Limits(
                max_inbound_bytes=self._settings.max_inbound_bytes,
                max_outbound_bytes=self._settings.max_outbound_bytes,
                queue_size=self._settings.queue_size,
                heartbeat_seconds=self._settings.heartbeat,
            ),
        )
        return Welcome(**self._envelope(), user_id=connection.principal.user_id, epoch=self._epoch, payload=payload)

    def frame(self, event: AnyEvent) -> str:
        """An event as it goes over the wire."""
        return encode(event).decode()

    def _envelope(self) -> dict[str, Any]:
        return {"id": self._ids.event(), "timestamp": format_timestamp(datetime.now(UTC))}
