"""Server-sent events of a Chat Completions stream, turned into parts of an answer. Pure: bytes in, parts out.

Only what is needed is decoded; fields that a provider adds are left alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, final

import msgspec
from msgspec import Meta, Struct

from chat_protocol.events import ErrorCode, Usage
from gateway.errors import ModelError
from gateway.model.answer import AnswerEnd, AnswerPart, ReasoningDelta, TextDelta, ToolCall

MAX_LINE: Final = 1 << 20
"""Longest line of a stream, in bytes."""

MAX_CALL_CHARACTERS: Final = 1 << 18
"""Most characters of ids, names and arguments in the tool calls of one answer."""

_BROKE_OFF = "The model's answer broke off. Send the message again."


class _Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _ToolDelta(Struct, frozen=True):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolDelta] | None = None


class _Choice(Struct, frozen=True):
    delta: _Delta | None = None
    finish_reason: str | None = None


# As far as every reader of JSON counts exactly, and the sum of a turn still fits into the database.
_Tokens = Annotated[int, Meta(ge=0, le=2**53)]


class _Usage(Struct, frozen=True):
    prompt_tokens: _Tokens = 0
    completion_tokens: _Tokens = 0


class _Chunk(Struct, frozen=True):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Chunk).decode


@dataclass(slots=True)
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@final
class AnswerReader:
    """Reads one answer: `feed` bytes as they come, then `finish` when they end."""

    def __init__(self, *, max_tool_calls: int) -> None:
        self._max_tool_calls = max_tool_calls
        self._buffer = b""
        self._calls: dict[int, _PartialCall] = {}
        self._call_characters = 0
        self._usage = Usage()
        self._finish_reason: str | None = None

    def feed(self, data: bytes) -> Iterator[AnswerPart]:
        """Take bytes and yield what they complete. Raises ModelError when they are no stream of chunks."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE:
            raise ModelError(ErrorCode.MODEL_BROKE_OFF, _BROKE_OFF, retryable=True)
        for line in lines:
            yield from self._line(line.rstrip(b"\r"))

    def finish(self) -> Iterator[AnswerPart]:
        """Yield the tool calls and the end. Raises ModelError when the answer is not whole."""
        yield from self._line(self._buffer.rstrip(b"\r"))
        self._buffer = b""
        # An end without finish_reason is a connection that was cut where it looked clean.
        if self._finish_reason is None:
            raise ModelError(ErrorCode.MODEL_BROKE_OFF, _BROKE_OFF, retryable=True)
        for _, call in sorted(self._calls.items()):
            yield ToolCall(call.id, call.name, "".join(call.arguments))
        yield AnswerEnd(self._finish_reason, self._usage)

    def _line(self, line: bytes) -> Iterator[AnswerPart]:
        # https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]" or not data:
            return
        try:
            chunk = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ModelError(
                ErrorCode.MODEL_BROKE_OFF,
                "The model sent something unreadable. Send the message again.",
                retryable=True,
            ) from None
        if chunk.error is not None:
            raise ModelError(
                ErrorCode.MODEL_BROKE_OFF,
                "The model reported an error mid-answer. Send the message again.",
                retryable=True,
            )
        if chunk.usage is not None:
            self._usage = Usage(input_tokens=chunk.usage.prompt_tokens, output_tokens=chunk.usage.completion_tokens)
        for choice in chunk.choices[:1]:
            yield from self._choice(choice)

    def _choice(self, choice: _Choice) -> Iterator[AnswerPart]:
        if choice.finish_reason is not None:
            self._finish_reason = choice.finish_reason
        delta = choice.delta
        if delta is None:
            return
        if thought := delta.reasoning_content or delta.reasoning:
            yield ReasoningDelta(thought)
        if text := delta.content or delta.refusal:
            yield TextDelta(text)
        for call in delta.tool_calls or ():
            self._tool_delta(call)

    def _tool_delta(self, delta: _ToolDelta) -> None:
        if delta.index not in self._calls and len(self._calls) >= self._max_tool_calls:
            raise ModelError(
                ErrorCode.TURN_LIMIT,
                f"The model asked for more than {self._max_tool_calls} tools at once. Ask for less.",
            )
        call = self._calls.setdefault(delta.index, _PartialCall())
        call.id = call.id or delta.id or ""
        if delta.function is not None:
            call.name += delta.function.name or ""
            call.arguments.append(delta.function.arguments or "")
        self._call_characters += _characters(delta)
        if self._call_characters > MAX_CALL_CHARACTERS:
            raise ModelError(
                ErrorCode.TURN_LIMIT,
                f"The model asked for tools with more than {MAX_CALL_CHARACTERS} characters. Ask for less.",
            )


def _characters(delta: _ToolDelta) -> int:
    function = delta.function or _Function()
    return len(delta.id or "") + len(function.name or "") + len(function.arguments or "")
