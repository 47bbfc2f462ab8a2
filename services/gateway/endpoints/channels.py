"""`POST /channels/{channel}/messages`: how other services speak to a channel."""

from typing import Final, final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chat_protocol.events import ErrorCode
from chat_protocol.messages import Identifier
from gateway.application import Gateway
from gateway.endpoints.authorization import bearer_token, unauthorized
from gateway.endpoints.bodies import Publication, Published, json_response, refusal
from gateway.errors import TokenRefusedError

PUBLISHER_ROLE: Final = "publisher"


@final
class ChannelEndpoint:
    """Publishes to channels of the token's tenant."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def publish(self, request: Request) -> Response:
        """202 with the number of connections reached; 400, 401, 403 or 413 with a code and words."""
        try:
            principal = self._gateway.verifier.verify(bearer_token(request.headers) or "")
        except TokenRefusedError as error:
            return unauthorized(error.reason)
        if PUBLISHER_ROLE not in principal.roles:
            return refusal(403, ErrorCode.FORBIDDEN, f"Publishing needs the role {PUBLISHER_ROLE}.")
        try:
            channel = msgspec.convert(request.path_params["channel"], Identifier)
        except msgspec.ValidationError:
            return refusal(400, ErrorCode.INVALID_FIELD, "This is not the name of a channel.", field="channel")
        body = await self._body(request)
        if body is None:
            limit = self._gateway.settings.max_inbound_bytes
            return refusal(413, ErrorCode.MESSAGE_TOO_LARGE, f"The body is larger than {limit} bytes.")
        try:
            publication = msgspec.json.decode(body, type=Publication)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return refusal(400, ErrorCode.INVALID_MESSAGE, f"The body is not a publication: {error}.")
        reached = self._gateway.switchboard.publish(principal.tenant_id, channel, publication.content)
        return json_response(Published(reached=reached), status=202)

    async def _body(self, request: Request) -> bytes | None:
        # Not `request.stream()`: a generator that is left in the middle is left to the garbage collector.
        parts: list[bytes] = []
        size = 0
        while True:
            message = await request.receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._gateway.settings.max_inbound_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
