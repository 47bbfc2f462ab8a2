"""What the README shows works as shown."""

import re
from importlib import resources

from mock_llm.scenario import FAULT_KINDS, parse_scenario

README = resources.files("mock_llm").joinpath("README.md").read_text(encoding="utf-8")


def test_the_scenario_of_the_readme_is_valid() -> None:
    (scenario,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert [rule.name for rule in parse_scenario(scenario).rules] == ["answer", "ask"]


def test_the_readme_has_a_row_for_every_kind_of_fault() -> None:
    assert [kind for kind in FAULT_KINDS if f"| `{kind}" not in README] == []
