"""Each row of the README's fault table, asserted against the installed SDKs."""

from importlib import resources

import msgspec
import pytest
from anthropic import AnthropicError, AsyncAnthropic
from httpx import HTTPError as AnthropicTransportError
from httpx2 import HTTPError as OpenAITransportError
from openai import AsyncOpenAI, OpenAIError

from integration.mock_llm.fault_table import NO_ERROR, ROWS, Row, as_markdown
from mock_llm.scenario import AnyFault, Block, Rule, Scenario, ToolCall
from mock_llm.testing import running_mock_llm

pytestmark = [
    pytest.mark.anyio,
    # The SDKs leave their own generators and responses unfinished when a stream breaks; trio and asyncio say so.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

# Long enough for a loopback answer on a busy machine; only the row that stalls waits for it.
PATIENCE_SECONDS = 1.0


def _scenario(row: Row) -> Scenario:
    reply = (
        Block(reasoning=("Think", "ing.")),
        Block(tool_call=ToolCall(name="search", arguments={"query": "größe"}, split=(4, 4))),
        Block(text=("Häl", "lo ", "you.")),
    )
    return Scenario(name="fault", rules=(Rule(name="r", reply=reply, fault=msgspec.convert(row.fault, AnyFault)),))


async def _openai(url: str) -> tuple[str, int]:
    events = 0
    async with AsyncOpenAI(base_url=url, api_key="k", max_retries=0, timeout=PATIENCE_SECONDS) as client:
        try:
            stream = await client.chat.completions.create(
                model="m", stream=True, messages=[{"role": "user", "content": "x"}]
            )
            async with stream:
                async for _ in stream:
                    events += 1
        except (OpenAIError, OpenAITransportError, ValueError) as error:
            return type(error).__name__, events
    return NO_ERROR, events


async def _anthropic(url: str) -> tuple[str, int]:
    events = 0
    async with AsyncAnthropic(base_url=url, api_key="k", max_retries=0, timeout=PATIENCE_SECONDS) as client:
        try:
            stream = await client.messages.create(
                model="m", max_tokens=1000, stream=True, messages=[{"role": "user", "content": "x"}]
            )
            async with stream:
                async for _ in stream:
                    events += 1
        except (AnthropicError, AnthropicTransportError, OpenAITransportError, ValueError) as error:
            return type(error).__name__, events
    return NO_ERROR, events


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_openai_sdk_does_what_the_table_says(row: Row) -> None:
    async with running_mock_llm(_scenario(row)) as llm:
        assert await _openai(llm.openai_url) == (row.openai, row.openai_events)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_anthropic_sdk_does_what_the_table_says(row: Row) -> None:
    async with running_mock_llm(_scenario(row)) as llm:
        assert await _anthropic(llm.url) == (row.anthropic, row.anthropic_events)


def test_the_readme_shows_exactly_this_table() -> None:
    assert as_markdown() in resources.files("mock_llm").joinpath("README.md").read_text(encoding="utf-8")
