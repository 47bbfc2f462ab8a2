"""OpenAI Responses: https://platform.openai.com/docs/api-reference/responses."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from mock_llm.errors import RequestRefusedError
from mock_llm.plan import Piece, PieceKind, Plan
from mock_llm.requests import Message, ModelRequest, ToolChoice, plain_text
from mock_llm.wire.format import Rendering, Stamp, WireFormat
from mock_llm.wire.items import Item, items
from mock_llm.wire.template import BASE, CREATED, MODEL, USAGE, Frame, FrameKind, Template, Values

_encode = msgspec.json.Encoder().encode
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_PREFIXES: Final = {PieceKind.TEXT: b"msg_", PieceKind.REASONING: b"rs_", PieceKind.CALL_ARGUMENTS: b"fc_"}


class _Tool(Struct):
    type: str
    name: str | None = None
    parameters: dict[str, Any] | None = None


class _TextFormat(Struct):
    type: str = "text"
    schema: dict[str, Any] | None = None


class _Text(Struct):
    format: _TextFormat | None = None


class _ResponsesBody(Struct):
    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    text: _Text | None = None
    previous_response_id: str | None = None


_decoder = msgspec.json.Decoder(_ResponsesBody)


def read_responses(body: bytes, headers: dict[bytes, bytes], namespace: str) -> ModelRequest:
    """Read a request.

    Raises:
        msgspec.MsgspecError: it is not JSON or not of the right shape.
        RequestRefusedError: a field has a value that the provider refuses.
    """
    asked = _decoder.decode(body)
    if asked.previous_response_id is not None:
        raise RequestRefusedError(
            f"Previous response with id '{asked.previous_response_id}' not found. "
            "The mock model stores no responses; send the whole conversation as input.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    messages = [Message("system", asked.instructions)] if asked.instructions else []
    if isinstance(asked.input, str):
        messages.append(Message("user", asked.input))
    else:
        for index, item in enumerate(asked.input):
            message = _message(item, f"input[{index}]")
            # Several calls of one answer are items of their own here, but one turn of the assistant.
            if message is not None and not (
                message.role == "assistant" and not message.text and messages and messages[-1].role == "assistant"
            ):
                messages.append(message)
    if not messages:
        raise RequestRefusedError("Invalid 'input': it has no messages.", param="input", code="empty_array")
    chosen = asked.text.format if asked.text is not None else None
    return ModelRequest(
        "responses",
        model=asked.model,
        messages=tuple(messages),
        stream=bool(asked.stream),
        tools={tool.name: tool.parameters or {} for tool in asked.tools or () if tool.name is not None},
        tool_choice=_tool_choice(asked.tool_choice),
        max_tokens=asked.max_output_tokens,
        response_format=None if chosen is None or chosen.type == "text" else chosen.schema or {},
        headers=headers,
        namespace=namespace,
    )


def render_responses(plan: Plan, rendering: Rendering) -> Template:
    """Render a plan once for every request that gets it."""
    plan = _with_tags(plan) if rendering.dialect == "think_tags" else plan
    if rendering.stream:
        return _Stream(plan).template()
    return Template([Frame(_encode(_response(plan, _status(plan), items(plan))), FrameKind.CONTENT)], BASE)


def responses_values(stamp: Stamp, stream: bool) -> Values:  # noqa: ARG001  both forms carry the same
    """What fills the slots for one request."""
    tokens = stamp.tokens
    usage = (
        b'{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d,"cache_write_tokens":0},"output_tokens":%d,'
        b'"output_tokens_details":{"reasoning_tokens":%d},"total_tokens":%d}'
    ) % (tokens.prompt, tokens.cached, tokens.completion, tokens.reasoning, tokens.prompt + tokens.completion)
    return {
        BASE: stamp.identity.base.encode(),
        MODEL: _encode(stamp.model),
        CREATED: b"%d" % stamp.created,
        USAGE: usage,
    }


def _message(item: dict[str, Any], field: str) -> Message | None:
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role")
        if role not in ("system", "developer", "user", "assistant"):
            raise RequestRefusedError(
                f"Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
                param=f"{field}.role",
                code="invalid_value",
            )
        content = item.get("content")
        if not isinstance(content, str | list):
            raise RequestRefusedError(f"Missing required parameter: '{field}.content'.", param=f"{field}.content")
        return Message("system" if role == "developer" else role, plain_text(content, f"{field}.content"))
    if kind == "function_call":
        return Message("assistant", "")
    if kind == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else plain_text(output or [], f"{field}.output")
        return Message("tool", text)
    return None


def _tool_choice(choice: str | dict[str, Any] | None) -> ToolChoice:
    if isinstance(choice, dict):
        name = choice.get("name")
        if choice.get("type") != "function" or not isinstance(name, str):
            raise RequestRefusedError("Missing required parameter: 'tool_choice.name'.", param="tool_choice")
        return ToolChoice("named", name)
    if choice not in (None, "auto", "none", "required"):
        raise RequestRefusedError(f"Invalid value: '{choice}'.", param="tool_choice", code="invalid_value")
    return ToolChoice(choice or "auto")  # type: ignore[arg-type]  # one of the words above


def _with_tags(plan: Plan) -> Plan:
    # This wire has a place for reasoning, but a model behind a plain gateway may still write tags.
    pieces: list[Piece] = []
    for item in items(plan):
        if item.kind is not PieceKind.REASONING:
            pieces.extend(([item.start] if item.start else []) + list(item.pieces))
            continue
        texts = [piece.text for piece in item.pieces]
        texts[0], texts[-1] = f"<think>{texts[0]}", f"{texts[-1]}</think>"
        if len(texts) == 1:
            texts = [f"<think>{item.pieces[0].text}</think>"]
        pieces.extend(_retyped(piece, PieceKind.TEXT, text) for piece, text in zip(item.pieces, texts, strict=True))
    return Plan(tuple(pieces), plan.finish, plan.stop_sequence, plan.completion_tokens, plan.reasoning_tokens)


def _retyped(piece: Piece, kind: PieceKind, text: str) -> Piece:
    return Piece(kind, piece.block, text, piece.tokens, piece.call, piece.call_id)


def _status(plan: Plan) -> str:
    return "incomplete" if plan.finish in _INCOMPLETE else "completed"


def _response(plan: Plan, status: str, done: list[Item]) -> dict[str, Any]:
    finished = status != "in_progress"
    reason = _INCOMPLETE.get(plan.finish) if status == "incomplete" else None
    return {
        "id": Raw(b'"resp_' + BASE + b'"'),
        "object": "response",
        "created_at": Raw(CREATED),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "max_output_tokens": None,
        "model": Raw(MODEL),
        "output": [_item(item, index, status) for index, item in enumerate(done)],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": Raw(USAGE) if finished else None,
        "user": None,
        "metadata": {},
    }


def _id(kind: PieceKind, index: int) -> Raw:
    return Raw(b'"' + _PREFIXES[kind] + BASE + b'%02d"' % index)


def _call_id(start: Piece) -> Raw:
    return Raw(_encode(start.call_id)) if start.call_id else Raw(b'"call_' + BASE + b'%02d"' % start.call)


def _item(item: Item, index: int, status: str) -> dict[str, Any]:
    empty = status == "in_progress"
    text = "" if empty else item.text
    found: dict[str, Any] = {"id": _id(item.kind, index)}
    if item.kind is PieceKind.REASONING:
        summary = [] if empty else [{"type": "summary_text", "text": text}]
        return {**found, "type": "reasoning", "summary": summary, "status": status}
    if item.start is not None:
        call = {"call_id": _call_id(item.start), "name": item.start.text, "arguments": text}
        return {**found, "type": "function_call", **call, "status": status}
    content = [] if empty else [_text_part(text)]
    return {**found, "type": "message", "role": "assistant", "content": content, "status": status}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class _Stream:
    """Numbers the events as it writes them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._frames: list[Frame] = []

    def template(self) -> Template:
        """Every event of the stream."""
        plan, found = self._plan, items(self._plan)
        self._event("response.created", FrameKind.OPENING, response=_response(plan, "in_progress", []))
        self._event("response.in_progress", FrameKind.OPENING, response=_response(plan, "in_progress", []))
        for index, item in enumerate(found):
            closing = _status(plan) if index == len(found) - 1 else "completed"
            added = _item(item, index, "in_progress")
            self._event("response.output_item.added", FrameKind.OPENING, output_index=index, item=added)
            self._body(item, index)
            done = _item(item, index, closing)
            self._event("response.output_item.done", FrameKind.CLOSING, output_index=index, item=done)
        status = _status(plan)
        self._event(f"response.{status}", FrameKind.FINISH, response=_response(plan, status, found))
        return Template(self._frames, BASE)

    def _body(self, item: Item, index: int) -> None:
        where: dict[str, Any] = {"item_id": _id(item.kind, index), "output_index": index}
        if item.kind is PieceKind.REASONING:
            where["summary_index"] = 0
            self._part("response.reasoning_summary_part", "response.reasoning_summary_text", item, where)
        elif item.start is not None:
            prefix = "response.function_call_arguments"
            self._deltas(prefix, item, where)
            self._event(f"{prefix}.done", FrameKind.CLOSING, **where, arguments=item.text)
        else:
            where["content_index"] = 0
            self._part("response.content_part", "response.output_text", item, where)

    def _part(self, part: str, text: str, item: Item, where: dict[str, Any]) -> None:
        def content(value: str) -> dict[str, Any]:
            return {"type": "summary_text", "text": value} if "summary" in part else _text_part(value)

        more: dict[str, Any] = {} if "summary" in part else {"logprobs": []}
        self._event(f"{part}.added", FrameKind.OPENING, **where, part=content(""))
        self._deltas(text, item, {**where, **more})
        self._event(f"{text}.done", FrameKind.CLOSING, **where, text=item.text, **more)
        self._event(f"{part}.done", FrameKind.CLOSING, **where, part=content(item.text))

    def _deltas(self, prefix: str, item: Item, where: dict[str, Any]) -> None:
        kind = FrameKind.ARGUMENTS if item.start is not None else FrameKind.CONTENT
        for piece in item.pieces:
            self._event(f"{prefix}.delta", kind, piece, **where, delta=piece.text)

    def _event(self, name: str, kind: FrameKind, piece: Piece | None = None, /, **fields: Any) -> None:
        body = {"type": name, "sequence_number": len(self._frames), **fields}
        data = b"event: " + name.encode() + b"\ndata: " + _encode(body) + b"\n\n"
        self._frames.append(Frame(data, kind, piece.tokens if piece else 0, piece.call if piece else -1))


RESPONSES: Final = WireFormat("responses", read_responses, render_responses, responses_values)
