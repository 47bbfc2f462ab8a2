"""The faults that a scenario can ask for. Each is exact: it says after which event or byte it strikes."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from mock_llm.scenario.durations import seconds

Count = Annotated[int, Meta(ge=0)]
Duration = float | str


class _Fault(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Every fault is told apart by `kind`."""


class _PlacedFault(_Fault, frozen=True):
    """A fault at one place of the stream. Without a place it strikes before the first event.

    Attributes:
        after_event: so many whole events arrive first; the role, `[DONE]` and pings count as events.
        after_byte: so many bytes of the body arrive first.
        inside_tool_call: strikes within the arguments of the K-th tool call, counted from 1.
        inside_character: strikes between the bytes of the first character that has more than one.
    """

    after_event: Count | None = None
    after_byte: Count | None = None
    inside_tool_call: Annotated[int, Meta(ge=1)] | None = None
    inside_character: bool = False

    def __post_init__(self) -> None:
        places = (self.after_event, self.after_byte, self.inside_tool_call)
        if sum(place is not None for place in places) + self.inside_character > 1:
            raise ValueError("give one place: after_event, after_byte, inside_tool_call or inside_character")


class HttpError(_Fault, frozen=True, tag="http_error"):
    """An error instead of an answer, in the provider's own body.

    Attributes:
        status: the HTTP status.
        message: text of the error.
        code: machine-readable code, such as `rate_limit_exceeded`.
        retry_after: when to come back.
        retry_after_form: how the Retry-After header says it.
        should_retry: what the header `x-should-retry` says; the SDKs obey it before everything else.
    """

    status: Literal[400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529]
    message: str | None = None
    code: str | None = None
    retry_after: Duration | None = None
    retry_after_form: Literal["seconds", "milliseconds", "date"] = "seconds"
    should_retry: bool | None = None

    def __post_init__(self) -> None:
        if self.retry_after is not None:
            seconds(self.retry_after)


class Disconnect(_PlacedFault, frozen=True, tag="disconnect"):
    """The connection ends cleanly (FIN) in the middle of the stream, without the end of the body."""


class Reset(_PlacedFault, frozen=True, tag="reset"):
    """The connection is torn down (RST) after the client's kernel has what came before."""


class StreamError(_PlacedFault, frozen=True, tag="stream_error"):
    """An error event in the middle of a stream that then ends.

    Attributes:
        form: `nested` as OpenAI writes it, `flat` without the outer object, `vllm` as vLLM writes it.
    """

    form: Literal["nested", "flat", "vllm"] = "nested"
    message: str = "The server had an error while processing your request."
    code: str | None = "server_error"


class Stall(_PlacedFault, frozen=True, tag="stall"):
    """The stream goes silent and the connection stays open.

    Attributes:
        duration: how long; without one, until the client goes away.
    """

    duration: Duration | None = None

    def __post_init__(self) -> None:
        _PlacedFault.__post_init__(self)
        if self.duration is not None:
            seconds(self.duration)


class NoFinishReason(_Fault, frozen=True, tag="no_finish_reason"):
    """The event that carries the reason of the end is left out; the stream ends cleanly."""


class NoDone(_Fault, frozen=True, tag="no_done"):
    """The last event, `[DONE]` or its like, is left out; the stream ends cleanly."""


class BadJson(_PlacedFault, frozen=True, tag="bad_json"):
    """An event whose data is broken JSON; the stream goes on after it."""

    data: str = '{"id": "chatcmpl-broken", "choices": ['


class EmptyData(_PlacedFault, frozen=True, tag="empty_data"):
    """An event with empty data; the stream goes on after it."""


class DuplicateEvent(_Fault, frozen=True, tag="duplicate_event"):
    """The event of this number, counted from 1, arrives twice."""

    event: Annotated[int, Meta(ge=1)]


class ByteSplit(_Fault, frozen=True, tag="byte_split"):
    """The body arrives in writes of so many bytes, through events and characters alike."""

    size: Annotated[int, Meta(ge=1, le=65_536)] = 1


class SlowDrip(_Fault, frozen=True, tag="slow_drip"):
    """The body drips: so many bytes at a time, with a pause between."""

    size: Annotated[int, Meta(ge=1, le=65_536)] = 16
    interval: Duration = 0.01

    def __post_init__(self) -> None:
        seconds(self.interval)


class HtmlPage(_Fault, frozen=True, tag="html"):
    """Status 200 and a page of HTML, as a proxy in between would send it."""

    body: str = "<html><head><title>Sign in</title></head><body><h1>Sign in to continue</h1></body></html>"


class RefuseConnections(_Fault, frozen=True, tag="refuse"):
    """This connection is reset and new ones are refused for a while."""

    duration: Duration = 1.0

    def __post_init__(self) -> None:
        seconds(self.duration)


AnyFault = (
    HttpError
    | Disconnect
    | Reset
    | StreamError
    | Stall
    | NoFinishReason
    | NoDone
    | BadJson
    | EmptyData
    | DuplicateEvent
    | ByteSplit
    | SlowDrip
    | HtmlPage
    | RefuseConnections
)
PlacedFault = Disconnect | Reset | StreamError | Stall | BadJson | EmptyData

FAULT_KINDS: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyFault))
