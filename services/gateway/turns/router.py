"""Sends each client message to the handler of its type."""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, final

from chat_protocol.events import ErrorCode
from chat_protocol.messages import AnyClientMessage
from gateway.errors import RequestError

if TYPE_CHECKING:
    from gateway.delivery.connection import Connection


class Handler(Protocol):
    """Handles messages of one type. Raises RequestError when the request cannot be done."""

    def handle(self, connection: "Connection", message: Any) -> Awaitable[None]:
        """Do what `message` asks, on behalf of the connection's user."""
        ...


@final
class MessageRouter:
    """Finds the handler of a message by its type."""

    def __init__(self, handlers: Mapping[type, Handler]) -> None:
        self._handlers = dict(handlers)

    async def route(self, connection: "Connection", message: AnyClientMessage) -> None:
        """Hand the message to its handler.

        Raises:
            RequestError: the request cannot be done; the connection lives on.
        """
        handler = self._handlers.get(type(message))
        if handler is None:
            kind = message.__struct_config__.tag
            raise RequestError(ErrorCode.NOT_SUPPORTED, f"{kind} is not supported by this gateway", field="type")
        await handler.handle(connection, message)
