"""The search over the bundled notes."""

import anyio
import pytest

from gateway.errors import ToolError
from gateway.tools.ranking import Ranking
from gateway.tools.search import Search

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("how do I analyse my system performance", "system-performance-method"),
        ("connection pool size", "connection-pools"),
        ("retries and circuit breaker", "circuit-breaker"),
        ("resume websocket after reconnect", "websocket-reconnect"),
    ],
)
async def test_the_best_note_comes_first(query: str, best: str) -> None:
    search = await anyio.to_thread.run_sync(Search.bundled)
    found = await search.run({"query": query})
    assert found["results"][0]["id"] == best


async def test_a_question_about_nothing_known_finds_nothing() -> None:
    search = await anyio.to_thread.run_sync(Search.bundled)
    found = await search.run({"query": "zebra crossing"})
    assert found["results"] == []


@pytest.mark.parametrize(
    "arguments", [{}, {"query": ""}, {"query": None}, {"query": "x" * 300}, {"query": "a", "n": 1}]
)
async def test_wrong_arguments_are_named(arguments: dict[str, object]) -> None:
    search = await anyio.to_thread.run_sync(Search.bundled)
    with pytest.raises(ToolError):
        await search.run(arguments)


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    ranking = Ranking(["disk full", "disk slow", "disk disk", "network slow"])
    best, _ = ranking.search("disk full", limit=1)[0]
    assert best == 0
