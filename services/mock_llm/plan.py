"""An outcome made concrete: the pieces in the order they leave, before any wire format.

Here `stop` and `max_tokens` take effect, and tokens are counted, so that every protocol cuts at the same place and
reports the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final, final

import msgspec

from mock_llm.scenario.model import Block, Outcome, ToolCall
from mock_llm.tokens import count_tokens, split_tokens

_ARGUMENT_PIECE: Final = 12


class PieceKind(Enum):
    """What a piece belongs to."""

    TEXT = auto()
    REASONING = auto()
    CALL_START = auto()
    CALL_ARGUMENTS = auto()


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """What one event carries.

    `block` counts the blocks of the reply from 0, `call` its tool calls from 0 (-1 outside of one). For CALL_START
    `text` is the tool's name and `call_id` its id, or empty when the id derives from the request.
    """

    kind: PieceKind
    block: int
    text: str
    tokens: int
    call: int = -1
    call_id: str = ""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """The pieces and how they end. `finish` is OpenAI's finish_reason; `stop_sequence` the one that cut, if any."""

    pieces: tuple[Piece, ...]
    finish: str
    stop_sequence: str | None
    completion_tokens: int
    reasoning_tokens: int


def make_plan(outcome: Outcome, *, stop: tuple[str, ...] = (), max_tokens: int | None = None) -> Plan:
    """Cut an outcome into pieces.

    Args:
        outcome: what the scenario says.
        stop: texts at which the reply ends; the stop text itself is not sent.
        max_tokens: most tokens sent, reasoning and arguments included.
    """
    pieces = tuple(_pieces(outcome.reply))
    finish: str = "tool_calls" if any(piece.call >= 0 for piece in pieces) else "stop"
    if outcome.finish_reason is not None:
        finish = outcome.finish_reason
    stopped_by = None
    if stop:
        pieces, stopped_by = _cut_at_stop(pieces, stop)
        if stopped_by is not None:
            finish = "stop"
    if max_tokens is not None and sum(piece.tokens for piece in pieces) > max_tokens:
        pieces, finish, stopped_by = tuple(_cut_at_tokens(pieces, max_tokens)), "length", None
    usage = outcome.usage
    completion = sum(piece.tokens for piece in pieces)
    reasoning = sum(piece.tokens for piece in pieces if piece.kind is PieceKind.REASONING)
    if usage is not None:
        completion = completion if usage.completion is None else usage.completion
        reasoning = reasoning if usage.reasoning is None else usage.reasoning
    return Plan(pieces, finish, stopped_by, completion, reasoning)


def call_arguments(call: ToolCall) -> str:
    """The arguments as they are sent."""
    return call.arguments if isinstance(call.arguments, str) else msgspec.json.encode(call.arguments).decode()


def _pieces(blocks: tuple[Block, ...]) -> Iterator[Piece]:
    calls = 0
    for index, block in enumerate(blocks):
        if block.tool_call is not None:
            yield from _call_pieces(block.tool_call, index, calls)
            calls += 1
            continue
        kind = PieceKind.TEXT if block.text is not None else PieceKind.REASONING
        given = block.text if block.text is not None else block.reasoning
        for text in split_tokens(given) if isinstance(given, str) else given or ():
            yield Piece(kind, index, text, count_tokens(text))


def _call_pieces(call: ToolCall, block: int, number: int) -> Iterator[Piece]:
    yield Piece(PieceKind.CALL_START, block, call.name, count_tokens(call.name), number, call.id or "")
    arguments = call_arguments(call)
    lengths = call.split
    start = 0
    if lengths is None:
        lengths = (_ARGUMENT_PIECE,) * (len(arguments) // _ARGUMENT_PIECE)
    for length in (*lengths, len(arguments)):
        text = arguments[start : start + length]
        if text:
            yield Piece(PieceKind.CALL_ARGUMENTS, block, text, count_tokens(text), number)
        start += length


def _cut_at_stop(pieces: tuple[Piece, ...], stop: tuple[str, ...]) -> tuple[tuple[Piece, ...], str | None]:
    text = "".join(piece.text for piece in pieces if piece.kind is PieceKind.TEXT)
    found = [(text.find(word), word) for word in stop if word and word in text]
    if not found:
        return pieces, None
    room, word = min(found)
    kept: list[Piece] = []
    for piece in pieces:
        if piece.kind is not PieceKind.TEXT:
            kept.append(piece)
            continue
        if len(piece.text) > room:
            if room:
                kept.append(replace(piece, text=piece.text[:room], tokens=count_tokens(piece.text[:room])))
            return tuple(kept), word
        kept.append(piece)
        room -= len(piece.text)
    return tuple(kept), word


def _cut_at_tokens(pieces: tuple[Piece, ...], most: int) -> Iterator[Piece]:
    room = most
    for piece in pieces:
        if piece.tokens <= room:
            room -= piece.tokens
            yield piece
            continue
        if room and piece.kind is not PieceKind.CALL_START:
            yield replace(piece, text="".join(split_tokens(piece.text)[:room]), tokens=room)
        return
