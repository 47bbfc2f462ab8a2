"""The table of the README, as data: what each fault looks like through the official SDKs.

Each row is a fault, and for each SDK what its stream helper does with it: the exception it raises, or `no error`, and
how many events of the stream it had handed out before. Retries are off, so that one request is one observation.
"""

from dataclasses import dataclass
from typing import Any, Final, final

NO_ERROR: Final = "no error"


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    fault: dict[str, Any]
    openai: str
    openai_events: int
    anthropic: str
    anthropic_events: int

    @property
    def name(self) -> str:
        """How the fault is written in the table."""
        details = ", ".join(f"{key}: {value}" for key, value in self.fault.items() if key != "kind")
        return f"{self.fault['kind']} ({details})" if details else str(self.fault["kind"])


ROWS: Final = (
    Row({"kind": "http_error", "status": 400}, "BadRequestError", 0, "BadRequestError", 0),
    Row({"kind": "http_error", "status": 401}, "AuthenticationError", 0, "AuthenticationError", 0),
    Row({"kind": "http_error", "status": 403}, "PermissionDeniedError", 0, "PermissionDeniedError", 0),
    Row({"kind": "http_error", "status": 404}, "NotFoundError", 0, "NotFoundError", 0),
    Row({"kind": "http_error", "status": 408}, "APIStatusError", 0, "RequestTimeoutError", 0),
    Row({"kind": "http_error", "status": 409}, "ConflictError", 0, "ConflictError", 0),
    Row({"kind": "http_error", "status": 413}, "APIStatusError", 0, "ContentTooLargeError", 0),
    Row({"kind": "http_error", "status": 422}, "UnprocessableEntityError", 0, "UnprocessableEntityError", 0),
    Row({"kind": "http_error", "status": 429}, "RateLimitError", 0, "RateLimitError", 0),
    Row({"kind": "http_error", "status": 500}, "InternalServerError", 0, "InternalServerError", 0),
    Row({"kind": "http_error", "status": 502}, "InternalServerError", 0, "InternalServerError", 0),
    Row({"kind": "http_error", "status": 503}, "InternalServerError", 0, "ServiceUnavailableError", 0),
    Row({"kind": "http_error", "status": 504}, "InternalServerError", 0, "GatewayTimeoutError", 0),
    Row({"kind": "http_error", "status": 529}, "InternalServerError", 0, "OverloadedError", 0),
    Row({"kind": "stream_error", "form": "nested", "after_event": 4}, "APIError", 4, "APIStatusError", 3),
    Row({"kind": "stream_error", "form": "flat", "after_event": 4}, "no error", 5, "APIStatusError", 3),
    Row({"kind": "stream_error", "form": "vllm", "after_event": 4}, "APIError", 4, "APIStatusError", 3),
    Row({"kind": "stall", "after_event": 4}, "APITimeoutError", 4, "ReadTimeout", 3),
    Row({"kind": "disconnect"}, "APIConnectionError", 0, "RemoteProtocolError", 0),
    Row({"kind": "disconnect", "after_event": 4}, "APIConnectionError", 4, "RemoteProtocolError", 3),
    Row({"kind": "disconnect", "after_byte": 700}, "APIConnectionError", 2, "RemoteProtocolError", 3),
    Row({"kind": "disconnect", "inside_tool_call": 1}, "APIConnectionError", 6, "RemoteProtocolError", 9),
    Row({"kind": "disconnect", "inside_character": True}, "APIConnectionError", 6, "RemoteProtocolError", 9),
    Row({"kind": "reset", "after_event": 4}, "APIConnectionError", 4, "ReadError", 3),
    Row({"kind": "no_finish_reason"}, "no error", 10, "no error", 17),
    Row({"kind": "no_done"}, "no error", 11, "no error", 17),
    Row({"kind": "html"}, "no error", 0, "no error", 0),
    Row({"kind": "bad_json", "after_event": 4}, "JSONDecodeError", 4, "JSONDecodeError", 3),
    Row({"kind": "empty_data", "after_event": 4}, "JSONDecodeError", 4, "no error", 18),
    Row({"kind": "duplicate_event", "event": 4}, "no error", 12, "no error", 19),
    Row({"kind": "slow_drip", "size": 64, "interval": "1ms"}, "no error", 11, "no error", 18),
    Row({"kind": "byte_split", "size": 7}, "no error", 11, "no error", 18),
    Row({"kind": "refuse", "duration": "50ms"}, "APIConnectionError", 0, "APIConnectionError", 0),
)


def as_markdown() -> str:
    """The table as the README shows it."""
    lines = [
        "| Fault | `openai` raises | after events | `anthropic` raises | after events |",
        "|---|---|---|---|---|",
    ]
    lines.extend(
        f"| `{row.name}` | {row.openai} | {row.openai_events} | {row.anthropic} | {row.anthropic_events} |"
        for row in ROWS
    )
    return "\n".join(lines)
