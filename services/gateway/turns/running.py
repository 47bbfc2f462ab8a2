"""The runs that are under way, and what ends one from outside."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, final

import anyio

from chat_protocol.events import ErrorCode
from gateway.storage.entries import RunStatus

INTERNAL: Final = (
    "Something went wrong here. Send the message again; if it happens again, tell the operator the run id."
)


class Ending(Enum):
    """Why a run was stopped."""

    CANCELLED = auto()
    INTERRUPTED = auto()
    REFUSED = auto()
    """The database will not have one of its events."""
    UNWANTED = auto()
    """Its message is not stored, or was known already and has another run: of this one nobody hears."""


LAST_WORDS: Final[dict[Ending, tuple[ErrorCode, RunStatus, str]]] = {
    Ending.CANCELLED: (ErrorCode.CANCELLED, "cancelled", "The run was cancelled, as you asked."),
    Ending.INTERRUPTED: (
        ErrorCode.INTERRUPTED,
        "interrupted",
        "The gateway was stopped while the run was under way. Send the message again under a new message_id.",
    ),
    Ending.REFUSED: (ErrorCode.INTERNAL_ERROR, "failed", INTERNAL),
}
"""What a run that was stopped ends with."""


@final
@dataclass(slots=True)
class Running:
    """One run that is under way."""

    user_key: str
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ending: Ending = Ending.CANCELLED

    def stop(self, ending: Ending) -> None:
        """Stop the run wherever it is."""
        self.ending = ending
        self.scope.cancel()
