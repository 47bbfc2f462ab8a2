"""A model's stream, byte by byte: the same parts however it is cut, and no quiet end."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.events import Usage
from gateway.errors import ModelError
from gateway.model.answer import AnswerEnd, AnswerPart, ReasoningDelta, TextDelta, ToolCall
from gateway.model.chunks import MAX_CALL_CHARACTERS, AnswerReader


def sse(*chunks: dict[str, Any] | str) -> bytes:
    return "".join(f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n" for chunk in chunks).encode()


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def tool(index: int, arguments: str, **first: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": first["name"]} if "name" in first else {})
    call = {"index": index, "function": function} | ({"id": first["id"]} if "id" in first else {})
    return delta(tool_calls=[call])


STREAM = (
    sse(delta(role="assistant", content=""), delta(reasoning_content="Hm. "), delta(content="Grüße"))
    + b": a comment\n\n"
    + sse(
        tool(0, "", id="a", name="calculator"),
        tool(0, '{"expression"'),
        tool(0, ': "1"}'),
        tool(1, "{}", id="b", name="search"),
        delta("tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}},
        "[DONE]",
    )
)
PARTS: list[AnswerPart] = [
    ReasoningDelta("Hm. "),
    TextDelta("Grüße"),
    ToolCall("a", "calculator", '{"expression": "1"}'),
    ToolCall("b", "search", "{}"),
    AnswerEnd("tool_calls", Usage(input_tokens=3, output_tokens=5)),
]


def read(*pieces: bytes, max_tool_calls: int = 4) -> list[AnswerPart]:
    reader = AnswerReader(max_tool_calls=max_tool_calls)
    parts = [part for piece in pieces for part in reader.feed(piece)]
    return [*parts, *reader.finish()]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_parts_do_not_depend_on_where_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert read(*(STREAM[start:end] for start, end in pairwise(edges))) == PARTS


def test_line_ends_with_carriage_return_are_read() -> None:
    assert read(STREAM.replace(b"\n", b"\r\n")) == PARTS


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_both_names_of_reasoning_are_read(field: str) -> None:
    assert read(sse(delta(**{field: "So."}), delta("stop")))[0] == ReasoningDelta("So.")


def test_a_tool_call_without_an_id_is_read() -> None:
    calls = sse(tool(1, "{}", name="search"), tool(0, "{}", name="calculator"), delta("tool_calls"))
    assert read(calls)[:2] == [ToolCall("", "calculator", "{}"), ToolCall("", "search", "{}")]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(sse(delta(content="half")), id="no finish reason"),
        pytest.param(sse(delta(content="half"), "[DONE]"), id="done without finish reason"),
        pytest.param(b"data: {broken\n\n", id="not JSON"),
        pytest.param(b"data: [1]\n\n", id="not an object"),
        pytest.param(b"data: \xff\n\n", id="not UTF-8"),
        pytest.param(sse({"error": {"message": "overloaded"}}), id="error in the stream"),
        pytest.param(b"data: " + b"x" * (1 << 21), id="a line without end"),
        pytest.param(sse(delta("stop"), {"usage": {"prompt_tokens": -1}}), id="fewer than no tokens"),
        pytest.param(sse(delta("stop"), {"usage": {"completion_tokens": 2**53 + 1}}), id="more tokens than can be"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error(stream: bytes) -> None:
    with pytest.raises(ModelError):
        read(stream)


def test_a_large_number_of_tokens_is_read() -> None:
    usage = {"usage": {"prompt_tokens": 2**53, "completion_tokens": 3_000_000_000}}
    assert read(sse(delta("stop"), usage)) == [
        AnswerEnd("stop", Usage(input_tokens=2**53, output_tokens=3_000_000_000))
    ]


@pytest.mark.parametrize("part", ["arguments", "name", "id"])
def test_a_tool_call_that_never_ends_is_refused(part: str) -> None:
    reader = AnswerReader(max_tool_calls=2)
    piece = "x" * (MAX_CALL_CHARACTERS // 4)
    fields = {"arguments": "", "name": "", "id": ""} | {part: piece}
    chunk = sse(tool(0, fields["arguments"], name=fields["name"], id=fields["id"]))
    for _ in range(4):
        assert list(reader.feed(chunk)) == []
    with pytest.raises(ModelError, match="Ask for less"):
        list(reader.feed(chunk))


def test_more_tool_calls_than_allowed_are_refused() -> None:
    with pytest.raises(ModelError, match="more than 1 tools"):
        read(STREAM, max_tool_calls=1)


@given(st.binary(max_size=300))
def test_any_bytes_end_in_parts_or_a_model_error(data: bytes) -> None:
    try:
        parts = read(b"data: " + data)
    except ModelError:
        return
    assert isinstance(parts[-1], AnswerEnd)
