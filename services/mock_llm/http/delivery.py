"""What the drivers share: the service behind the connections, and proof that a peer has what it was sent."""

import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Final, Protocol, final

import anyio
import structlog

from mock_llm.application import Application
from mock_llm.engine import MockModel
from mock_llm.exchange import Exchange
from mock_llm.http.intake import Intake
from mock_llm.http.request import HttpRequest
from mock_llm.settings import MockLLMSettings

DELIVERY_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.001


class Handler(Protocol):
    """What turns requests into answers."""

    def handle(self, request: HttpRequest) -> Exchange:
        """Answer one request. Never raises for what a client sent."""


class Connection(Protocol):
    """A connection that can be dropped."""

    def abort(self) -> None:
        """Drop it at once."""


@final
class Service:
    """What all connections of one server share."""

    def __init__(self, model: MockModel, settings: MockLLMSettings, application: Handler | None = None) -> None:
        self.model = model
        self.settings = settings
        self.application: Handler = application or Application(model, settings.admin_token, lambda: self.open)
        self.log = structlog.get_logger("mock_llm")
        self.intake = Intake(model.clock)
        self.total = 0
        self.refusing = 0.0
        self.refusal_asked = anyio.Event()
        self._open: set[Connection] = set()

    @property
    def open(self) -> int:
        """Connections held now."""
        return len(self._open)

    def connected(self, connection: Connection) -> int | None:
        """Note a connection; returns its number, or None when there are too many."""
        if len(self._open) >= self.settings.max_connections:
            return None
        self.total += 1
        self._open.add(connection)
        return self.total

    def disconnected(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)

    def refuse_for(self, seconds: float) -> None:
        """Ask the listener to refuse connections for so many seconds."""
        self.refusing = seconds
        self.refusal_asked.set()

    def abort_all(self) -> None:
        """Drop every connection."""
        for connection in tuple(self._open):
            connection.abort()

    def failed(self, error: BaseException) -> None:
        """Note that an answer could not be performed."""
        if not isinstance(error, ConnectionError):
            self.log.error("answer_failed", error=type(error).__name__)


async def delivered(fileno: int, buffered: Callable[[], int]) -> None:
    """Wait until the peer's kernel has acknowledged everything, at most DELIVERY_SECONDS.

    A reset throws away what the kernel has not sent, so a reset without this would lose events at random.
    The kernel tells nobody when the last byte was acknowledged, so it has to be asked again and again.
    """
    with anyio.move_on_after(DELIVERY_SECONDS):
        while buffered() or _unacknowledged(fileno):  # noqa: ASYNC110  the kernel sets no event
            await anyio.sleep(_POLL_SECONDS)


def _unacknowledged(fileno: int) -> int:
    answer = fcntl.ioctl(fileno, termios.TIOCOUTQ, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])
