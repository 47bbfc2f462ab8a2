"""How a tester speaks to a chat gateway: data, so that another gateway needs no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

from event_capture.vocabulary.pointer import parse_pointer, read

Template = Mapping[str, Any]
"""A message with placeholders: the string `{content}`, alone in its place, becomes the value of `content`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What to send, and where things stand in what comes back. The defaults speak to the agent gateway.

    A placeholder that has no value leaves out its field. Paths are dotted (`payload.code`) or JSON pointers.
    """

    authenticate_by: Literal["header", "subprotocol", "message"] = "header"
    """How the token travels: as `Authorization: Bearer`, a `bearer.<token>` subprotocol, or the first message."""
    auth: Template = field(default_factory=lambda: {"type": "auth", "token": "{token}"})
    """The first message, when the token travels in it. Values: `token`."""
    message: Template = field(
        default_factory=lambda: {"type": "user_message", "content": "{content}", "thread_id": "{thread_id}"}
    )
    """What starts a turn. Values: `content`, `thread_id`."""
    resume: Template | None = field(
        default_factory=lambda: {"type": "resume", "thread_id": "{thread_id}", "epoch": "{epoch}", "seq": "{seq}"}
    )
    """What asks for missed events after a reconnect, once per thread. None: nothing is asked."""
    ready: str | None = "welcome"
    """The event that says that the connection is authenticated. None: it is ready when it is open."""
    ends_turn: tuple[str, ...] = ("agent_completed", "error_event")
    """The events that end a turn, well or not."""
    name: str = "type"
    """Path of an event's name."""
    thread: str = "thread_id"
    """Path of the thread an event belongs to."""
    epoch: str = "epoch"
    """Path of the epoch that the sequence number counts in."""
    seq: str = "seq"
    """Path of the sequence number."""
    words: tuple[str, ...] = ("payload.text", "payload.content", "content", "text", "data.content")
    """Paths of what a person would read, for timelines; the first that leads to a string counts."""

    def __post_init__(self) -> None:
        if not self.ends_turn:
            raise ValueError("ends_turn: empty, so no turn would ever end; name the events that end one")

    def name_of(self, data: Any) -> str:
        """The event's name; empty when it has none."""
        name = read(data, parse_pointer(self.name))
        return name if isinstance(name, str) else ""

    def words_of(self, data: Any) -> str:
        """What a person would read of an event; empty when there is nothing."""
        for path in self.words:
            text = read(data, parse_pointer(path))
            if isinstance(text, str):
                return text
        return ""

    def position_of(self, data: Any) -> tuple[str, Any, Any] | None:
        """Thread, epoch and sequence number of an event; None when it has no place in a thread."""
        thread, epoch, seq = (read(data, parse_pointer(path)) for path in (self.thread, self.epoch, self.seq))
        return (thread, epoch, seq) if isinstance(thread, str) and seq is not None else None


def fill(template: Template, values: Mapping[str, Any]) -> dict[str, Any]:
    """Put values into a template. Raises ValueError for a placeholder that no value was ever meant for."""
    filled: dict[str, Any] = {}
    for key, value in template.items():
        if isinstance(value, Mapping):
            filled[key] = fill(value, values)
        elif isinstance(value, str) and value.startswith("{") and value.endswith("}"):
            name = value[1:-1]
            if name not in values:
                raise ValueError(f"{key}: no value for {value}; there are {', '.join(sorted(values))}")
            if values[name] is not None:
                filled[key] = values[name]
        else:
            filled[key] = value
    return filled
