"""Who has joined which channel, and the way to all of them."""

from datetime import UTC, datetime
from typing import Final, final

from chat_protocol.decoding import encode
from chat_protocol.events import ChannelMessage, ChannelMessagePayload, ErrorCode, format_timestamp
from chat_protocol.messages import Subscribe, Unsubscribe
from gateway.channels.access import Access
from gateway.delivery.connection import Connection
from gateway.delivery.hub import Hub
from gateway.errors import RequestError
from gateway.ids import IdGenerator

MAX_CHANNELS: Final = 64
"""Channels that one connection may have joined at a time."""


@final
class Switchboard:
    """Channels of one gateway. Lives on the event loop; nothing here waits."""

    def __init__(self, hub: Hub, access: Access, ids: IdGenerator) -> None:
        self._hub = hub
        self._access = access
        self._ids = ids

    def join(self, connection: Connection, channel: str) -> None:
        """Let the connection hear the channel of its tenant.

        Raises:
            RequestError: the user's roles do not open it, or the connection has joined too many.
        """
        if not self._access.may_join(connection.principal.roles, channel):
            raise RequestError(ErrorCode.FORBIDDEN, "Your roles do not open this channel.", field="channel")
        if len(connection.channels) >= MAX_CHANNELS and channel not in connection.channels:
            raise RequestError(
                ErrorCode.FORBIDDEN, f"A connection joins at most {MAX_CHANNELS} channels; leave one.", field="channel"
            )
        connection.channels.add(channel)

    def leave(self, connection: Connection, channel: str) -> None:
        """Let the connection hear the channel no more.

        Raises:
            RequestError: it has not joined.
        """
        if channel not in connection.channels:
            raise RequestError(ErrorCode.NOT_FOUND, "This connection has not joined that channel.", field="channel")
        connection.channels.discard(channel)

    def review(self, connection: Connection) -> list[str]:
        """After a change of roles: leave what they no longer open, and show no more than they do.

        Returns the channels that were left.
        """
        connection.veil.change(self._access.hidden(connection.principal.roles))
        closed = [name for name in connection.channels if not self._access.may_join(connection.principal.roles, name)]
        connection.channels.difference_update(closed)
        return sorted(closed)

    def publish(self, tenant_id: str, channel: str, content: str) -> int:
        """Send a message to everyone of the tenant who has joined. Returns how many connections that are."""
        event = ChannelMessage(
            id=self._ids.event(),
            timestamp=format_timestamp(datetime.now(UTC)),
            payload=ChannelMessagePayload(channel=channel, content=content, text=f"A message in {channel}"),
        )
        frame = encode(event).decode()
        members = [
            connection
            for connection in self._hub
            if channel in connection.channels and connection.principal.tenant_id == tenant_id
        ]
        for connection in members:
            connection.send_frame(frame)
        return len(members)


@final
class SubscribeHandler:
    """Handles `subscribe`."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    async def handle(self, connection: Connection, message: Subscribe) -> None:
        """Join the channel. Raises RequestError."""
        self._switchboard.join(connection, message.channel)


@final
class UnsubscribeHandler:
    """Handles `unsubscribe`."""

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    async def handle(self, connection: Connection, message: Unsubscribe) -> None:
        """Leave the channel. Raises RequestError."""
        self._switchboard.leave(connection, message.channel)
