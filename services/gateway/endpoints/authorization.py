"""Tokens in HTTP headers, and the answer when they are not good: RFC 6750."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from chat_protocol.events import ErrorCode
from gateway.endpoints.bodies import refusal

_SCHEME: Final = "bearer "


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of the `Authorization` header: empty when it is of another scheme, None when there is no header."""
    header = headers.get("authorization")
    if header is None:
        return None
    return header[len(_SCHEME) :].strip() if header.lower().startswith(_SCHEME) else ""


def unauthorized(reason: str) -> Response:
    """401 with the reason."""
    headers = {"www-authenticate": 'Bearer realm="streamproof"'}
    return refusal(401, ErrorCode.UNAUTHENTICATED, f"Not authenticated: {reason}.", headers=headers)
