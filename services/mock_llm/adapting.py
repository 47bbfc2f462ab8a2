"""What a request insists on, put over what the scenario says: templates, tool_choice, response_format."""

import re
from typing import Any

import msgspec

from mock_llm.errors import RequestRefusedError
from mock_llm.instances import instance
from mock_llm.requests import ModelRequest
from mock_llm.scenario.model import Block, Outcome, ToolCall
from mock_llm.scenario.placeholders import HEADER, PLACEHOLDER, is_placeholder


def adapt(outcome: Outcome, asked: ModelRequest) -> Outcome:
    """The outcome for one request; the same object when nothing has to change."""
    blocks = outcome.reply
    if outcome.templates:
        blocks = tuple(_filled(block, asked) for block in blocks)
    if asked.tool_choice.kind != "auto":
        blocks = _choose_tools(blocks, asked)
    if asked.response_format is not None:
        blocks = _structured(blocks, asked.response_format)
    return outcome if blocks is outcome.reply else msgspec.structs.replace(outcome, reply=blocks)


def fill_template(text: str, asked: ModelRequest) -> str:
    """Replace `{{user}}` and its like by what the request says; an unknown name stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if not is_placeholder(name):
            return match[0]
        if name.startswith(HEADER):
            return asked.headers.get(name.removeprefix(HEADER).lower().encode(), b"").decode("latin-1")
        found = getattr(asked, name)
        return "" if found is None else str(found)

    return PLACEHOLDER.sub(value, text)


def _filled(block: Block, asked: ModelRequest) -> Block:
    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return fill_template(value, asked)
        if isinstance(value, tuple | list):
            return type(value)(fill(each) for each in value)
        return {key: fill(each) for key, each in value.items()} if isinstance(value, dict) else value

    call = block.tool_call
    if call is not None:
        call = msgspec.structs.replace(call, arguments=fill(call.arguments))
    return Block(text=fill(block.text), reasoning=fill(block.reasoning), tool_call=call)


def _choose_tools(blocks: tuple[Block, ...], asked: ModelRequest) -> tuple[Block, ...]:
    choice = asked.tool_choice
    if choice.kind == "none":
        return tuple(block for block in blocks if block.tool_call is None)
    wanted = choice.name if choice.kind == "named" else None
    kept = tuple(
        block for block in blocks if block.tool_call is None or wanted is None or block.tool_call.name == wanted
    )
    if any(block.tool_call is not None for block in kept):
        return kept
    name = wanted or next(iter(asked.tools), None)
    if name is None:
        return kept
    arguments = _instance(asked.tools.get(name, {}), asked.user, "tools")
    call = ToolCall(name=name, arguments=arguments if isinstance(arguments, dict) else {})
    return (*kept, Block(tool_call=call))


def _structured(blocks: tuple[Block, ...], schema: dict[str, Any]) -> tuple[Block, ...]:
    texts = [block.text for block in blocks if block.text is not None]
    if not texts:
        return blocks
    text = "".join("".join(each) for each in texts)
    try:
        if isinstance(msgspec.json.decode(text), dict):
            return blocks
    except msgspec.DecodeError:
        pass
    value = _instance(schema, text, "response_format") if schema else {"text": text}
    whole = Block(text=msgspec.json.encode(value).decode())
    first = next(index for index, block in enumerate(blocks) if block.text is not None)
    rest = tuple(block for block in blocks[first:] if block.text is None)
    return (*blocks[:first], whole, *rest)


def _instance(schema: dict[str, Any], text: str, param: str) -> Any:
    try:
        return instance(schema, text)
    except ValueError as error:
        message = f"Invalid schema in '{param}': {error}"
        raise RequestRefusedError(message, param=param, code="invalid_json_schema") from None
