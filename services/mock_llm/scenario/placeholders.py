"""The names that a template may hold: `{{user}}` and its like."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

PLACEHOLDERS: Final = ("user", "last_message", "system", "tool_result", "model", "turn", "user_turn", "namespace")
HEADER: Final = "header."

# Anything in double braces is meant as a name; what is none of ours is a typing error.
PLACEHOLDER: Final = re.compile(r"\{\{\s*(?P<name>[^{}]*?)\s*\}\}")
_HEADER_NAME: Final = re.compile(r"header\.[A-Za-z0-9-]+")


@final
@dataclass(frozen=True, slots=True)
class UnknownPlaceholder:
    """A name that no request can fill: where it stands, as it is written, its name, and the nearest valid one."""

    path: str
    written: str
    name: str
    nearest: str


def is_placeholder(name: str) -> bool:
    """Whether a template may hold this name."""
    return name in PLACEHOLDERS or _HEADER_NAME.fullmatch(name) is not None


def unknown_placeholders(rules: list[Any]) -> Iterator[UnknownPlaceholder]:
    """The names in the templates of a scenario's rules, as plain values, that are not valid."""
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict):
            continue
        where = f"rules[{index}]"
        yield from _in_outcome(rule, where)
        for key in ("turns", "sequence"):
            outcomes = rule.get(key)
            for number, outcome in enumerate(outcomes if isinstance(outcomes, list) else ()):
                yield from _in_outcome(outcome, f"{where}.{key}[{number}]")


def _in_outcome(outcome: Any, where: str) -> Iterator[UnknownPlaceholder]:
    if isinstance(outcome, dict) and outcome.get("templates") is True:
        for path, text in _texts(outcome.get("reply"), f"{where}.reply"):
            for match in PLACEHOLDER.finditer(text):
                if not is_placeholder(match["name"]):
                    yield UnknownPlaceholder(path, match[0], match["name"], _nearest(match["name"]))


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, f"{path}.{key}")


def _nearest(name: str) -> str:
    if name.lower().startswith("head"):
        return f"{HEADER}NAME"
    close = difflib.get_close_matches(name.lower(), PLACEHOLDERS, n=1, cutoff=0.5)
    return close[0] if close else ""
