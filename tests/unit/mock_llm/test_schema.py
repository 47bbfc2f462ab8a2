"""The published JSON Schema is the one that the structs give, and it judges as the loader does."""

import json
from importlib import resources

import pytest
import yaml
from jsonschema import Draft202012Validator

from mock_llm.scenario import json_schema


def _bundled() -> str:
    return resources.files("mock_llm").joinpath("scenarios", "performance.yaml").read_text(encoding="utf-8")


def test_the_published_file_is_up_to_date() -> None:
    text = resources.files("mock_llm").joinpath("scenario.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(json_schema()))


def test_the_bundled_scenario_is_valid() -> None:
    Draft202012Validator(json_schema()).validate(yaml.safe_load(_bundled()))


@pytest.mark.parametrize("broken", [{"name": "x", "rulez": []}, {"rules": []}, {"name": "x", "rules": [{"name": 3}]}])
def test_a_broken_scenario_is_invalid(broken: dict[str, object]) -> None:
    assert not Draft202012Validator(json_schema()).is_valid(broken)
