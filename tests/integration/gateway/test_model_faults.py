"""When the model or its tool calls go wrong: the turn says so, and the next turn on the same connection is whole."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

QUESTION = "Analyse my system performance"

TOOLS = """
name: tools
rules:
  - name: told
    match: {tool_result: true}
    reply: [{text: ["Done."]}]
  - name: unknown-tool
    match: {user: "unknown tool"}
    reply: [{tool_call: {name: launch_rocket, arguments: {}}}]
  - name: bad-arguments
    match: {user: "bad arguments"}
    reply: [{tool_call: {name: calculator, arguments: {expression: "2 +"}}}]
  - name: wrong-argument
    match: {user: "wrong argument"}
    reply: [{tool_call: {name: calculator, arguments: {formula: "1"}}}]
  - name: code
    match: {user: "code"}
    reply: [{tool_call: {name: calculator, arguments: {expression: "__import__('os').getpid()"}}}]
  - name: two-tools
    match: {user: "two tools"}
    reply:
      - tool_call: {name: calculator, arguments: {expression: "6 * 7"}}
      - tool_call: {name: search, arguments: {query: "why averages hide slow requests"}}
"""

ENDLESS = """
name: endless
rules:
  - name: again
    match: {}
    reply:
      - tool_call: {id: mine, name: calculator, arguments: {expression: "1 + 1"}}
      - tool_call: {id: mine, name: calculator, arguments: {expression: "2 + 2"}}
"""

NESTED = """
name: nested
rules:
  - name: told
    match: {tool_result: true}
    reply: [{text: ["Done."]}]
  - name: nested
    match: {}
    reply: [{tool_call: {name: calculator, arguments: '%s'}}]
"""

WORDY = (
    msgspec.json.encode(
        {
            "name": "wordy",
            "rules": [
                {
                    "name": "asked",
                    "match": {"user": "tool"},
                    "reply": [{"tool_call": {"name": "calculator", "arguments": {"expression": "1 + " * 1500 + "1"}}}],
                },
                {"name": "quotes", "match": {}, "reply": [{"text": ['"' * 2500] * 3}]},
            ],
        }
    ).decode()
    + "\n"
)

STALL = """
name: stall
rules:
  - name: stall
    match: {}
    reply: [{text: ["one", "two", "three"]}]
    fault: {kind: stall, after_event: 2}
