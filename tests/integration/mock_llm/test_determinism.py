"""Two runs give the same bytes, whatever the concurrency and the order of arrival."""

from typing import Any

import anyio
import httpx
import pytest
from msgspec.structs import replace

from integration.mock_llm.stories import EVERYTHING
from mock_llm.scenario import Chaos, HttpError, Scenario, Timing
from mock_llm.testing import running_mock_llm

pytestmark = pytest.mark.anyio

CHAOTIC = replace(
    EVERYTHING,
    seed=3,
    timing=Timing(first_token="1ms", chunk_delay="1ms", jitter="2ms"),
    chaos=(Chaos(rate=0.3, fault=HttpError(status=429)),),
)


async def _run(scenario: Scenario, *, workers: int, backwards: bool = False) -> dict[tuple[int, str], list[Any]]:
    """Every answer, by request: status, headers and body of the equal ones, sorted."""
    found: dict[tuple[int, str], list[Any]] = {}
    limit = anyio.CapacityLimiter(workers)
    paths: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
        "/v1/responses": {"input": "hi"},
        "/v1/messages": {"max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
    }

    async def ask(client: httpx.AsyncClient, number: int, path: str) -> None:
        asked = {"model": "m", "stream": True, "user": f"u{number % 3}", **paths[path]}
        async with limit:
            response = await client.post(path, json=asked)
        headers = sorted((name, value) for name, value in response.headers.items())
        found.setdefault((number % 3, path), []).append((response.status_code, headers, response.content))

    async with (
        running_mock_llm(scenario) as llm,
        httpx.AsyncClient(base_url=llm.url) as client,
        anyio.create_task_group() as tasks,
    ):
        for number in range(6):
            for path in paths:
                tasks.start_soon(ask, client, 5 - number if backwards else number, path)
    return {key: sorted(answers) for key, answers in found.items()}


async def test_one_by_one_and_all_at_once_give_the_same_bytes() -> None:
    assert await _run(CHAOTIC, workers=1) == await _run(CHAOTIC, workers=18)


async def test_the_order_of_arrival_changes_nothing() -> None:
    assert await _run(CHAOTIC, workers=4) == await _run(CHAOTIC, workers=4, backwards=True)


async def test_another_seed_gives_other_ids() -> None:
    assert await _run(EVERYTHING, workers=4) != await _run(replace(EVERYTHING, seed=1), workers=4)


async def test_chaos_strikes_its_share_and_no_more() -> None:
    scenario = replace(EVERYTHING, chaos=(Chaos(rate=0.25, fault=HttpError(status=503)),))
    async with running_mock_llm(scenario) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        statuses = []
        for number in range(60):
            asked = {"model": f"m{number}", "messages": [{"role": "user", "content": "hi"}]}
            statuses.append((await client.post("/v1/chat/completions", json=asked)).status_code)
    assert 8 <= statuses.count(503) <= 22
    assert statuses.count(200) + statuses.count(503) == 60
