"""Every stream validates against the SDKs' own models, and their helpers put it together exactly."""

import json
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic
from msgspec.structs import replace
from openai import AsyncOpenAI

from integration.mock_llm.judged_answers import judged_answers
from integration.mock_llm.sdk_judges import judge_stream, judge_whole
from integration.mock_llm.stories import EVERYTHING
from mock_llm.scenario import Scenario, Timing
from mock_llm.testing import running_mock_llm
from mock_llm.wire import chat

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

Wire = tuple[str, dict[str, Any], str]
CHAT: Wire = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, "chat")
RESPONSES: Wire = ("/v1/responses", {"input": "hi"}, "responses")
MESSAGES: Wire = ("/v1/messages", {"max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}, "messages")
# By the fixed rule: 7 for the prompt; 5 for the thought, 11 and 15 for the calls, 5 for the text.
PROMPT_TOKENS, COMPLETION_TOKENS, REASONING_TOKENS = 7, 36, 5
WIRES = [pytest.param(CHAT, id="chat"), pytest.param(RESPONSES, id="responses"), pytest.param(MESSAGES, id="messages")]


def _events(body: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def _post(url: str, wire: Wire, **more: Any) -> str:
    path, body, _ = wire
    async with httpx.AsyncClient(base_url=url) as client:
        response = await client.post(path, json={"model": "m", **body, **more})
        assert response.status_code == 200
        return response.text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_is_one_that_the_sdk_knows(wire: Wire, stream: bool) -> None:
    path, _, protocol = wire
    scenarios: tuple[Scenario | str, ...] = (EVERYTHING, "performance")
    for scenario in scenarios:
        async with running_mock_llm(scenario) as llm:
            body = (await _post(llm.url, wire, stream=stream)).encode()
        assert (judge_stream(protocol, body) if stream else judge_whole(protocol, body)) == [], path


async def test_an_embeddings_answer_is_one_that_the_sdk_knows() -> None:
    async with running_mock_llm(EVERYTHING) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        response = await client.post("/v1/embeddings", json={"model": "m", "input": ["a", "b"]})
        assert judge_whole("embeddings", response.content) == []


@pytest.mark.parametrize(
    ("wire", "good", "broken", "problem"),
    [
        (CHAT, '"delta":{"content":"lo "}', '"delta":{"contnet":"lo "}', "no field 'contnet'"),
        (CHAT, '"delta":{"content":"lo "}', '"delta":{"content":7}', "no event that the SDK knows"),
        (CHAT, '"delta":{"content":"lo "}', '"delta":{"role":"assistant","content":"lo "}', "the role comes once"),
        (CHAT, '"finish_reason":"tool_calls"', '"finish_reason":null', "one finish_reason"),
        (CHAT, "data: [DONE]\n\n", "", "without [DONE]"),
        (CHAT, "data: [DONE]\n\n", "data: [DONE]\n", "in the middle of an event"),
        (CHAT, '"object":', '"object":}', "cannot be read"),
        (RESPONSES, '"sequence_number":4', '"sequence_number":5', "sequence numbers with a gap"),
        (RESPONSES, '"output_tokens_details":{"reasoning_tokens":5}', '"more":1', "no event that the SDK knows"),
        (RESPONSES, "event: response.completed", "event: response.complete", "stands above the type"),
        (RESPONSES, '"arguments":"{', '"argument":"{', "no event that the SDK knows"),
        (MESSAGES, "event: message_stop\n", "", "stands above the type"),
        (MESSAGES, '"index":1,"delta"', '"index":9,"delta"', "the helper raises"),
        (MESSAGES, '"stop_reason":"tool_use"', '"stop_reason":"tool"', "no event that the SDK knows"),
        (MESSAGES, '"input_tokens"', '"inputs_tokens"', "no event that the SDK knows"),
    ],
)
async def test_a_broken_frame_is_found(wire: Wire, good: str, broken: str, problem: str) -> None:
    async with running_mock_llm(EVERYTHING) as llm:
        body = await _post(llm.url, wire, stream=True)
    assert good in body
    problems = judge_stream(wire[2], body.replace(good, broken, 1).encode())
    assert any(problem in each for each in problems), problems


@pytest.mark.parametrize("timing", [Timing(), Timing(chunk_delay="1ms")], ids=["at once", "paced"])
async def test_a_test_that_emits_a_broken_frame_fails(monkeypatch: pytest.MonkeyPatch, timing: Timing) -> None:
    monkeypatch.setattr(chat, "_delta", lambda *_: {"contents": "x"})
    with pytest.raises(AssertionError, match="the SDK knows no field 'contents'"), judged_answers():
        async with running_mock_llm(replace(EVERYTHING, timing=timing)) as llm:
            await _post(llm.url, CHAT, stream=True)


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
    assert completion.usage.completion_tokens_details is not None
    assert (
        completion.usage.prompt_tokens,
        completion.usage.completion_tokens,
        completion.usage.total_tokens,
        completion.usage.completion_tokens_details.reasoning_tokens,
    ) == (PROMPT_TOKENS, COMPLETION_TOKENS, PROMPT_TOKENS + COMPLETION_TOKENS, REASONING_TOKENS)


async def test_the_responses_helper_reads_items_and_usage_exactly() -> None:
    async with (
        running_mock_llm(EVERYTHING) as llm,
        AsyncOpenAI(base_url=llm.openai_url, api_key="k", max_retries=0) as client,
        client.responses.stream(model="m", input="hi") as stream,
    ):
        response = await stream.get_final_response()
    assert [item.type for item in response.output] == ["reasoning", "function_call", "function_call", "message"]
    assert response.output_text == "Hällo wörld."
    calls = [item for item in response.output if item.type == "function_call"]
    assert [(call.name, call.arguments) for call in calls] == [
        ("search", '{"query":"größe"}'),
        ("calculator", '{"expression":"1+1"}'),
    ]
    messages = [item for item in response.output if item.type == "message"]
    assert [message.role for message in messages] == ["assistant"]
    assert response.usage is not None
    assert (
        response.usage.input_tokens,
        response.usage.output_tokens,
        response.usage.total_tokens,
        response.usage.output_tokens_details.reasoning_tokens,
    ) == (PROMPT_TOKENS, COMPLETION_TOKENS, PROMPT_TOKENS + COMPLETION_TOKENS, REASONING_TOKENS)


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
    assert (message.role, message.stop_reason) == ("assistant", "tool_use")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (PROMPT_TOKENS, COMPLETION_TOKENS)


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
