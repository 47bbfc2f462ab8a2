"""Errors as the providers write them."""

import math
from email.utils import formatdate
from typing import Any, Final

import msgspec

from mock_llm.errors import RequestRefusedError
from mock_llm.exchange import Exchange, Headers
from mock_llm.requests import Protocol
from mock_llm.scenario.durations import seconds
from mock_llm.scenario.faults import AnyFault, BadJson, EmptyData, HttpError, StreamError

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    529: "overloaded_error",
}
_MESSAGES: Final = {
    400: "The request is not valid.",
    401: "Incorrect API key provided.",
    403: "You are not allowed to use this model.",
    404: "The model does not exist or you do not have access to it.",
    408: "The request timed out.",
    409: "The request conflicts with another one.",
    413: "The request is too large.",
    422: "The request cannot be processed.",
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request.",
    502: "Bad gateway.",
    503: "The service is overloaded. Please try again later.",
    504: "The request took too long.",
    529: "The service is overloaded.",
}

_encode: Final = msgspec.json.Encoder().encode


def error_kind(status: int) -> str:
    """The provider's word for a status."""
    return _KINDS.get(status, "api_error")


def error_body(protocol: Protocol | None, refused: RequestRefusedError, request_id: str) -> bytes:
    """The body of an HTTP error."""
    if protocol == "messages":
        kind = error_kind(refused.status) if refused.kind in ("requests", "tokens") else refused.kind
        error: dict[str, Any] = {"type": kind, "message": refused.message}
        return _encode({"type": "error", "error": error, "request_id": request_id})
    return _encode(
        {
            "error": {
                "message": refused.message,
                "type": refused.kind,
                "param": refused.param,
                "code": refused.code,
            }
        }
    )


def refusal(protocol: Protocol | None, refused: RequestRefusedError, request_id: str) -> Exchange:
    """An error as an exchange."""
    return Exchange(
        status=refused.status,
        headers=((b"content-type", b"application/json"),),
        body=error_body(protocol, refused, request_id),
    )


def malformed(error: Exception) -> RequestRefusedError:
    """The error for a body that is not JSON, or not of the right shape; it names the field."""
    text = str(error)
    head, _, path = text.partition(" - at `$")
    if isinstance(error, msgspec.ValidationError):
        param = path.rstrip("`").lstrip(".") or None
        where = f" at '{param}'" if param else ""
        return RequestRefusedError(f"Invalid request{where}: {head}.", param=param, code="invalid_type")
    return RequestRefusedError(f"We could not parse the JSON body of your request. ({head or type(error).__name__})")


def wait_headers(wait: float) -> Headers:
    """When to come back after a rate limit, in both forms that the SDKs read."""
    return ((b"retry-after", b"%d" % math.ceil(wait)), (b"retry-after-ms", b"%d" % math.ceil(wait * 1000)))


def scripted_error(fault: HttpError) -> RequestRefusedError:
    """The error that a scenario asks for."""
    return RequestRefusedError(
        fault.message if fault.message is not None else _MESSAGES[fault.status],
        status=fault.status,
        kind=error_kind(fault.status),
        code=fault.code,
    )


def retry_headers(fault: HttpError, now: float) -> Headers:
    """When a scripted error says to come back; `now` is wall-clock seconds, for the form that is a date."""
    found: list[tuple[bytes, bytes]] = []
    if fault.should_retry is not None:
        found.append((b"x-should-retry", b"true" if fault.should_retry else b"false"))
    if fault.retry_after is not None:
        wait = seconds(fault.retry_after)
        if fault.retry_after_form == "milliseconds":
            found.append((b"retry-after-ms", b"%d" % round(wait * 1000)))
        elif fault.retry_after_form == "date":
            found.append((b"retry-after", http_date(now + wait)))
        else:
            found.append((b"retry-after", f"{wait:g}".encode()))
    return tuple(found)


def http_date(moment: float) -> bytes:
    """A moment as HTTP writes it."""
    return formatdate(moment, usegmt=True).encode()


def added_event(protocol: Protocol, fault: AnyFault) -> bytes:
    """The event that a fault adds to a stream; empty when it adds none."""
    if isinstance(fault, StreamError):
        return stream_error(protocol, fault)
    if isinstance(fault, BadJson | EmptyData):
        data = fault.data.encode("utf-8", "replace") if isinstance(fault, BadJson) else b""
        # Without a name of an event the Anthropic SDK would not even look at the data.
        name = b"event: content_block_delta\n" if protocol == "messages" else b""
        return name + b"data: " + data + b"\n\n"
    return b""


def stream_error(protocol: Protocol, fault: StreamError) -> bytes:
    """The error event of a stream."""
    if protocol == "messages":
        body = _encode({"type": "error", "error": {"type": fault.code or "api_error", "message": fault.message}})
        return b"event: error\ndata: " + body + b"\n\n"
    error: dict[str, Any] = {"message": fault.message, "type": fault.code or "error", "param": None, "code": fault.code}
    if fault.form == "flat":
        return b"data: " + _encode({"object": "error", **error}) + b"\n\n"
    if fault.form == "vllm":
        vllm = {"message": fault.message, "type": "InternalServerError", "param": None, "code": 500}
        return b"data: " + _encode({"error": vllm}) + b"\n\ndata: [DONE]\n\n"
    return b"data: " + _encode({"error": error}) + b"\n\n"
