"""What a model's answer is made of, whoever the provider."""

from dataclasses import dataclass
from typing import final

from chat_protocol.events import Usage


@final
@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning."""

    text: str


@final
@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@final
@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole tool call. `arguments` is the JSON text as the model wrote it, right or wrong; `id` may be empty."""

    id: str
    name: str
    arguments: str


@final
@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The last thing of every answer that did not break off."""

    finish_reason: str
    usage: Usage


AnswerPart = ReasoningDelta | TextDelta | ToolCall | AnswerEnd
