"""Chat Completions through the official client: what it reads is what the scenario says."""

from typing import Any

import pytest
from openai import APIConnectionError, APIError, AsyncOpenAI, InternalServerError
from openai.types.chat import ChatCompletionMessageParam

from mock_llm.testing import running_mock_llm

pytestmark = [
    pytest.mark.anyio,
    # The SDK leaves its own generators unfinished when a stream breaks; trio says so.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

SEARCH: Any = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Analyse my system performance"}]
AFTER_TOOL: list[ChatCompletionMessageParam] = [
    *ASK,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "p99 is 640 ms"},
]


async def test_the_first_turn_thinks_and_calls_the_tool_on_offer() -> None:
    async with (
        running_mock_llm() as llm,
        AsyncOpenAI(base_url=llm.openai_url, api_key="k", max_retries=0) as client,
        client.chat.completions.stream(model="mock-model", messages=ASK, tools=[SEARCH]) as stream,
    ):
        message = (await stream.get_final_completion()).choices[0].message
        assert message.role == "assistant"
        assert message.tool_calls
        assert message.tool_calls[0].function.name == "search"
        assert message.tool_calls[0].function.arguments == (
            '{"query":"system performance metrics p99 latency database"}'
        )


async def test_the_turn_after_the_tool_result_recommends_and_ends() -> None:
    async with (
        running_mock_llm() as llm,
        AsyncOpenAI(base_url=llm.openai_url, api_key="k", max_retries=0) as client,
        client.chat.completions.stream(model="mock-model", messages=AFTER_TOOL, tools=[SEARCH]) as stream,
    ):
        choice = (await stream.get_final_completion()).choices[0]
        assert choice.finish_reason == "stop"
        assert choice.message.content is not None
        assert "Three changes help most" in choice.message.content


async def _count_until_error(url: str, text: str, error: type[APIError]) -> int:
    events = 0
    async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0) as client:
        try:
            stream = await client.chat.completions.create(
                model="mock-model", stream=True, messages=[{"role": "user", "content": text}]
            )
            async with stream:
                async for _ in stream:
                    events += 1
        except error:
            return events
    raise AssertionError("the stream ended without an error")


async def test_a_break_in_the_stream_comes_after_exactly_the_events_before_it() -> None:
    async with running_mock_llm() as llm:
        assert await _count_until_error(llm.openai_url, "please break off", APIConnectionError) == 5


async def test_an_error_in_the_stream_comes_after_exactly_the_events_before_it() -> None:
    async with running_mock_llm() as llm:
        assert await _count_until_error(llm.openai_url, "provider error", APIError) == 3


async def test_an_error_instead_of_a_stream_has_the_status_of_the_scenario() -> None:
    async with running_mock_llm() as llm:
        assert await _count_until_error(llm.openai_url, "overloaded", InternalServerError) == 0
