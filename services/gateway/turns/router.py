"""Sends each client message to the handler of its type."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, final

from chat_protocol.events import ErrorCode
from chat_protocol.messages import AnyClientMessage
from gateway.errors import RequestError

if TYPE_CHECKING:
    from gateway.delivery.connection import Connection


Settling = Callable[[], Awaitable[None]]
"""Waits until the client was told what becomes of its request."""


class Handler(Protocol):
    """Handles messages of one type. Raises RequestError when the request cannot be done."""

    def handle(self, connection: "Connection", message: Any) -> Awaitable[Settling | None]:
        """Do what `message` asks, on behalf of the connection's user.

        It does not wait for what takes long, since the client's next message would wait, too: then it returns what to
        wait for.
        """
        ...


@final
class MessageRouter:
    """Finds the handler of a message by its type."""

    def __init__(self, handlers: Mapping[type, Handler]) -> None:
        self._handlers = dict(handlers)

    async def route(self, connection: "Connection", message: AnyClientMessage) -> Settling | None:
        """Hand the message to its handler, and return what the handler does.

        Raises:
            RequestError: the request cannot be done; the connection lives on.
        """
        handler = self._handlers.get(type(message))
        if handler is None:
            kind = message.__struct_config__.tag
            raise RequestError(ErrorCode.NOT_SUPPORTED, f"{kind} is not supported by this gateway", field="type")
        return await handler.handle(connection, message)
