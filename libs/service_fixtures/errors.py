"""What can go wrong while real servers are provisioned.

ServiceFixturesError
├── RungNotAvailableError   the person's: the asked-for way to a server is not there; the text says how to get it
├── ServerNotStartedError   the server's: it was started and did not come up; the text holds the end of its log
└── LeftOpenError           the test's: it ended with connections that still hold locks
"""

__all__ = ["LeftOpenError", "RungNotAvailableError", "ServerNotStartedError", "ServiceFixturesError"]


class ServiceFixturesError(Exception):
    """Base of every error of this package."""


class RungNotAvailableError(ServiceFixturesError):
    """A rung of the ladder was asked for, or is the last one, and cannot be used; the text names the fix."""


class ServerNotStartedError(ServiceFixturesError):
    """A server process or container ended, or stayed silent, before it accepted connections."""

    def __init__(self, server: str, reason: str, log: str = "") -> None:
        self.server = server
        self.reason = reason
        self.log = log
        tail = f"; the end of its log:\n{log}" if log else ""
        super().__init__(f"{server} did not start: {reason}{tail}")


class LeftOpenError(ServiceFixturesError):
    """A test ended while connections of its own still held locks in its database."""

    def __init__(self, sessions: list[str]) -> None:
        self.sessions = tuple(sessions)
        super().__init__(
            f"the test left {len(sessions)} database session(s) open in a transaction ({', '.join(sessions)}); "
            "commit or roll back, and close connections and dispose engines before the test ends"
        )
