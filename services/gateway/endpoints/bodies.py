"""What the HTTP side takes and says, as structs. The OpenAPI document is made from these."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from chat_protocol.events import ErrorCode
from gateway.model.breaker import BreakerState


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the gateway can do its work, and what it rests on."""

    status: Literal["ok", "failing", "draining"]
    database: str
    """`ok`, or what is wrong with it."""
    model: BreakerState
    """The circuit breaker in front of the model: `open` means that it is left alone for a while."""


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """Turns of all users."""

    waiting: int
    running: int


class JournalCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The event log's writer."""

    waiting: int
    """Entries that wait for a transaction."""
    committed: int
    """Entries since the start."""
    batches: int
    """Transactions since the start."""


class WebSocketHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the connections and their turns are doing."""

    status: Literal["ok", "failing", "draining"]
    protocol_version: str
    connections: int
    turns: Turns
    journal: JournalCounts


class Publication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to everyone who has joined a channel."""

    content: Annotated[str, Meta(pattern=r"\S")]


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a publication."""

    reached: int
    """Connections that it was sent to."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused: the code is for programs, the text for people."""

    code: ErrorCode
    text: str
    field: str | UnsetType = UNSET


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request that cannot be done."""

    error: Problem


def json_response(body: msgspec.Struct, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A struct as a response, which no cache may keep."""
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"} | (headers or {})
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json", headers=headers)


def refusal(
    status: int, code: ErrorCode, text: str, *, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """An error with its code and words."""
    body = Refusal(error=Problem(code=code, text=text, field=field or UNSET))
    return json_response(body, status=status, headers=headers)
