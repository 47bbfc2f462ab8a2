"""What went through the proxy, as frozen snapshots."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ConnectionStatistics", "Ending", "FlowStatistics", "ProxyStatistics"]


class Ending(StrEnum):
    """Why a connection ended."""

    FINISHED = "finished"  # both peers ended their stream
    CUT_FIN = "cut_fin"
    CUT_RST = "cut_rst"
    CLIENT_LOST = "client_lost"  # the client reset the connection, or stopped taking bytes
    SERVER_LOST = "server_lost"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    PROXY_CLOSED = "proxy_closed"


@dataclass(frozen=True, slots=True)
class FlowStatistics:
    """One direction: bytes taken from the sender, held in the proxy, handed to the receiver; writes made."""

    received: int
    buffered: int
    delivered: int
    writes: int
    finished: bool


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """One connection; `number` counts accepted connections from 1, `ending` is None while it lives."""

    number: int
    to_server: FlowStatistics
    to_client: FlowStatistics
    ending: Ending | None


@dataclass(frozen=True, slots=True)
class ProxyStatistics:
    """The proxy at one moment. `ended` holds the most recent ended connections, oldest first, as many as configured."""

    accepting: bool
    accepted: int
    live: tuple[ConnectionStatistics, ...]
    ended: tuple[ConnectionStatistics, ...]

    def connection(self, number: int) -> ConnectionStatistics:
        """The connection of this number; LookupError when it was not accepted yet or is forgotten."""
        for connection in (*self.live, *self.ended):
            if connection.number == number:
                return connection
        raise LookupError(f"no connection {number} among {self.accepted} accepted")
