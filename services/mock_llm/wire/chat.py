"""OpenAI Chat Completions: https://platform.openai.com/docs/api-reference/chat."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from mock_llm.errors import RequestRefusedError
from mock_llm.plan import Piece, PieceKind, Plan
from mock_llm.requests import Message, ModelRequest, ToolChoice, plain_text
from mock_llm.scenario.model import ReasoningDialect
from mock_llm.wire.format import Rendering, Stamp, WireFormat
from mock_llm.wire.template import BASE, HEAD, USAGE, Frame, FrameKind, Template, Values

MAX_CHOICES: Final = 128

_encode = msgspec.json.Encoder().encode
_ROLES: Final = {"developer": "system", "function": "tool"}


class _ChatMessage(Struct):
    role: str
    content: str | list[Any] | None = None
    tool_calls: list[Any] | None = None


class _Function(Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Tool(Struct):
    type: str
    function: _Function | None = None


class _StreamOptions(Struct):
    include_usage: bool = False


class _ChatBody(Struct):
    model: str
    messages: Annotated[list[_ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    response_format: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_ChatBody)


def read_chat(body: bytes, headers: dict[bytes, bytes], namespace: str) -> ModelRequest:
    """Read a request.

    Raises:
        msgspec.MsgspecError: it is not JSON or not of the right shape.
        RequestRefusedError: a field has a value that the provider refuses.
    """
    asked = _decoder.decode(body)
    messages = tuple(
        Message(_ROLES.get(each.role, each.role), plain_text(each.content, f"messages[{index}].content"))
        for index, each in enumerate(asked.messages)
    )
    for index, message in enumerate(messages):
        if message.role not in ("system", "user", "assistant", "tool"):
            raise RequestRefusedError(
                f"Invalid value: '{message.role}'. Supported values are: 'system', 'developer', 'assistant', "
                "'user', 'function', and 'tool'.",
                param=f"messages[{index}].role",
                code="invalid_value",
            )
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    stream = bool(asked.stream)
    if asked.stream_options is not None and not stream:
        raise RequestRefusedError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    return ModelRequest(
        "chat",
        model=asked.model,
        messages=messages,
        stream=stream,
        tools={tool.function.name: tool.function.parameters or {} for tool in asked.tools or () if tool.function},
        tool_choice=_tool_choice(asked.tool_choice),
        choices=asked.n or 1,
        stop=stop,
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        include_usage=asked.stream_options is not None and asked.stream_options.include_usage,
        response_format=_response_format(asked.response_format),
        headers=headers,
        namespace=namespace,
    )


def _tool_choice(choice: str | dict[str, Any] | None) -> ToolChoice:
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise RequestRefusedError("Missing required parameter: 'tool_choice.function.name'.", param="tool_choice")
        return ToolChoice("named", name)
    if choice not in (None, "auto", "none", "required"):
        raise RequestRefusedError(
            f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.",
            param="tool_choice",
            code="invalid_value",
        )
    return ToolChoice(choice or "auto")  # type: ignore[arg-type]  # one of the words above


def _response_format(given: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (given or {}).get("type", "text")
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return {}
    described = given.get("json_schema")
    if kind != "json_schema" or not isinstance(described, dict):
        raise RequestRefusedError(
            "Invalid response_format: give type text, json_object, or json_schema with a json_schema.",
            param="response_format",
        )
    schema = described.get("schema")
    return schema if isinstance(schema, dict) else {}


def render_chat(plan: Plan, rendering: Rendering) -> Template:
    """Render a plan once for every request that gets it."""
    if rendering.stream:
        return _stream(plan, rendering)
    found = [_whole_choice(plan, rendering.dialect, index) for index in range(rendering.choices)]
    body = b"{" + HEAD + b',"choices":' + _encode(found) + b',"usage":' + USAGE + b"}"
    return Template([Frame(body, FrameKind.CONTENT)], HEAD)


def chat_values(stamp: Stamp, stream: bool) -> Values:
    """What fills the slots for one request."""
    base = stamp.identity.base.encode()
    head = b'"id":"chatcmpl-%b","object":"%b","created":%d,"model":%b,"system_fingerprint":"fp_mock"' % (
        base,
        b"chat.completion.chunk" if stream else b"chat.completion",
        stamp.created,
        _encode(stamp.model),
    )
    tokens = stamp.tokens
    usage = (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    ) % (tokens.prompt, tokens.completion, tokens.prompt + tokens.completion, tokens.cached, tokens.reasoning)
    return {HEAD: head, BASE: base, USAGE: usage}


def _stream(plan: Plan, rendering: Rendering) -> Template:
    tail = b',"usage":null}\n\n' if rendering.include_usage else b"}\n\n"
    frames: list[Frame] = []
    for choice in range(rendering.choices):
        frames.extend(_choice_frames(plan, rendering.dialect, choice, tail))
    if rendering.include_usage:
        frames.append(Frame(b"data: {" + HEAD + b',"choices":[],"usage":' + USAGE + b"}\n\n", FrameKind.USAGE))
    frames.append(Frame(b"data: [DONE]\n\n", FrameKind.DONE))
    return Template(frames, HEAD)


def _choice_frames(plan: Plan, dialect: ReasoningDialect, choice: int, tail: bytes) -> list[Frame]:
    def frame(delta: Any, kind: FrameKind, piece: Piece | None = None, finish: str | None = None) -> Frame:
        body = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
        data = b"data: {" + HEAD + b',"choices":[' + _encode(body) + b"]" + tail
        return Frame(data, kind, piece.tokens if piece else 0, piece.call if piece else -1)

    frames = [frame({"role": "assistant", "content": ""}, FrameKind.OPENING)]
    thinking = False
    for piece in plan.pieces:
        if piece.kind is PieceKind.REASONING and dialect == "think_tags":
            text = piece.text if thinking else f"<think>{piece.text}"
            thinking = True
            frames.append(frame({"content": text}, FrameKind.CONTENT, piece))
            continue
        if thinking:
            thinking = False
            frames.append(frame({"content": "</think>"}, FrameKind.CONTENT))
        kind = FrameKind.ARGUMENTS if piece.kind is PieceKind.CALL_ARGUMENTS else FrameKind.CONTENT
        frames.append(frame(_delta(piece, dialect, choice), kind, piece))
    if thinking:
        frames.append(frame({"content": "</think>"}, FrameKind.CONTENT))
    frames.append(frame({}, FrameKind.FINISH, finish=plan.finish))
    return frames


def _delta(piece: Piece, dialect: ReasoningDialect, choice: int) -> dict[str, Any]:
    if piece.kind is PieceKind.TEXT:
        return {"content": piece.text}
    if piece.kind is PieceKind.REASONING:
        return {"reasoning" if dialect == "reasoning" else "reasoning_content": piece.text}
    if piece.kind is PieceKind.CALL_ARGUMENTS:
        return {"tool_calls": [{"index": piece.call, "function": {"arguments": piece.text}}]}
    call = {
        "index": piece.call,
        "id": call_id(piece, choice),
        "type": "function",
        "function": {"name": piece.text, "arguments": ""},
    }
    return {"tool_calls": [call]}


def call_id(piece: Piece, choice: int = 0) -> Raw:
    """The id of a tool call: the scenario's own, or one that derives from the request."""
    if piece.call_id:
        return Raw(_encode(piece.call_id))
    return Raw(b'"call_' + BASE + b'%02d"' % (choice * 100 + piece.call))


def _whole_choice(plan: Plan, dialect: ReasoningDialect, index: int) -> dict[str, Any]:
    content, reasoning = (
        "".join(piece.text for piece in plan.pieces if piece.kind is kind)
        for kind in (PieceKind.TEXT, PieceKind.REASONING)
    )
    if dialect == "think_tags" and reasoning:
        content, reasoning = f"<think>{reasoning}</think>{content}", ""
    message: dict[str, Any] = {"role": "assistant", "content": content or None, "refusal": None}
    if reasoning:
        message["reasoning" if dialect == "reasoning" else "reasoning_content"] = reasoning
    calls = [piece for piece in plan.pieces if piece.kind is PieceKind.CALL_START]
    if calls:
        message["tool_calls"] = [
            {
                "id": call_id(call, index),
                "type": "function",
                "function": {"name": call.text, "arguments": whole_arguments(plan, call.call)},
            }
            for call in calls
        ]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": plan.finish}


def whole_arguments(plan: Plan, call: int) -> str:
    """The arguments of one call in one piece."""
    return "".join(piece.text for piece in plan.pieces if piece.kind is PieceKind.CALL_ARGUMENTS and piece.call == call)


CHAT: Final = WireFormat("chat", read_chat, render_chat, chat_values)
