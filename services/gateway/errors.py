"""Every exception the gateway raises on purpose.

GatewayError
├── SettingsError            the operator's: a setting is missing or wrong
├── KeyRefusedError          the operator's: a key that should verify tokens is not good
├── BindError                the operator's: the address cannot be bound
├── TokenRefusedError        the client's: its token is not good
├── RequestError             the client's: this request cannot be done; the connection lives on
│   └── BusyError            nobody's: try again later
├── ToolError                the model's: it called a tool wrongly
├── TurnError                a turn ended badly, for a reason that the user is told
│   └── ModelError           the model's: unreachable, refused, stalled or broke off
├── StorageError             the database's: it did not take or give something
└── OutboxFullError          the client's: it reads too slowly
"""

from chat_protocol.events import ErrorCode


class GatewayError(Exception):
    """Root of the tree."""


class SettingsError(GatewayError):
    """A setting is missing or wrong. The message names it and says what would be right."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: {reason}")


class KeyRefusedError(GatewayError):
    """A key that should verify tokens is none, or is weak. The message never repeats the key."""

    def __init__(self, kid: str, reason: str) -> None:
        self.kid = kid
        self.reason = reason
        super().__init__(f"key {kid!r}: {reason}")


class BindError(GatewayError):
    """The address cannot be bound."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}; choose another with --host and --port (0: any)")


class TokenRefusedError(GatewayError):
    """A token is missing, malformed, wrongly signed, out of date or made for somebody else."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class RequestError(GatewayError):
    """A request that cannot be done. It is answered with an `error_event`."""

    def __init__(
        self, code: ErrorCode, text: str, *, field: str | None = None, retryable: bool = False, epoch: str | None = None
    ) -> None:
        self.code = code
        self.text = text
        self.field = field
        self.retryable = retryable
        self.epoch = epoch
        super().__init__(text)


class BusyError(RequestError):
    """There is no room for the request now. It is answered with `busy`.

    `message_id` is the one to send the message under again: should it have been stored all the same, it runs once.
    """

    def __init__(self, text: str, *, retry_after_ms: int) -> None:
        self.retry_after_ms = retry_after_ms
        self.message_id: str | None = None
        super().__init__(ErrorCode.STORAGE_UNAVAILABLE, text, retryable=True)


class ToolError(GatewayError):
    """A tool call that failed: no such tool, wrong arguments, no result. The model is told and may try again."""


class TurnError(GatewayError):
    """A turn that ended badly. `text` is for the user: what happened, and what to do."""

    def __init__(self, code: ErrorCode, text: str, *, retryable: bool = False) -> None:
        self.code = code
        self.text = text
        self.retryable = retryable
        super().__init__(text)


class ModelError(TurnError):
    """The model did not answer, or not to the end. `retry_after`, in seconds, is what the model's API asked for."""

    def __init__(
        self, code: ErrorCode, text: str, *, retryable: bool = False, retry_after: float | None = None
    ) -> None:
        self.retry_after = retry_after
        super().__init__(code, text, retryable=retryable)


class StorageError(GatewayError):
    """The database did not do what was asked of it.

    `refused` says that it is there and will not do this, so that trying again is of no use.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        self.refused = refused
        super().__init__(text)


class OutboxFullError(GatewayError):
    """A connection has more unread bytes than it may."""
