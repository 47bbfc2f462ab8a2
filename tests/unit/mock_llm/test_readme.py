"""What the README shows works as shown."""

import re
from importlib import resources

import pytest
from msgspec import Struct
from msgspec.structs import fields

from mock_llm.command import app
from mock_llm.scenario import (
    FAULT_KINDS,
    Block,
    Chaos,
    Hold,
    HttpError,
    Match,
    Outcome,
    RateLimit,
    Rule,
    Scenario,
    TextPattern,
    Timing,
    ToolCall,
    Usage,
    parse_scenario,
)
from mock_llm.scenario.placeholders import PLACEHOLDERS

README = resources.files("mock_llm").joinpath("README.md").read_text(encoding="utf-8")


def test_the_scenario_of_the_readme_is_valid() -> None:
    (scenario,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert [rule.name for rule in parse_scenario(scenario).rules] == ["answer", "ask"]


def test_the_readme_has_a_row_for_every_kind_of_fault() -> None:
    assert [kind for kind in FAULT_KINDS if f"| `{kind}" not in README] == []


@pytest.mark.parametrize(
    "struct",
    [Scenario, Rule, Outcome, Block, ToolCall, Match, TextPattern, Timing, Usage, Hold, RateLimit, Chaos, HttpError],
)
def test_the_readme_names_every_field_of_the_scenario_language(struct: type[Struct]) -> None:
    assert [each.name for each in fields(struct) if f"`{each.name}" not in README] == []


def test_the_readme_names_every_placeholder_and_every_command() -> None:
    commands = [each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands]
    assert [name for name in PLACEHOLDERS if f"`{{{{{name}}}}}`" not in README] == []
    assert [name for name in commands if f"`mock-llm {name}" not in README] == []
