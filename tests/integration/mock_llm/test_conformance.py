"""Every stream validates against the SDKs' own models, and their helpers put it together exactly."""

import json
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message, RawMessageStreamEvent
from openai import AsyncOpenAI
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from integration.mock_llm.stories import EVERYTHING
from mock_llm.scenario import Scenario
from mock_llm.testing import running_mock_llm

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, ChatCompletionChunk, ChatCompletion)
RESPONSES = ("/v1/responses", {"input": "hi"}, ResponseStreamEvent, Response)
MESSAGES = (
    "/v1/messages",
    {"max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]},
    RawMessageStreamEvent,
    Message,
)
WIRES = [pytest.param(CHAT, id="chat"), pytest.param(RESPONSES, id="responses"), pytest.param(MESSAGES, id="messages")]
Wire = tuple[str, dict[str, Any], Any, Any]


def _events(body: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def _post(url: str, wire: Wire, **more: Any) -> str:
    path, body, _, _ = wire
    async with httpx.AsyncClient(base_url=url) as client:
        response = await client.post(path, json={"model": "m", **body, **more})
        assert response.status_code == 200
        return response.text


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "scenario", [pytest.param(EVERYTHING, id="everything"), pytest.param("performance", id="performance")]
)
async def test_every_event_of_a_stream_is_one_that_the_sdk_knows(wire: Wire, scenario: Scenario | str) -> None:
    async with running_mock_llm(scenario) as llm:
        adapter: TypeAdapter[Any] = TypeAdapter(wire[2])
        for event in _events(await _post(llm.url, wire, stream=True)):
            if event.get("type") != "ping":
                adapter.validate_python(event)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_whole_answer_is_one_that_the_sdk_knows(wire: Wire) -> None:
    async with running_mock_llm(EVERYTHING) as llm:
        TypeAdapter(wire[3]).validate_json(await _post(llm.url, wire))


async def test_an_embeddings_answer_is_one_that_the_sdk_knows() -> None:
    async with running_mock_llm(EVERYTHING) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        response = await client.post("/v1/embeddings", json={"model": "m", "input": ["a", "b"]})
        CreateEmbeddingResponse.model_validate_json(response.text)


async def test_responses_events_are_numbered_without_a_gap() -> None:
    async with running_mock_llm(EVERYTHING) as llm:
        events = _events(await _post(llm.url, RESPONSES, stream=True))
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_the_role_comes_once_in_a_chat_stream() -> None:
    async with running_mock_llm(EVERYTHING) as llm:
        events = _events(await _post(llm.url, CHAT, stream=True))
        assert ["role" in event["choices"][0]["delta"] for event in events].count(True) == 1
        assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


async def test_the_openai_helper_reads_role_text_arguments_and_usage_exactly() -> None:
    async with (
        running_mock_llm(EVERYTHING) as llm,
        AsyncOpenAI(base_url=llm.openai_url, api_key="k", max_retries=0) as client,
        client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "hi"}], stream_options={"include_usage": True}
        ) as stream,
    ):
        completion = await stream.get_final_completion()
    message = completion.choices[0].message
    assert completion.usage is not None
    assert (message.role, message.content) == ("assistant", "Hällo wörld.")
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls or ()] == [
        ("search", '{"query":"größe"}'),
        ("calculator", '{"expression":"1+1"}'),
    ]
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Let me think."
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.usage.completion_tokens_details is not None
    assert completion.usage.completion_tokens_details.reasoning_tokens == 5


async def test_the_responses_helper_reads_items_and_usage_exactly() -> None:
    async with (
        running_mock_llm(EVERYTHING) as llm,
        AsyncOpenAI(base_url=llm.openai_url, api_key="k", max_retries=0) as client,
        client.responses.stream(model="m", input="hi") as stream,
    ):
        response = await stream.get_final_response()
    assert [item.type for item in response.output] == ["reasoning", "function_call", "function_call", "message"]
    assert response.output_text == "Hällo wörld."
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens == 5


async def test_the_anthropic_helper_reads_blocks_and_usage_exactly() -> None:
    async with (
        running_mock_llm(EVERYTHING) as llm,
        AsyncAnthropic(base_url=llm.url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=1000, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        message = await stream.get_final_message()
    blocks = [block.to_dict() for block in message.content]
    assert [block["type"] for block in blocks] == ["thinking", "tool_use", "tool_use", "text"]
    assert (blocks[0]["thinking"], blocks[3]["text"]) == ("Let me think.", "Hällo wörld.")
    assert [block["input"] for block in blocks[1:3]] == [{"query": "größe"}, {"expression": "1+1"}]
    assert blocks[0]["signature"]
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens > 0


async def test_all_protocols_count_the_same_tokens() -> None:
    async with running_mock_llm(EVERYTHING) as llm:
        chat = json.loads(await _post(llm.url, CHAT))["usage"]
        responses = json.loads(await _post(llm.url, RESPONSES))["usage"]
        messages = json.loads(await _post(llm.url, MESSAGES))["usage"]
        assert (
            (chat["prompt_tokens"], chat["completion_tokens"])
            == (responses["input_tokens"], responses["output_tokens"])
            == (messages["input_tokens"], messages["output_tokens"])
        )
