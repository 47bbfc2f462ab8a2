"""An answer as a list of steps: what to send, when, and how it ends. Drivers perform it on a socket or through ASGI."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import final

from mock_llm.journal import JournalEntry

Headers = tuple[tuple[bytes, bytes], ...]


# Not frozen: a frozen dataclass takes three times as long to make, and a paced stream makes two per piece.
@final
@dataclass(slots=True)
class Send:
    """Write these bytes of the body; with them so many events are complete in all."""

    data: bytes
    events: int


@final
@dataclass(slots=True)
class SleepUntil:
    """Wait until so many seconds after the request came."""

    offset: float


@final
@dataclass(frozen=True, slots=True)
class WaitAt:
    """Wait at a barrier until a test releases it."""

    barrier: str


@final
@dataclass(frozen=True, slots=True)
class Silence:
    """Send nothing for so many seconds; None means until the client goes away."""

    duration: float | None


@final
@dataclass(frozen=True, slots=True)
class CloseEarly:
    """End the connection with FIN, the body unfinished."""


@final
@dataclass(frozen=True, slots=True)
class TearDown:
    """End the connection with RST once the peer's kernel has acknowledged what was sent."""


@final
@dataclass(frozen=True, slots=True)
class Flush:
    """Let the event loop hand what was written to the kernel, so that it travels alone."""


@final
@dataclass(frozen=True, slots=True)
class RefuseFor:
    """Reset this connection and refuse new ones for so many seconds."""

    duration: float


@final
@dataclass(frozen=True, slots=True)
class Relay:
    """Pass on bytes of the body as they come from somewhere else."""

    source: AsyncIterator[bytes]


Step = Send | SleepUntil | WaitAt | Silence | CloseEarly | TearDown | Flush | RefuseFor | Relay


@final
@dataclass(slots=True)
class Exchange:
    """One answer.

    Attributes:
        status: HTTP status.
        headers: without those that frame the body.
        body: the whole body when it goes out at once, else None.
        steps: what to do when `body` is None; after the last step the body ends regularly.
        streamed: the body's length is not announced.
        length: with `steps`, the length that is announced all the same.
        silent: not even the head is sent before the first step.
        events: how many events `body` holds.
        entry: what the journal notes.
        later: yields the real answer; everything else is then empty.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes | None = None
    steps: Iterable[Step] = ()
    streamed: bool = False
    length: int | None = None
    silent: bool = False
    events: int = 0
    entry: JournalEntry | None = None
    later: "Callable[[], Awaitable[Exchange]] | None" = None
