"""JSON pointers (RFC 6901), and the dotted paths that people prefer to write."""

from collections.abc import Callable
from typing import Any, Final

from event_capture.errors import VocabularyError

ABSENT: Final = None
"""What a pointer to nothing yields. A JSON null counts as absent too: it names nothing."""


def parse_pointer(text: str) -> tuple[str, ...]:
    """Split `/payload/tool_call_id` or `payload.tool_call_id` into its steps.

    Raises:
        VocabularyError: a `~` that escapes nothing, or an empty step in a dotted path.
    """
    if text.startswith("/"):
        return tuple(_unescape(step, text) for step in text[1:].split("/"))
    if not text:
        return ()
    steps = tuple(text.split("."))
    if not all(steps):
        raise VocabularyError(f"{text!r} has an empty step", fix="write it like payload.tool_call_id")
    return steps


def _unescape(step: str, text: str) -> str:
    if "~" not in step:
        return step
    if step.replace("~0", "").replace("~1", "").count("~"):
        raise VocabularyError(f"{text!r} has a ~ that escapes nothing", fix="write ~0 for ~ and ~1 for /")
    return step.replace("~1", "/").replace("~0", "~")


def format_pointer(steps: tuple[str, ...]) -> str:
    """Write steps as a JSON pointer."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def format_path(steps: tuple[str, ...]) -> str:
    """Write steps as people do, `payload.tool_call_id`, where that reads back as the same steps."""
    dotted = ".".join(steps)
    plain = all(step and "." not in step and "/" not in step and not set(step) & _UNSPEAKABLE for step in steps)
    return dotted if steps and plain else format_pointer(steps)


_UNSPEAKABLE: Final = frozenset(" \t\r\n,'\"")


def read(document: Any, steps: tuple[str, ...]) -> Any:
    """Follow the steps into a decoded JSON document; None when they lead nowhere."""
    value = document
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return ABSENT
    return value


def getter(alternatives: tuple[tuple[str, ...], ...]) -> Callable[[Any], Any]:
    """A function that reads the first of several pointers that leads to something."""
    if len(alternatives) == 1 and len(alternatives[0]) == 1:
        (key,) = alternatives[0]

        def read_key(document: Any) -> Any:
            return document.get(key) if isinstance(document, dict) else ABSENT

        return read_key

    def read_first(document: Any) -> Any:
        for steps in alternatives:
            value = read(document, steps)
            if value is not None:
                return value
        return ABSENT

    return read_first
