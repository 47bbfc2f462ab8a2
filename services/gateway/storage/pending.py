"""What waits in the journal, and who hears what becomes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

from anyio import Event

from chat_protocol.events import ErrorCode
from gateway.errors import BusyError, RequestError, StorageError
from gateway.storage.batch import Entry, Written
from gateway.storage.entries import Accepted


class Arrival(Protocol):
    """Hears what becomes of a user message, on the event loop. Nothing here waits."""

    def placed(self, seq: int) -> None:
        """The message is new and is being committed at this place: whatever shows nothing to anyone may begin.

        Called again when the transaction is tried again.
        """
        ...

    def late(self, error: BusyError) -> None:
        """The commit takes too long. It is still under way, so `stored` or `dropped` follows."""
        ...

    def stored(self, accepted: Accepted) -> None:
        """The commit is done, and nobody has seen the `message_accepted` event yet. Nothing follows."""
        ...

    def dropped(self, error: RequestError) -> None:
        """The message is not stored and will not be. Nothing follows."""
        ...


@final
@dataclass(slots=True, eq=False)
class Pending:
    """An entry on its way. The event loop and the journal's thread hand it to each other."""

    entry: Entry
    arrival: Arrival | None = None
    urgent: bool = False
    due: float = 0.0
    """When an arrival becomes late."""
    waiter: Event | None = None
    on_refused: Callable[[], None] | None = None
    written: Written | None = None
    error: StorageError | None = None
    """Why it was dropped."""
    over: bool = False
    """Stored or dropped, and whoever waits for it told."""


def tell_placed(batch: Sequence[Pending], written: Sequence[Written]) -> None:
    """Tell the messages that are new where they are being committed."""
    for pending, result in zip(batch, written, strict=True):
        if pending.arrival is not None and result.accepted is not None and not result.accepted.duplicate:
            pending.arrival.placed(result.accepted.seq)


def busy() -> BusyError:
    """Why a message is not taken now, or not yet."""
    return BusyError(
        "The message could not be stored now. Send it again with the same message_id.", retry_after_ms=1000
    )


def refused() -> RequestError:
    """Why a message never will be."""
    return RequestError(
        ErrorCode.INTERNAL_ERROR, "The message cannot be stored as it is. Tell the operator its message_id."
    )


def closed() -> StorageError:
    """Why nothing is written any more."""
    return StorageError("the journal is closed")
