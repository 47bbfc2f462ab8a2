"""What a request asks for is honoured: n, stop, max_tokens, tool_choice, response_format, stream_options."""

from typing import Any

import httpx
import pytest

from integration.mock_llm.stories import EVERYTHING, saying
from mock_llm.scenario import Scenario
from mock_llm.testing import running_mock_llm

pytestmark = pytest.mark.anyio

SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 3}},
            "required": ["query", "limit"],
        },
    },
}


async def _chat(scenario: Scenario, **body: Any) -> dict[str, Any]:
    async with running_mock_llm(scenario) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
        response = await client.post("/v1/chat/completions", json=asked)
        found: dict[str, Any] = response.json()
        assert response.status_code == 200, found
        return found


async def test_n_gives_so_many_choices_and_counts_them_all() -> None:
    one, three = [await _chat(saying("one two three"), n=count) for count in (1, 3)]
    assert [choice["index"] for choice in three["choices"]] == [0, 1, 2]
    assert three["usage"]["completion_tokens"] == 3 * one["usage"]["completion_tokens"]


async def test_stop_ends_the_text_before_the_stop_word() -> None:
    found = await _chat(saying(("one tw", "o three")), stop=["two"])
    assert (found["choices"][0]["message"]["content"], found["choices"][0]["finish_reason"]) == ("one ", "stop")


async def test_max_tokens_cuts_and_says_length() -> None:
    found = await _chat(saying("one two three four"), max_completion_tokens=2)
    assert found["choices"][0]["message"]["content"] == "one two"
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["completion_tokens"] == 2


async def test_tool_choice_none_leaves_the_tool_calls_out() -> None:
    message = (await _chat(EVERYTHING, tools=[SEARCH], tool_choice="none"))["choices"][0]["message"]
    assert "tool_calls" not in message


async def test_a_required_tool_is_called_with_arguments_that_its_schema_allows() -> None:
    choice = (await _chat(saying("no tools here"), tools=[SEARCH], tool_choice="required"))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "search", "arguments": '{"query":"hi","limit":3}'}


async def test_a_named_tool_is_the_only_one_called() -> None:
    choice = {"type": "function", "function": {"name": "calculator"}}
    message = (await _chat(EVERYTHING, tools=[SEARCH], tool_choice=choice))["choices"][0]["message"]
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["calculator"]


async def test_a_json_schema_gets_an_answer_that_fits_it() -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "score": {"type": "number"}},
        "required": ["answer", "score"],
    }
    given = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    found = await _chat(saying("plain"), response_format=given)
    assert found["choices"][0]["message"]["content"] == '{"answer":"plain","score":0}'


async def test_a_json_answer_of_the_scenario_is_left_as_it_is() -> None:
    found = await _chat(saying('{"mine": 1}'), response_format={"type": "json_object"})
    assert found["choices"][0]["message"]["content"] == '{"mine": 1}'


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
        ({"n": 0}, "n"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "xml"}}, "response_format"),
    ],
)
async def test_a_wrong_field_gets_the_providers_error_with_its_name(body: dict[str, Any], param: str) -> None:
    async with running_mock_llm(saying("x")) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
        response = await client.post("/v1/chat/completions", json=asked)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param


async def test_a_body_that_is_not_json_gets_the_providers_error() -> None:
    async with running_mock_llm(saying("x")) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        response = await client.post("/v1/chat/completions", content=b'{"model": ')
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"


async def test_anthropic_insists_on_max_tokens_in_its_own_words() -> None:
    async with running_mock_llm(saying("x")) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        response = await client.post("/v1/messages", json=asked)
        found = response.json()
        assert (response.status_code, found["type"], found["error"]["type"]) == (400, "error", "invalid_request_error")
        assert "max_tokens" in found["error"]["message"]
        assert found["request_id"] == response.headers["request-id"]


async def test_a_request_that_no_rule_wants_hears_which_came_near_and_what_failed() -> None:
    async with (
        running_mock_llm(
            "name: picky\nrules:\n  - name: wants-model\n    match: {model: gpt-*, user: hi}\n    reply: [{text: x}]\n"
        ) as llm,
        httpx.AsyncClient(base_url=llm.url) as client,
    ):
        asked = {"model": "claude", "messages": [{"role": "user", "content": "hi"}]}
        response = await client.post("/v1/chat/completions", json=asked)
        assert response.status_code == 404
        assert "'wants-model' fails on model" in response.json()["error"]["message"]


async def test_the_same_text_has_the_same_embedding_and_another_text_another() -> None:
    async with running_mock_llm(saying("x")) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        asked = {"model": "m", "input": ["a", "a", "b"], "dimensions": 8}
        first, second, third = [
            each["embedding"] for each in (await client.post("/v1/embeddings", json=asked)).json()["data"]
        ]
        assert first == second != third
        assert len(first) == 8
        assert sum(value * value for value in first) == pytest.approx(1.0)
