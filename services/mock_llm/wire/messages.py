"""Anthropic Messages: https://docs.anthropic.com/en/api/messages."""

import base64
import hashlib
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from mock_llm.errors import RequestRefusedError
from mock_llm.plan import Piece, PieceKind, Plan
from mock_llm.requests import Message, ModelRequest, ToolChoice, plain_text
from mock_llm.wire.format import Rendering, Stamp, WireFormat
from mock_llm.wire.items import Item, items
from mock_llm.wire.template import BASE, MODEL, USAGE, Frame, FrameKind, Template, Values

_encode = msgspec.json.Encoder().encode
_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_TOOL_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}
_FINAL_USAGE: Final = b"\x00f"
_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'


class _AnthropicMessage(Struct):
    role: str
    content: str | list[dict[str, Any]]


class _Tool(Struct):
    name: str
    input_schema: dict[str, Any] | None = None


class _ToolChoice(Struct):
    type: str
    name: str | None = None


class _MessagesBody(Struct):
    model: str
    max_tokens: Annotated[int, Meta(ge=1)]
    messages: Annotated[list[_AnthropicMessage], Meta(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    stop_sequences: list[str] | None = None


_decoder = msgspec.json.Decoder(_MessagesBody)


def read_messages(body: bytes, headers: dict[bytes, bytes], namespace: str) -> ModelRequest:
    """Read a request.

    Raises:
        msgspec.MsgspecError: it is not JSON or not of the right shape.
        RequestRefusedError: a field has a value that the provider refuses.
    """
    asked = _decoder.decode(body)
    messages = [Message("system", plain_text(asked.system, "system"))] if asked.system else []
    for index, each in enumerate(asked.messages):
        messages.extend(_messages(each, f"messages.{index}"))
    return ModelRequest(
        "messages",
        model=asked.model,
        messages=tuple(messages),
        stream=bool(asked.stream),
        tools={tool.name: tool.input_schema or {} for tool in asked.tools or ()},
        tool_choice=_tool_choice(asked.tool_choice),
        stop=tuple(asked.stop_sequences or ()),
        max_tokens=asked.max_tokens,
        headers=headers,
        namespace=namespace,
    )


def render_messages(plan: Plan, rendering: Rendering) -> Template:
    """Render a plan once for every request that gets it."""
    if rendering.stream:
        return Template(_stream(plan), BASE)
    message = _message(plan, [_whole_block(item) for item in items(plan)], done=True)
    return Template([Frame(_encode(message), FrameKind.CONTENT)], BASE)


def messages_values(stamp: Stamp, stream: bool) -> Values:
    """What fills the slots for one request. The prompt's cached part is counted apart, as Anthropic does."""
    tokens = stamp.tokens
    fresh = max(tokens.prompt - tokens.cached, 0)
    sides = b'"input_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":%d' % (fresh, tokens.cached)
    details = b'"output_tokens_details":{"thinking_tokens":%d}' % tokens.reasoning
    final = b'{%b,"output_tokens":%d,%b}' % (sides, tokens.completion, details)
    first = b'{%b,"output_tokens":%d}' % (sides, min(tokens.completion, 1)) if stream else final
    return {
        BASE: stamp.identity.base.encode(),
        MODEL: _encode(stamp.model),
        USAGE: first,
        _FINAL_USAGE: final,
    }


def _messages(each: _AnthropicMessage, field: str) -> list[Message]:
    if each.role not in ("user", "assistant"):
        raise RequestRefusedError(f'{field}.role: Input should be "user" or "assistant"', param=f"{field}.role")
    if isinstance(each.content, str):
        return [Message(each.role, each.content)]
    found: list[Message] = []
    rest: list[dict[str, Any]] = []
    for index, part in enumerate(each.content):
        if part.get("type") == "tool_result":
            content = part.get("content")
            text = content if isinstance(content, str) else plain_text(content or [], f"{field}.content.{index}")
            found.append(Message("tool", text))
        else:
            rest.append(part)
    text = plain_text(rest, f"{field}.content")
    # Text beside tool results is a new word of the user; without any there is nothing to add.
    if text or not found:
        found.append(Message(each.role, text))
    return found


def _tool_choice(choice: _ToolChoice | None) -> ToolChoice:
    if choice is None:
        return ToolChoice()
    kind = _TOOL_CHOICES.get(choice.type)
    if kind is None:
        raise RequestRefusedError("tool_choice.type: Input should be auto, any, tool or none", param="tool_choice.type")
    if kind == "named" and not choice.name:
        raise RequestRefusedError("tool_choice.tool.name: Field required", param="tool_choice.name")
    return ToolChoice(kind, choice.name or "")  # type: ignore[arg-type]  # a value of the table above


def _message(plan: Plan, content: list[dict[str, Any]], *, done: bool) -> dict[str, Any]:
    return {
        "id": Raw(b'"msg_' + BASE + b'"'),
        "type": "message",
        "role": "assistant",
        "model": Raw(MODEL),
        "content": content,
        "stop_reason": _stop_reason(plan) if done else None,
        "stop_sequence": plan.stop_sequence if done else None,
        "usage": Raw(USAGE),
    }


def _stop_reason(plan: Plan) -> str:
    return "stop_sequence" if plan.stop_sequence is not None else _STOP_REASONS[plan.finish]


def _stream(plan: Plan) -> list[Frame]:
    frames = [_frame("message_start", FrameKind.OPENING, message=_message(plan, [], done=False))]
    for index, item in enumerate(items(plan)):
        frames.append(_frame("content_block_start", FrameKind.OPENING, index=index, content_block=_opened_block(item)))
        if index == 0:
            frames.append(Frame(_PING, FrameKind.OPENING))
        frames.extend(_delta(piece, index) for piece in item.pieces)
        if item.kind is PieceKind.REASONING:
            signature = {"type": "signature_delta", "signature": _signature(item.text)}
            frames.append(_frame("content_block_delta", FrameKind.CLOSING, index=index, delta=signature))
        frames.append(_frame("content_block_stop", FrameKind.CLOSING, index=index))
    ending = {"stop_reason": _stop_reason(plan), "stop_sequence": plan.stop_sequence}
    frames.append(_frame("message_delta", FrameKind.FINISH, delta=ending, usage=Raw(_FINAL_USAGE)))
    frames.append(_frame("message_stop", FrameKind.DONE))
    return frames


def _delta(piece: Piece, index: int) -> Frame:
    if piece.kind is PieceKind.TEXT:
        delta = {"type": "text_delta", "text": piece.text}
    elif piece.kind is PieceKind.REASONING:
        delta = {"type": "thinking_delta", "thinking": piece.text}
    else:
        delta = {"type": "input_json_delta", "partial_json": piece.text}
    kind = FrameKind.ARGUMENTS if piece.call >= 0 else FrameKind.CONTENT
    return _frame("content_block_delta", kind, piece, index=index, delta=delta)


def _frame(name: str, kind: FrameKind, piece: Piece | None = None, **fields: Any) -> Frame:
    data = b"event: " + name.encode() + b"\ndata: " + _encode({"type": name, **fields}) + b"\n\n"
    return Frame(data, kind, piece.tokens if piece else 0, piece.call if piece else -1)


def _opened_block(item: Item) -> dict[str, Any]:
    if item.start is not None:
        return {"type": "tool_use", "id": _tool_id(item.start), "name": item.start.text, "input": {}}
    if item.kind is PieceKind.REASONING:
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _whole_block(item: Item) -> dict[str, Any]:
    if item.start is not None:
        return {**_opened_block(item), "input": _input(item.text)}
    if item.kind is PieceKind.REASONING:
        return {"type": "thinking", "thinking": item.text, "signature": _signature(item.text)}
    return {"type": "text", "text": item.text}


def _tool_id(start: Piece) -> Raw:
    return Raw(_encode(start.call_id)) if start.call_id else Raw(b'"toolu_' + BASE + b'%02d"' % start.call)


def _input(arguments: str) -> dict[str, Any]:
    # Whole answers carry an object, so arguments that are none travel inside one.
    try:
        found = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        found = None
    return found if isinstance(found, dict) else {"INVALID_JSON": arguments}


def _signature(thinking: str) -> str:
    return base64.b64encode(
        hashlib.blake2b(thinking.encode("utf-8", "surrogatepass"), digest_size=48).digest()
    ).decode()


MESSAGES: Final = WireFormat("messages", read_messages, render_messages, messages_values)
