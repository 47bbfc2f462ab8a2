"""Who follows which thread. The journal publishes here; nothing else sends an event of a thread."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import anyio

from chat_protocol.events import AnyEvent
from gateway.storage.entries import LoggedEvent

if TYPE_CHECKING:
    from gateway.delivery.connection import Connection


@final
class Hub:
    """The connections that are open, and the threads they follow. Lives on the event loop; nothing here waits."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._followers: dict[str, dict[str, Connection]] = {}
        self._announcement: AnyEvent | None = None
        self._empty = anyio.Event()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator["Connection"]:
        return iter(list(self._connections.values()))

    def add(self, connection: "Connection") -> None:
        """Take in a connection that has been welcomed."""
        self._connections[connection.id] = connection
        if self._announcement is not None:
            connection.send(self._announcement)

    def announce(self, event: AnyEvent) -> None:
        """Send an event to every connection, and to those that are yet to come."""
        self._announcement = event
        for connection in self:
            connection.send(event)

    def remove(self, connection: "Connection") -> None:
        """Forget a connection and what it follows."""
        self._connections.pop(connection.id, None)
        for thread_key in connection.followed:
            followers = self._followers.get(thread_key)
            if followers is not None:
                followers.pop(connection.id, None)
                if not followers:
                    del self._followers[thread_key]
        if not self._connections:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Return once no connection is open."""
        while self._connections:
            self._empty = anyio.Event()
            await self._empty.wait()

    def follow(self, connection: "Connection", thread_key: str) -> None:
        """Send the thread's events to the connection from now on."""
        if connection.id in self._connections:
            self._followers.setdefault(thread_key, {})[connection.id] = connection

    def publish(self, logged: LoggedEvent) -> None:
        """Hand a committed event to everyone who follows its thread."""
        for connection in list(self._followers.get(logged.thread_key, {}).values()):
            connection.deliver(logged)
