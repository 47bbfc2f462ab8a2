"""Requests as the rules see them, whatever the wire format."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, final

import msgspec

from mock_llm.errors import RequestRefusedError
from mock_llm.tokens import count_tokens

Protocol = Literal["chat", "responses", "messages", "embeddings"]


@final
class Message(msgspec.Struct, frozen=True):
    """One message of the conversation. `role` is system, user, assistant or tool."""

    role: str
    text: str


@final
class ToolChoice(msgspec.Struct, frozen=True):
    """Whether a tool may or must be called; `name` is the one that a `named` choice names."""

    kind: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""


@final
class ModelRequest:
    """What was asked for.

    `tools` holds the parameter schemas by name. `response_format` is a JSON Schema, an empty one when any JSON object
    will do, or None for text.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        model: str,
        messages: tuple[Message, ...],
        stream: bool = False,
        tools: dict[str, dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        choices: int = 1,
        stop: tuple[str, ...] = (),
        max_tokens: int | None = None,
        include_usage: bool = False,
        response_format: dict[str, Any] | None = None,
        headers: dict[bytes, bytes] | None = None,
        namespace: str = "default",
    ) -> None:
        self.protocol = protocol
        self.model = model
        self.messages = messages
        self.stream = stream
        self.tools = tools or {}
        self.tool_choice = tool_choice or ToolChoice()
        self.choices = choices
        self.stop = stop
        self.max_tokens = max_tokens
        self.include_usage = include_usage
        self.response_format = response_format
        self.headers = headers or {}
        self.namespace = namespace

    @cached_property
    def last_message(self) -> str:
        """Text of the last message."""
        return self.messages[-1].text if self.messages else ""

    @cached_property
    def user(self) -> str:
        """Text of the last message of the user."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @cached_property
    def system(self) -> str:
        """All system text."""
        return "\n".join(message.text for message in self.messages if message.role == "system")

    @cached_property
    def since_user(self) -> tuple[Message, ...]:
        """The messages after the user's last one: the agent loop so far."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "user":
                return self.messages[index + 1 :]
        return self.messages

    @cached_property
    def tool_result(self) -> str | None:
        """Text of the newest tool result since the user spoke, or None."""
        return next((message.text for message in reversed(self.since_user) if message.role == "tool"), None)

    @cached_property
    def turn(self) -> int:
        """Step of the agent loop, from 1: each answer of the assistant since the user spoke is a step."""
        return 1 + sum(message.role == "assistant" for message in self.since_user)

    @cached_property
    def user_turn(self) -> int:
        """How many messages of the user there are."""
        return sum(message.role == "user" for message in self.messages)

    @cached_property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt: every message, three for each message's frame, three to start the answer."""
        return 3 + sum(3 + count_tokens(message.text) for message in self.messages)


def plain_text(content: str | Iterable[Any] | None, field: str) -> str:
    """The text of a message's content: a string, or the text parts of a list.

    Raises:
        RequestRefusedError: a part is not an object with a type.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for index, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            where = f"{field}[{index}]"
            raise RequestRefusedError(f"Invalid type for '{where}': expected an object with a type.", param=where)
        text = part.get("text")
        if isinstance(text, str):
            texts.append(text)
    return "".join(texts)
