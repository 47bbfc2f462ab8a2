"""What the gateway says about a connection and its requests, as opposed to the events of a thread."""

from datetime import UTC, datetime
from typing import Any, final

from msgspec import UNSET

from chat_protocol.decoding import MalformedMessageError, decode_message, encode
from chat_protocol.events import (
    AnyEvent,
    Busy,
    BusyPayload,
    ErrorCode,
    ErrorEvent,
    ErrorPayload,
    Welcome,
    WelcomePayload,
    format_timestamp,
)
from chat_protocol.limits import PROTOCOL_VERSION, Limits
from gateway.delivery.connection import Connection
from gateway.errors import BusyError, RequestError
from gateway.ids import IdGenerator
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.turns.router import MessageRouter

_INTERNAL = "Something went wrong here. Try again; if it happens again, tell the operator the id of this event."


@final
class Answers:
    """Handles client frames: whatever is wrong with one, the client is told and the connection lives on."""

    def __init__(self, ids: IdGenerator, epoch: str, settings: Settings) -> None:
        self._ids = ids
        self._epoch = epoch
        self._settings = settings
        self._log = get_logger("gateway.requests")

    async def handle(self, connection: Connection, frame: str | bytes, router: MessageRouter) -> None:
        """Decode one frame, route it, and answer what cannot be done. Raises nothing but cancellation."""
        request_id: str | None = None
        try:
            message = decode_message(frame, max_bytes=self._settings.max_inbound_bytes)
            request_id = message.id
            await router.route(connection, message)
        except MalformedMessageError as error:
            event = self.refused(error.code, str(error), field=error.field, request_id=error.request_id)
            connection.send(event)
        except BusyError as error:
            payload = BusyPayload(retry_after_ms=error.retry_after_ms, text=error.text, request_id=request_id or UNSET)
            connection.send(Busy(**self._envelope(), payload=payload))
        except RequestError as error:
            connection.send(
                self.refused(
                    error.code,
                    error.text,
                    field=error.field,
                    request_id=request_id,
                    retryable=error.retryable,
                    epoch=error.epoch,
                )
            )
        except Exception:  # noqa: BLE001  a fault in one request must not end the connection
            event = self.refused(ErrorCode.INTERNAL_ERROR, _INTERNAL, request_id=request_id, retryable=True)
            self._log.exception("request failed", event_id=event.id)
            connection.send(event)

    def refused(
        self,
        code: ErrorCode,
        text: str,
        *,
        field: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        epoch: str | None = None,
    ) -> ErrorEvent:
        """An `error_event` about a request."""
        payload = ErrorPayload(
            code=code, text=text, field=field or UNSET, request_id=request_id or UNSET, retryable=retryable
        )
        return ErrorEvent(**self._envelope(), epoch=epoch or UNSET, payload=payload)

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
