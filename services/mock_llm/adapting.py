"""What a request insists on, put over what the scenario says: templates, tool_choice, response_format."""

import re
from typing import Any, Final

import msgspec

from mock_llm.instances import instance
from mock_llm.requests import ModelRequest
from mock_llm.scenario.model import Block, Outcome, ToolCall

PLACEHOLDERS: Final = ("user", "last_message", "system", "tool_result", "model", "turn", "user_turn", "namespace")
_PLACEHOLDER: Final = re.compile(r"\{\{\s*(?P<name>[a-z_]+|header\.[A-Za-z0-9-]+)\s*\}\}")


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
        if name.startswith("header."):
            return asked.headers.get(name.removeprefix("header.").lower().encode(), b"").decode("latin-1")
        if name not in PLACEHOLDERS:
            return match[0]
        found = getattr(asked, name)
        return "" if found is None else str(found)

    return _PLACEHOLDER.sub(value, text)


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
    arguments = instance(asked.tools.get(name, {}), asked.user)
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
    value = instance(schema, text) if schema else {"text": text}
    whole = Block(text=msgspec.json.encode(value).decode())
    first = next(index for index, block in enumerate(blocks) if block.text is not None)
    rest = tuple(block for block in blocks[first:] if block.text is None)
    return (*blocks[:first], whole, *rest)
