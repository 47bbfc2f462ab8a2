"""What the engine answers, without a server: turns, sequences, templates, dialects, errors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_llm.engine import MockModel
from mock_llm.exchange import Exchange
from mock_llm.http.request import HttpRequest
from mock_llm.scenario import Block, Chaos, HttpError, Match, Outcome, RateLimit, Rule, Scenario, ToolCall, Usage

USER = {"role": "user", "content": "hi"}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}


@pytest.fixture
def anyio_backend() -> str:
    """The engine asks the running loop for the time; one backend is enough here."""
    return "trio"


pytestmark = pytest.mark.anyio


def _scenario(*outcomes: str, **rule: Any) -> Scenario:
    sequence = tuple(Outcome(reply=(Block(text=text),)) for text in outcomes)
    return Scenario(name="s", rules=(Rule(name="r", sequence=sequence, **rule),))


def _reply(*blocks: Block, **rule: Any) -> Scenario:
    return Scenario(name="s", rules=(Rule(name="r", reply=blocks, **rule),))


def _ask(model: MockModel, /, wire: str = "chat", headers: dict[bytes, bytes] | None = None, **body: Any) -> Exchange:
    asked = {"model": "m", **body}
    if wire == "responses":
        asked.setdefault("input", "hi")
    else:
        asked.setdefault("messages", [USER])
    if wire == "messages":
        asked.setdefault("max_tokens", 1000)
    return model.handle(HttpRequest("POST", PATHS[wire], headers or {}, json.dumps(asked).encode()))


def _json(exchange: Exchange) -> Any:
    assert exchange.body is not None
    return json.loads(exchange.body)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@contextmanager
def _frozen(model: MockModel) -> Iterator[MockModel]:
    """A model outside any event loop: its clock stands, since there is no loop to ask."""
    clock = model.clock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio, "current_time", lambda: 0.0)
        clock.freeze()
    yield model


def _text(exchange: Exchange) -> Any:
    return _json(exchange)["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("end", "third"), [("repeat_last", "two"), ("start_over", "one"), ("no_match", None)], ids=lambda value: str(value)
)
async def test_a_sequence_ends_as_it_says(end: Any, third: str | None) -> None:
    model = MockModel(_scenario("one", "two", sequence_end=end))
    answers = [_ask(model) for _ in range(3)]
    assert [_text(answer) for answer in answers[:2]] == ["one", "two"]
    assert (_text(answers[2]) if answers[2].status == 200 else None) == third


async def test_each_turn_of_an_agent_loop_has_its_outcome() -> None:
    turns = tuple(Outcome(reply=(Block(text=text),)) for text in ("first", "second"))
    model = MockModel(Scenario(name="s", rules=(Rule(name="r", turns=turns),)))
    call: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": []}
    result = {"role": "tool", "tool_call_id": "x", "content": "42"}
    conversations = ([USER], [USER, call, result], [USER, call, result, call, result])
    answers = [_ask(model, messages=messages) for messages in conversations]
    assert [_text(answer) for answer in answers[:2]] == ["first", "second"]
    assert "fails on turns" in _json(answers[2])["error"]["message"]


async def test_the_steps_count_alike_in_every_protocol() -> None:
    model = MockModel(_reply(Block(text="x"), match=Match(turn=2, tool_result="42")))
    chat = [USER, {"role": "assistant", "content": "a"}, {"role": "tool", "tool_call_id": "x", "content": "42"}]
    responses = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "x", "output": "42"},
    ]
    messages = [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "42"}]},
    ]
    assert _ask(model, messages=chat).status == 200
    assert _ask(model, "responses", input=responses).status == 200
    assert _ask(model, "messages", messages=messages).status == 200


async def test_templates_reach_texts_and_arguments() -> None:
    blocks = (
        Block(text=("You said ", "{{user}}.")),
        Block(tool_call=ToolCall(name="t", arguments={"q": ["{{model}}"]})),
    )
    choice = _json(_ask(MockModel(_reply(*blocks, templates=True))))["choices"][0]["message"]
    assert choice["content"] == "You said hi."
    assert choice["tool_calls"][0]["function"]["arguments"] == '{"q":["m"]}'


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("reasoning_content", {"content": "yes", "reasoning_content": "hm, well"}),
        ("reasoning", {"content": "yes", "reasoning": "hm, well"}),
        ("think_tags", {"content": "<think>hm, well</think>yes"}),
    ],
)
async def test_reasoning_speaks_the_dialect_of_the_scenario_streamed_and_whole(dialect: Any, expected: Any) -> None:
    model = MockModel(_reply(Block(reasoning=("hm, ", "well")), Block(text="yes"), reasoning_dialect=dialect))
    message = _json(_ask(model))["choices"][0]["message"]
    assert {key: message[key] for key in expected} == expected
    streamed = _ask(model, stream=True)
    assert streamed.body is not None
    read: dict[str, str] = {}
    for line in streamed.body.decode().split("\n\n"):
        if line.startswith("data: {"):
            for key, value in json.loads(line[6:])["choices"][0]["delta"].items():
                read[key] = read.get(key, "") + value
    assert {key: read[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("body", "reason", "sequence"),
    [
        ({}, "end_turn", None),
        ({"max_tokens": 1}, "max_tokens", None),
        ({"stop_sequences": ["two"]}, "stop_sequence", "two"),
    ],
)
async def test_anthropic_hears_its_own_stop_reasons(body: Any, reason: str, sequence: str | None) -> None:
    found = _json(_ask(MockModel(_reply(Block(text="one two three"))), "messages", **body))
    assert (found["stop_reason"], found["stop_sequence"]) == (reason, sequence)


async def test_a_response_that_was_cut_is_incomplete() -> None:
    found = _json(_ask(MockModel(_reply(Block(text="one two three"))), "responses", max_output_tokens=1))
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


async def test_arguments_may_be_broken_json() -> None:
    model = MockModel(_reply(Block(tool_call=ToolCall(name="t", arguments='{"a": '))))
    call = _json(_ask(model))["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"a": '
    assert _json(_ask(model, "messages"))["content"][0]["input"] == {"INVALID_JSON": '{"a": '}


async def test_scripted_usage_shows_in_every_protocol() -> None:
    model = MockModel(_reply(Block(text="x"), usage=Usage(prompt=100, completion=20, reasoning=5, cached=40)))
    chat, responses, messages = (_json(_ask(model, wire))["usage"] for wire in PATHS)
    assert (chat["prompt_tokens"], chat["prompt_tokens_details"]["cached_tokens"], chat["total_tokens"]) == (
        100,
        40,
        120,
    )
    assert responses["output_tokens_details"] == {"reasoning_tokens": 5}
    assert (messages["input_tokens"], messages["cache_read_input_tokens"], messages["output_tokens"]) == (60, 40, 20)


async def test_usage_is_null_until_the_last_chunk_when_it_is_asked_for() -> None:
    body = _ask(MockModel(_reply(Block(text="x"))), stream=True, stream_options={"include_usage": True}).body
    assert body is not None
    chunks = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line.startswith("data: {")]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["prompt_tokens"] > 0) == ([], True)


async def test_anthropic_gets_its_own_rate_headers_and_error() -> None:
    limit = RateLimit(requests_per_minute=1)
    scenario = Scenario(name="s", rate_limit=limit, rules=(Rule(name="r", reply=(Block(text="x"),)),))
    model = MockModel(scenario)
    first, second = _ask(model, "messages"), _ask(model, "messages")
    assert dict(first.headers)[b"anthropic-ratelimit-requests-remaining"] == b"0"
    assert (second.status, _json(second)["error"]["type"]) == (429, "rate_limit_error")


async def test_chaos_at_full_rate_strikes_every_request() -> None:
    chaos = (Chaos(rate=1.0, fault=HttpError(status=529)),)
    model = MockModel(Scenario(name="s", chaos=chaos, rules=(Rule(name="r", reply=(Block(text="x"),)),)))
    assert [_ask(model, wire).status for wire in PATHS] == [529, 529, 529]
    assert all(entry.chaos for entry in model.journal.entries())


async def test_namespaces_that_are_not_used_are_forgotten_first() -> None:
    model = MockModel(_scenario("one", "two"), namespaces=2)
    texts = [_text(_ask(model, headers={b"x-mock-namespace": name})) for name in (b"a", b"b", b"a", b"c", b"b")]
    assert texts == ["one", "one", "two", "one", "one"]


async def test_an_unknown_path_and_a_wrong_method_get_an_error_of_the_provider() -> None:
    model = MockModel(_reply(Block(text="x")))
    answers = [model.handle(HttpRequest("GET", path, {}, b"")) for path in ("/v1/nope", "/v1/chat/completions")]
    assert [answer.status for answer in answers] == [404, 405]
    assert all("message" in _json(answer)["error"] for answer in answers)


@pytest.mark.parametrize("header", [{}, {b"anthropic-version": b"2023-06-01"}])
async def test_models_are_listed_and_found_for_either_provider(header: dict[bytes, bytes]) -> None:
    model = MockModel(Scenario(name="s", models=("a", "b")))
    listed = _json(model.handle(HttpRequest("GET", "/v1/models", header, b"")))
    assert [each["id"] for each in listed["data"]] == ["a", "b"]
    assert _json(model.handle(HttpRequest("GET", "/v1/models/b", header, b"")))["id"] == "b"
    assert model.handle(HttpRequest("GET", "/v1/models/c", header, b"")).status == 404


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYWORDS = ["type", "properties", "required", "items", "minItems", "minLength", "maximum", "enum", "anyOf", "$ref"]
WORDS = st.sampled_from(["object", "array", "string", "integer", "#", "a", "b"])
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    JSON | WORDS,
    lambda inner: st.dictionaries(st.sampled_from([*KEYWORDS, "a", "b"]), inner | WORDS, max_size=4),
    max_leaves=8,
)
FIELDS = ["model", "messages", "input", "max_tokens", "tools", "tool_choice", "n", "stop", "system", "response_format"]


def _refused_or_answered(exchange: Exchange) -> None:
    assert exchange.status in (200, 400, 404)
    if exchange.status != 200:
        assert isinstance(_json(exchange)["error"]["message"], str)


@settings(max_examples=60)
@given(st.sampled_from([*PATHS.values(), "/v1/embeddings", "/v1/models/x"]), st.binary(max_size=60) | JSON.map(_dumped))
def test_any_body_is_answered_or_refused_in_the_providers_words(path: str, body: bytes) -> None:
    with _frozen(MockModel(_reply(Block(text="x")))) as model:
        exchange = model.handle(HttpRequest("POST", path, {}, body))
        assert exchange.status in (400, 404, 405)
        assert isinstance(_json(exchange)["error"]["message"], str)


@settings(max_examples=100)
@given(st.sampled_from(list(PATHS)), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_any_value_of_a_field_is_answered_or_refused(wire: str, fields: dict[str, Any]) -> None:
    with _frozen(MockModel(_reply(Block(text="x")))) as model:
        _refused_or_answered(_ask(model, wire, **fields))


@settings(max_examples=100)
@given(SCHEMAS)
def test_any_schema_is_answered_or_refused(schema: Any) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    with _frozen(MockModel(_reply(Block(text="x")))) as model:
        _refused_or_answered(_ask(model, response_format=asked))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "minItems": 10**9, "items": {"type": "null"}}, "/minItems: 1000000000 is more than"),
        ({"type": "string", "minLength": 10**12}, "/minLength"),
        ({"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}}, "insists on more than"),
        ({"properties": {"a": {"type": "string", "minLength": "x"}}}, "/properties/a/minLength: 'x' is not allowed"),
    ],
)
async def test_a_schema_that_cannot_be_filled_is_refused_with_the_place(schema: Any, reason: str) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    refused = _ask(MockModel(_reply(Block(text="x"))), response_format=asked)
    error = _json(refused)["error"]
    assert (refused.status, error["param"], error["code"]) == (400, "response_format", "invalid_json_schema")
    assert reason in error["message"]
