"""Handlers of client messages, one class for one kind of request."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, final

from chat_protocol.events import Pong, PongPayload, format_timestamp
from chat_protocol.messages import Ping, UserMessage
from gateway.ids import IdGenerator
from gateway.storage.entries import Accepted
from gateway.turns.context import UserExecutionContext
from gateway.turns.events import RunEvents
from gateway.turns.service import MessageHandlerService

if TYPE_CHECKING:
    from gateway.delivery.connection import Connection


@final
class AgentHandler:
    """Handles what starts a turn."""

    def __init__(self, service: MessageHandlerService, ids: IdGenerator) -> None:
        self._service = service
        self._ids = ids

    async def handle(self, connection: "Connection", message: UserMessage) -> None:
        """Accept the message; its events reach the connection, which follows the thread from here on.

        Raises:
            BusyError: there is no room for it now.
        """
        context = UserExecutionContext.of(
            connection.principal,
            thread_id=message.thread_id or self._ids.thread(),
            run_id=self._ids.run(),
            message_id=message.message_id or self._ids.message(),
            request_id=message.id,
            enable_thinking=message.enable_thinking,
            priority=message.priority,
        )

        def follow(accepted: Accepted) -> None:
            if accepted.duplicate:
                connection.send(RunEvents(context, self._ids).duplicate(accepted.run_id))
            connection.follow(context.address, after_seq=accepted.seq - 1, catch_up=accepted.duplicate)

        await self._service.accept(context, message.content, before_publish=follow)


@final
class PingHandler:
    """Answers `ping`."""

    def __init__(self, ids: IdGenerator) -> None:
        self._ids = ids

    async def handle(self, connection: "Connection", message: Ping) -> None:
        """Send `pong` with the same nonce."""
        timestamp = format_timestamp(datetime.now(UTC))
        connection.send(Pong(id=self._ids.event(), timestamp=timestamp, payload=PongPayload(nonce=message.nonce)))
