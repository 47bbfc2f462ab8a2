"""The pytest plugin, used as a project would use it."""

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
pytest_plugins = ["mock_llm.testing.plugin"]
"""
TESTS = '''
import httpx
import pytest

SCENARIO = """
name: mine
rules:
  - name: r
    reply: [{text: mine}]
"""
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.anyio
@pytest.mark.mock_llm(SCENARIO)
async def test_async(mock_llm):
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{mock_llm.openai_url}/chat/completions", json=BODY)
    assert answer.json()["choices"][0]["message"]["content"] == "mine"
    assert [entry.rule for entry in mock_llm.requests()] == ["r"]


@pytest.mark.mock_llm("scenario.yaml")
def test_sync(mock_llm_server):
    answer = httpx.post(f"{mock_llm_server.openai_url}/chat/completions", json=BODY)
    assert answer.json()["choices"][0]["message"]["content"] == "from a file"


def test_default(mock_llm_server):
    assert mock_llm_server.model.scenario.name == "performance"
'''


def test_the_fixtures_serve_what_the_marker_names(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    pytester.makefile(".yaml", scenario="name: file\nrules:\n  - {name: r, reply: [{text: from a file}]}\n")
    left_out = [part for name in ("cacheprovider", "asyncio", "hypothesispytest") for part in ("-p", f"no:{name}")]
    result = pytester.runpytest_inprocess("-q", "--strict-markers", *left_out)
    # The asynchronous test runs once for each backend that anyio offers.
    passed = result.parseoutcomes()
    assert passed.get("failed", 0) == 0
    assert passed["passed"] >= 4