"""


@pytest.fixture(scope="module")
async def module_tools_gateway(
    anyio_backend: object, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningGateway]:
    assert anyio_backend
    async with (
        running_mock_llm(TOOLS) as llm,
        running_gateway(make_settings(tmp_path_factory.mktemp("tools"), llm.openai_url)) as running,
    ):
        yield running


@pytest.fixture
def tools_gateway(module_tools_gateway: RunningGateway, tenant_id: str) -> RunningGateway:
    return module_tools_gateway.of_tenant(tenant_id)


async def one_turn(gateway: RunningGateway, content: str) -> list[dict[str, Any]]:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        return await client.chat(content)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        pytest.param("please break off", "model_broke_off", "broke off", id="connection cut in the middle"),
        pytest.param("provider error", "model_broke_off", "error", id="error event in the middle"),
        pytest.param("overloaded", "model_refused", "503", id="refused with 503"),
    ],
)
async def test_a_failing_model_ends_the_turn_with_a_code_and_advice(
    gateway: RunningGateway, content: str, code: str, words: str
) -> None:
    events = await one_turn(gateway, content)
    assert events[-1]["type"] == "error_event"
    assert events[-1]["payload"]["code"] == code
    assert words in events[-1]["payload"]["text"]
    assert events[-1]["run_id"] == events[0]["run_id"]


async def test_the_turn_after_a_failed_one_is_whole(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        failed = await client.chat("please break off", thread_id="talk")
        whole = await client.chat(QUESTION, thread_id="talk")
    assert failed[-1]["type"] == "error_event"
    assert whole[-1]["type"] == "agent_completed"


async def test_a_model_that_cannot_be_reached_is_said_to_be_unavailable(
    tmp_path: Path, unused_port_url: str, anyio_backend: object
) -> None:
    assert anyio_backend
    async with running_gateway(make_settings(tmp_path, unused_port_url)) as gateway:
        events = await one_turn(gateway, QUESTION)
    assert events[-1]["payload"]["code"] == "model_unreachable"
    assert "unavailable" in events[-1]["payload"]["text"]


async def test_a_model_that_falls_silent_ends_the_turn(tmp_path: Path) -> None:
    async with (
        running_mock_llm(STALL) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, llm_timeout=0.3)) as gateway,
    ):
        events = await one_turn(gateway, QUESTION)
    assert events[-1]["payload"]["code"] == "model_timeout"


async def test_a_model_that_never_stops_calling_tools_meets_the_turn_limit(tmp_path: Path) -> None:
    async with (
        running_mock_llm(ENDLESS) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, max_steps=3)) as gateway,
    ):
        events = await one_turn(gateway, QUESTION)
    assert events[-1]["payload"]["code"] == "turn_limit"
    assert [event["type"] for event in events].count("tool_completed") == 6


async def test_calls_under_one_id_are_told_apart_and_the_model_is_answered_under_the_same_ids(tmp_path: Path) -> None:
    async with (
        running_mock_llm(ENDLESS) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, max_steps=3)) as gateway,
    ):
        events = await one_turn(gateway, QUESTION)
        asked = msgspec.json.decode(llm.requests()[-1].body or b"")["messages"]
    begun = [event["payload"]["tool_call_id"] for event in events if event["type"] == "tool_executing"]
    ended = [event["payload"]["tool_call_id"] for event in events if event["type"] == "tool_completed"]
    told = [message["tool_call_id"] for message in asked if message["role"] == "tool"]
    called = [call["id"] for message in asked for call in message.get("tool_calls", ())]
    assert "mine" in begun
    assert len(set(begun)) == 6
    assert sorted(begun) == sorted(ended)
    assert told == called
    assert set(called) < set(begun)


@pytest.mark.parametrize(
    ("depth", "words"), [(64, "no such argument"), (65, "nested"), (900, "nested"), (5000, "JSON")]
)
async def test_deeply_nested_arguments_are_a_fault_of_the_call_and_every_client_hears_of_it(
    tmp_path: Path, depth: int, words: str
) -> None:
    async with (
        running_mock_llm(NESTED % ('{"a":' * depth + "1" + "}" * depth)) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, thinking_roles=["nobody"])) as gateway,
        # Whoever is not shown everything has each event decoded.
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
    ):
        await client.receive()
        events = await client.chat(QUESTION)
        await client.send({"type": "ping"})
        pong = await client.receive()
    completed = next(event for event in events if event["type"] == "tool_completed")
    assert words in completed["payload"]["result"]["error"]
    assert (events[-1]["type"], pong["type"]) == ("agent_completed", "pong")


@pytest.mark.parametrize("content", ["Tell me", "Use a tool"])
async def test_an_answer_that_would_be_too_large_to_send_meets_the_turn_limit(tmp_path: Path, content: str) -> None:
    limits = {
        "max_inbound_bytes": 4096,
        "max_answer_bytes": 5900,
        "max_tool_result_bytes": 5900,
        "max_outbound_bytes": 14_100,
    }
    async with (
        running_mock_llm(WORDY) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, **limits)) as gateway,
    ):
        events = await one_turn(gateway, content)
    # As JSON every quote has two bytes, so the second piece of text would make ten thousand.
    assert (events[-1]["type"], events[-1]["payload"]["code"]) == ("error_event", "turn_limit")
    assert max(len(msgspec.json.encode(event)) for event in events) <= limits["max_outbound_bytes"]


async def test_a_tool_whose_result_is_too_large_fails_and_the_model_is_told(tmp_path: Path) -> None:
    async with (
        running_mock_llm(TOOLS) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, max_tool_result_bytes=100)) as gateway,
    ):
        events = await one_turn(gateway, "two tools")
    results = {event["payload"]["tool_name"]: event["payload"] for event in events if event["type"] == "tool_completed"}
    assert {name: payload["status"] for name, payload in results.items()} == {"calculator": "ok", "search": "error"}
    assert "the limit is 100" in results["search"]["result"]["error"]
    assert events[-1]["type"] == "agent_completed"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("unknown tool", "there is no tool 'launch_rocket'; there are: calculator, search", id="unknown"),
        pytest.param("bad arguments", "a number was expected at character 4, found the end", id="does not parse"),
        pytest.param("wrong argument", "formula: no such argument", id="wrong name"),
        pytest.param("code", "is not part of arithmetic", id="code instead of arithmetic"),
    ],
)
async def test_a_wrong_tool_call_is_reported_in_its_pair_and_the_turn_goes_on(
    tools_gateway: RunningGateway, content: str, words: str
) -> None:
    events = await one_turn(tools_gateway, content)
    completed = next(event for event in events if event["type"] == "tool_completed")
    executing = next(event for event in events if event["type"] == "tool_executing")
    assert completed["payload"]["status"] == "error"
    assert words in completed["payload"]["result"]["error"]
    assert completed["payload"]["tool_call_id"] == executing["payload"]["tool_call_id"]
    assert events[-1]["type"] == "agent_completed"


async def test_tools_of_one_answer_are_paired_by_their_ids(tools_gateway: RunningGateway) -> None:
    events = await one_turn(tools_gateway, "two tools")
    results = {event["payload"]["tool_name"]: event["payload"] for event in events if event["type"] == "tool_completed"}
    assert results["calculator"]["result"]["value"] == 42
    assert results["search"]["result"]["results"][0]["id"] == "latency-percentiles"
    begun = [event["payload"]["tool_call_id"] for event in events if event["type"] == "tool_executing"]
    assert sorted(begun) == sorted(result["tool_call_id"] for result in results.values())


FAILS_TWICE = """
name: fails-twice
rules:
  - name: fails-twice
    match: {}
    sequence:
      - fault: {kind: http_error, status: 503, message: busy}
      - fault: {kind: http_error, status: 503, message: busy}
      - reply: [{text: ["at last"]}]
