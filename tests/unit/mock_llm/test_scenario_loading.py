"""Scenarios are read, or refused with file, line, column, field and the nearest valid name."""

import pytest

from mock_llm.errors import ScenarioError
from mock_llm.scenario import bundled_scenario, parse_scenario

GOOD = """
name: two rules
rules:
  - name: hello
    match: {user: hello}
    reply:
      - text: [Hel, lo]
  - name: rest
    reply: [{reasoning: hm}, {tool_call: {name: search, arguments: {query: x}}}]
"""


def test_reads_rules_in_order() -> None:
    scenario = parse_scenario(GOOD)
    assert [rule.name for rule in scenario.rules] == ["hello", "rest"]


def test_the_bundled_scenario_is_valid() -> None:
    assert bundled_scenario("performance").rules


def test_an_unknown_bundled_name_lists_the_names_there_are() -> None:
    with pytest.raises(ScenarioError, match="performance"):
        bundled_scenario("no-such-scenario")


def test_an_unknown_field_names_line_column_field_and_the_nearest_name() -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(GOOD.replace("match:", "mtach:"), source="s.yaml")
    (problem,) = caught.value.problems
    assert (problem.source, problem.line, problem.column, problem.field) == ("s.yaml", 5, 5, "rules[0].mtach")
    assert "'match'" in problem.hint


def test_every_typing_error_is_reported_with_what_was_meant() -> None:
    text = GOOD.replace("match:", "mtach:").replace("text:", "txet:").replace("arguments:", "argments:")
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    found = [(problem.line, problem.field, problem.hint) for problem in caught.value.problems]
    assert found[0] == (5, "rules[0].mtach", "did you mean 'match'?")
    assert ("did you mean 'text'?" in found[1][2], found[1][0]) == (True, 7)
    assert any(hint == "did you mean 'arguments'?" for _, _, hint in found)


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("{name: r, reply: [], fault: {kind: rest}}", "did you mean 'reset'?"),
        ("{name: r, reply: [], fault: {kind: stall, durations: 1}}", "did you mean 'duration'?"),
        ("{name: r, reply: [], finish_reason: stopp}", "did you mean 'stop'?"),
        ("{name: r, reply: [], reasoning_dialect: reasoning_contents}", "did you mean 'reasoning_content'?"),
        ("{name: r, reply: [], match: {user: {contain: x}}}", "did you mean 'contains'?"),
        ("{name: r, turns: [{replay: []}]}", "did you mean 'reply'?"),
    ],
)
def test_the_hint_names_what_is_valid_at_that_place(rule: str, hint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(f"name: a\nrules:\n  - {rule}\n")
    assert caught.value.problems[0].hint == hint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rules: [", "not YAML"),
        ("- a\n- b", "a scenario is a mapping"),
        ("", "a scenario is a mapping"),
        ("rules: []", "'name' is missing"),
        ("name: a\nname: b", "given twice"),
        ("name: a\nrules: 3", "Expected `array`"),
        ("name: a\nrules:\n  - {name: r, reply: [], fault: {kind: rest}}", "'rest' is not allowed here"),
        ("name: a\nrules:\n  - {name: r}", "exactly one of reply"),
        ("name: a\nrules:\n  - {name: r, reply: []}\n  - {name: r, reply: []}", "is taken by"),
        ("name: a\nrules:\n  - {name: r, reply: [{text: a, reasoning: b}]}", "exactly one of text"),
        ("name: a\nrules:\n  - {name: r, match: {user: {regex: '('}}, reply: []}", "regex does not compile"),
        ("name: a\nrules:\n  - {name: r, reply: [], timing: {first_token: soon}}", "not a duration"),
        ("name: a\nrules:\n  - {name: r, reply: [], fault: {kind: reset, after_event: 1, after_byte: 2}}", "one place"),
    ],
)
def test_a_broken_scenario_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ScenarioError, match=reason.replace("(", r"\(")) as caught:
        parse_scenario(text)
    assert all(problem.line >= 1 for problem in caught.value.problems)


TEMPLATES = """
name: templates
rules:
  - name: größe
    templates: true
    reply:
      - text: ["ä {{user}} said ", "and {{ modle }} {{header.X-Team}}"]
      - reasoning: |
          First line.
          Then {{heading}}.
  - name: steps
    turns:
      - templates: true
        reply: [{tool_call: {name: t, arguments: {deep: ["{{tool_results}}"]}}}]
      - reply: [{text: "left alone: {{anything}}"}]
"""


def test_a_name_that_no_request_can_fill_is_found_in_its_line_and_column() -> None:
    deep = "rules[1].turns[0].reply[0].tool_call.arguments.deep[0]"
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(TEMPLATES, source="s.yaml")
    assert str(caught.value).splitlines() == [
        "s.yaml:7:41: rules[0].reply[0].text[1]: no request can fill '{{ modle }}' (did you mean 'model'?)",
        "s.yaml:10:16: rules[0].reply[1].reasoning: no request can fill '{{heading}}' (did you mean 'header.NAME'?)",
        f"s.yaml:14:59: {deep}: no request can fill '{{{{tool_results}}}}' (did you mean 'tool_result'?)",
    ]


def test_a_name_like_no_other_gets_them_all_as_a_hint() -> None:
    text = "name: t\nrules: [{name: r, templates: true, reply: [{text: 'a\\''{{xyz}}'}]}]\n"
    with pytest.raises(ScenarioError, match=r"there are user, last_message, .*, header\.NAME"):
        parse_scenario(text)
