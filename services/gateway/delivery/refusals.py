"""The event that tells a client why its request is not done."""

from datetime import UTC, datetime

from msgspec import UNSET

from chat_protocol.events import Busy, BusyPayload, ErrorEvent, ErrorPayload, format_timestamp
from gateway.errors import BusyError, RequestError
from gateway.ids import IdGenerator


def refusal(error: RequestError, ids: IdGenerator, *, request_id: str | None) -> Busy | ErrorEvent:
    """`busy` or an `error_event` about the request that the client calls `request_id`."""
    event_id, timestamp = ids.event(), format_timestamp(datetime.now(UTC))
    if isinstance(error, BusyError):
        busy = BusyPayload(
            retry_after_ms=error.retry_after_ms,
            text=error.text,
            message_id=error.message_id or UNSET,
            request_id=request_id or UNSET,
        )
        return Busy(id=event_id, timestamp=timestamp, payload=busy)
    payload = ErrorPayload(
        code=error.code,
        text=error.text,
        field=error.field or UNSET,
        request_id=request_id or UNSET,
        retryable=error.retryable,
    )
    return ErrorEvent(id=event_id, timestamp=timestamp, epoch=error.epoch or UNSET, payload=payload)