"""

REFUSES = """
name: refuses
rules:
  - name: refuses
    match: {}
    fault: {kind: http_error, status: 400, message: refused}
"""


async def test_a_call_that_failed_before_its_first_word_is_tried_again(tmp_path: Path) -> None:
    async with (
        running_mock_llm(FAILS_TWICE) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, llm_retries=2, llm_retry_delay=0.01)) as gateway,
    ):
        events = await one_turn(gateway, QUESTION)
        calls = len(llm.requests())
    assert events[-1]["payload"]["text"] == "at last"
    assert calls == 3


async def test_a_call_that_was_refused_for_good_is_not_tried_again(tmp_path: Path) -> None:
    async with (
        running_mock_llm(REFUSES) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, llm_retry_delay=0.01)) as gateway,
    ):
        events = await one_turn(gateway, QUESTION)
        calls = len(llm.requests())
    assert (events[-1]["payload"]["code"], calls) == ("model_refused", 1)


async def test_a_model_that_keeps_failing_is_left_alone_for_a_while(llm: RunningMockLLM, tmp_path: Path) -> None:
    async with running_gateway(make_settings(tmp_path, llm.openai_url, breaker_failures=2)) as gateway:
        for _ in range(2):
            await one_turn(gateway, "please break off")
        calls = len(llm.requests())
        events = await one_turn(gateway, QUESTION)
    assert events[-1]["payload"]["code"] == "model_unreachable"
    assert "repeated failures" in events[-1]["payload"]["text"]
    assert len(llm.requests()) == calls
