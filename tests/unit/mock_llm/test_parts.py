"""The small machines: templates, ids, limits, loops, instances of schemas, redaction, journal, settings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mock_llm.adapting import fill_template
from mock_llm.errors import SettingsError
from mock_llm.instances import instance
from mock_llm.journal import Journal
from mock_llm.limits import RateLimiter, written
from mock_llm.loops import LoopDetector
from mock_llm.matching import compile_rule
from mock_llm.provider_errors import retry_headers
from mock_llm.recording.redaction import redact
from mock_llm.requests import Message, ModelRequest
from mock_llm.scenario import HttpError, Match, RateLimit, Rule, Scenario, TextPattern, shadowed_rules
from mock_llm.seeds import IdentitySource
from mock_llm.settings import MockLLMSettings
from mock_llm.wire.template import BASE, HEAD, Frame, FrameKind, Template, fill


def _asked(*messages: tuple[str, str], **more: Any) -> ModelRequest:
    return ModelRequest(
        "chat", model=more.pop("model", "m"), messages=tuple(Message(*each) for each in messages), **more
    )


LOOPING = (("user", "go"), ("assistant", ""), ("tool", "same"))


@given(st.lists(st.lists(st.sampled_from([HEAD, BASE, b"x", b"yz"]), max_size=5), min_size=1, max_size=5))
def test_a_stamped_body_is_its_stamped_frames(shape: list[list[bytes]]) -> None:
    frames = [Frame(b"".join(parts), FrameKind.CONTENT) for parts in shape]
    values = {HEAD: b"<head>", BASE: b"<base>"}
    template = Template(frames, HEAD)
    assert template.stamp(values) == b"".join(template.stamp_each(values))
    assert template.stamp(values) == b"".join(fill(frame.data, values) for frame in frames)


def test_equal_requests_have_an_ordinal_and_others_do_not_shift_it() -> None:
    source, other = IdentitySource(1, "n"), IdentitySource(1, "n")
    first = [source.next(b"/", b"a").base for _ in range(2)]
    other.next(b"/", b"b")
    assert [other.next(b"/", b"a").base for _ in range(2)] == first
    assert first[0] != first[1]


@pytest.mark.parametrize("changed", [IdentitySource(2, "n"), IdentitySource(1, "m")])
def test_seed_and_namespace_change_the_ids(changed: IdentitySource) -> None:
    assert changed.next(b"/", b"a").base != IdentitySource(1, "n").next(b"/", b"a").base


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(model="gpt-*"), True),
        (Match(model="claude-*"), False),
        (Match(user="LATENCY"), True),
        (Match(user=TextPattern(contains="LATENCY", ignore_case=False)), False),
        (Match(user=TextPattern(regex=r"^what .* latency$")), True),
        (Match(system="careful"), True),
        (Match(last_message="p99"), True),
        (Match(tool_result=True), True),
        (Match(tool_result=False), False),
        (Match(tool_result="640"), True),
        (Match(turn=2), True),
        (Match(turn=1), False),
        (Match(user_turn=1), True),
        (Match(tool="search"), True),
        (Match(tool="other"), False),
        (Match(header={"X-Team": "blue"}), True),
        (Match(header={"x-absent": "blue"}), False),
        (Match(namespace="n?"), True),
        (Match(protocol="messages"), False),
        (Match(stream=False), True),
    ],
)
def test_each_condition_looks_at_its_own_field(match: Match, holds: bool) -> None:
    asked = _asked(
        ("system", "Be careful."),
        ("user", "what is the latency"),
        ("assistant", ""),
        ("tool", "p99 640"),
        model="gpt-9",
        tools={"search": {}},
        headers={b"x-team": b"Blue"},
        namespace="n1",
    )
    assert compile_rule(Rule(name="r", match=match, reply=())).matches(asked) is holds


def test_a_rule_behind_a_wider_one_is_shadowed() -> None:
    wide, narrow = Match(user="x"), Match(user="x", model="m")
    rules = (Rule(name="wide", match=wide, reply=()), Rule(name="narrow", match=narrow, reply=()))
    assert shadowed_rules(Scenario(name="s", rules=rules)) == [("narrow", "wide")]
    assert shadowed_rules(Scenario(name="s", rules=rules[::-1])) == []


def test_limits_refill_with_time() -> None:
    limiter = RateLimiter(RateLimit(tokens_per_minute=60), 0.0)
    assert limiter.admit(60, 0.0) is None
    refused = limiter.admit(10, 4.0)
    assert refused is not None
    assert (refused[0].status, refused[1]) == (429, 6.0)
    assert limiter.admit(10, 10.0) is None


@pytest.mark.parametrize(("seconds", "text"), [(0.12, "120ms"), (1, "1s"), (360, "6m0s"), (61.5, "1m1.5s")])
def test_resets_are_written_as_the_provider_writes_them(seconds: float, text: str) -> None:
    assert written(seconds) == text


def test_a_new_tool_result_ends_the_suspicion_of_a_loop() -> None:
    loops = LoopDetector()
    counts = [
        loops.fired("r", _asked(*LOOPING)),
        loops.fired("r", _asked(*LOOPING, ("assistant", ""), ("tool", "same"))),
        loops.fired("r", _asked(*LOOPING, ("assistant", ""), ("tool", "same"), ("assistant", ""), ("tool", "new"))),
    ]
    assert counts == [0, 1, 0]


def test_the_same_request_again_is_a_retry_and_no_loop() -> None:
    loops = LoopDetector()
    assert [loops.fired("r", _asked(*LOOPING)) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 3}}, "required": ["a"]},
        {"type": "array", "items": {"type": "integer", "minimum": 4}, "minItems": 2},
        {"enum": ["red", "green"]},
        {"anyOf": [{"type": "null"}, {"type": "string"}]},
        {"$defs": {"n": {"type": "number", "exclusiveMinimum": 1}}, "$ref": "#/$defs/n"},
        {"type": ["string", "null"], "maxLength": 2},
        {"type": "integer", "maximum": -5},
    ],
)
def test_an_instance_fits_its_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator(schema).validate(instance(schema, "hello"))


def test_a_schema_that_refers_to_itself_ends() -> None:
    instance({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]})


def test_templates_take_what_the_request_says_and_leave_the_unknown() -> None:
    asked = _asked(("user", "hi"), headers={b"x-a": b"1"})
    assert fill_template("{{user}} {{ model }} {{turn}} {{header.X-A}} {{nope}}", asked) == "hi m 1 1 {{nope}}"


@given(st.text("abc", min_size=1, max_size=5), st.text(max_size=20))
def test_a_known_secret_never_stays(secret: str, text: str) -> None:
    assert secret not in redact(text + secret, (secret,)).replace("[redacted]", "")


def test_a_journal_forgets_the_oldest_and_drops_bodies_first() -> None:
    journal = Journal(2, 5)
    entries = [journal.open("POST", "/", "n", 1, number, b"1234") for number in range(3)]
    assert journal.entries() == entries[1:]
    assert [entry.body for entry in journal.entries()] == [None, b"1234"]


def test_clearing_one_namespace_leaves_the_others() -> None:
    journal = Journal(9, 99)
    for namespace in ("a", "b", "a"):
        journal.open("POST", "/", namespace, 1, 1, b"x")
    journal.clear("a")
    assert [entry.namespace for entry in journal.entries()] == ["b"]


@pytest.mark.parametrize(
    ("variable", "value"), [("MOCK_LLM_PORT", "99999"), ("MOCK_LLM_PORT", "x"), ("MOCK_LLM_SPEED", "0")]
)
def test_a_wrong_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        MockLLMSettings.from_environment({variable: value})
    assert caught.value.name.upper().endswith(variable.removeprefix("MOCK_LLM_"))


def test_the_environment_fills_the_settings_and_the_token_stays_out_of_the_repr() -> None:
    settings = MockLLMSettings.from_environment({"MOCK_LLM_PORT": "8080", "MOCK_LLM_ADMIN_TOKEN": "hush"})
    assert (settings.port, settings.admin_token) == (8080, "hush")
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("seconds", (b"retry-after", b"1.5")),
        ("milliseconds", (b"retry-after-ms", b"1500")),
        ("date", (b"retry-after", b"Thu, 01 Jan 1970 00:00:11 GMT")),
    ],
)
def test_retry_after_is_said_in_every_form(form: Any, header: tuple[bytes, bytes]) -> None:
    fault = HttpError(status=429, retry_after="1500ms", retry_after_form=form)
    assert retry_headers(fault, 10.0) == (header,)


@pytest.mark.parametrize(("said", "header"), [(True, b"true"), (False, b"false")])
def test_an_error_can_say_whether_to_retry(said: bool, header: bytes) -> None:
    assert retry_headers(HttpError(status=429, should_retry=said), 10.0) == ((b"x-should-retry", header),)
