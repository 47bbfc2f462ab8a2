"""What people put in front of a provider works against the mock: sync SDKs, an agent framework, plain ASGI."""

import json

import httpx
import pytest
from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from integration.mock_llm.stories import EVERYTHING, saying
from mock_llm.asgi import BrokenOffError, MockLLMApp
from mock_llm.engine import MockModel
from mock_llm.scenario import Block, Disconnect, Match, Rule, Scenario, Timing, ToolCall
from mock_llm.testing import mock_llm_in_thread, running_mock_llm

BODY = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})


def test_the_synchronous_openai_helper_reads_the_stream() -> None:
    with (
        mock_llm_in_thread(EVERYTHING) as llm,
        OpenAI(base_url=llm.openai_url, api_key="k", max_retries=0) as client,
        client.chat.completions.stream(model="m", messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        assert stream.get_final_completion().choices[0].message.content == "Hällo wörld."


def test_the_synchronous_responses_helper_reads_the_stream() -> None:
    with (
        mock_llm_in_thread(EVERYTHING) as llm,
        OpenAI(base_url=llm.openai_url, api_key="k", max_retries=0) as client,
        client.responses.stream(model="m", input="hi") as stream,
    ):
        assert stream.get_final_response().output_text == "Hällo wörld."


def test_the_synchronous_anthropic_helper_reads_the_stream() -> None:
    with (
        mock_llm_in_thread(EVERYTHING) as llm,
        Anthropic(base_url=llm.url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=100, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        assert stream.get_final_text() == "Hällo wörld."


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the framework runs on asyncio alone
async def test_an_agent_of_pydantic_ai_runs_its_tool_loop() -> None:
    scenario = Scenario(
        name="agent",
        rules=(
            Rule(name="answer", match=Match(tool_result="42"), reply=(Block(text=("It is ", "42.")),)),
            Rule(
                name="ask",
                match=Match(tool="measure"),
                reply=(Block(tool_call=ToolCall(name="measure", arguments={"what": "latency"})),),
            ),
        ),
    )
    async with running_mock_llm(scenario) as llm, AsyncOpenAI(base_url=llm.openai_url, api_key="k") as client:
        agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))

        @agent.tool_plain
        def measure(what: str) -> str:
            return f"{what} is 42"

        result = await agent.run("measure it")
        assert result.output == "It is 42."
        assert [entry.rule for entry in llm.requests()] == ["ask", "answer"]


@pytest.mark.anyio
async def test_the_asgi_app_answers_as_the_server_does() -> None:
    app = MockLLMApp(MockModel(EVERYTHING))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://asgi") as inside,
        running_mock_llm(EVERYTHING) as llm,
        httpx.AsyncClient(base_url=llm.url) as outside,
    ):
        answers = [await client.post("/v1/chat/completions", content=BODY) for client in (inside, outside)]
        assert answers[0].content == answers[1].content
        assert answers[0].headers["content-type"] == answers[1].headers["content-type"]


@pytest.mark.anyio
async def test_the_asgi_app_paces_and_breaks_off() -> None:
    paced = MockLLMApp(MockModel(saying(("a", "b"), timing=Timing(first_token="1ms", chunk_delay="1ms"))))
    broken = MockLLMApp(MockModel(saying("x", fault=Disconnect(after_event=1))))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(paced), base_url="http://asgi") as client:
        assert "[DONE]" in (await client.post("/v1/chat/completions", content=BODY)).text
    async with httpx.AsyncClient(transport=httpx.ASGITransport(broken), base_url="http://asgi") as client:
        with pytest.raises((BrokenOffError, BaseExceptionGroup)):
            await client.post("/v1/chat/completions", content=BODY)
