"""Each row of the README's fault table, asserted against the installed SDKs."""

from importlib import resources

import msgspec
import pytest
from anthropic import AnthropicError, AsyncAnthropic
from httpx import HTTPError as AnthropicTransportError
from httpx2 import HTTPError as OpenAITransportError
from openai import AsyncOpenAI, OpenAIError

from integration.mock_llm.fault_table import NO_ERROR, ROWS, Row, as_markdown
from mock_llm.scenario import FAULT_KINDS, AnyFault, Block, Match, Rule, Scenario, TextPattern, ToolCall
from mock_llm.testing import running_mock_llm

pytestmark = [
    # The SDKs leave their own generators and responses unfinished when a stream breaks; trio and asyncio say so.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

# Long enough for a loopback answer on a busy machine; only the row that stalls waits for it.
PATIENCE_SECONDS = 1.0

REPLY = (
    Block(reasoning=("Think", "ing.")),
    Block(tool_call=ToolCall(name="search", arguments={"query": "größe"}, split=(4, 4))),
    Block(text=("Häl", "lo ", "you.")),
)
# One server answers all rows; the user's text chooses the fault.
SCENARIO = Scenario(
    name="faults",
    rules=tuple(
        Rule(
            name=row.name,
            match=Match(user=TextPattern(equals=row.name)),
            reply=REPLY,
            fault=msgspec.convert(row.fault, AnyFault),
        )
        for row in ROWS
    ),
)
Seen = tuple[str, str, int]


async def _openai(client: AsyncOpenAI, row: Row) -> Seen:
    events = 0
    try:
        stream = await client.chat.completions.create(
            model="m", stream=True, messages=[{"role": "user", "content": row.name}]
        )
        async with stream:
            async for _ in stream:
                events += 1
    except (OpenAIError, OpenAITransportError, ValueError) as error:
        return row.name, type(error).__name__, events
    return row.name, NO_ERROR, events


async def _anthropic(client: AsyncAnthropic, row: Row) -> Seen:
    events = 0
    try:
        stream = await client.messages.create(
            model="m", max_tokens=1000, stream=True, messages=[{"role": "user", "content": row.name}]
        )
        async with stream:
            async for _ in stream:
                events += 1
    except (AnthropicError, AnthropicTransportError, OpenAITransportError, ValueError) as error:
        return row.name, type(error).__name__, events
    return row.name, NO_ERROR, events


@pytest.mark.anyio
async def test_the_openai_sdk_does_what_each_row_says() -> None:
    async with (
        running_mock_llm(SCENARIO) as llm,
        AsyncOpenAI(base_url=llm.openai_url, api_key="k", max_retries=0, timeout=PATIENCE_SECONDS) as client,
    ):
        seen = [await _openai(client, row) for row in ROWS]
    assert seen == [(row.name, row.openai, row.openai_events) for row in ROWS]


@pytest.mark.anyio
async def test_the_anthropic_sdk_does_what_each_row_says() -> None:
    async with (
        running_mock_llm(SCENARIO) as llm,
        AsyncAnthropic(base_url=llm.url, api_key="k", max_retries=0, timeout=PATIENCE_SECONDS) as client,
    ):
        seen = [await _anthropic(client, row) for row in ROWS]
    assert seen == [(row.name, row.anthropic, row.anthropic_events) for row in ROWS]


def test_the_readme_shows_exactly_this_table() -> None:
    assert as_markdown() in resources.files("mock_llm").joinpath("README.md").read_text(encoding="utf-8")


def test_every_kind_of_fault_and_every_status_has_a_row() -> None:
    assert {row.fault["kind"] for row in ROWS} == set(FAULT_KINDS)
    statuses = {row.fault["status"] for row in ROWS if row.fault["kind"] == "http_error"}
    assert statuses == {400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529}
