"""What others import stays where it is."""

import importlib

import pytest

SURFACE = {
    "mock_llm.scenario": ["Block", "Match", "Outcome", "Rule", "Scenario", "ToolCall", "load_scenario"],
    "mock_llm.testing": ["RunningMockLLM", "mock_llm_in_thread", "running_mock_llm"],
    "mock_llm.server": ["serve"],
    "mock_llm.settings": ["MockLLMSettings"],
    "mock_llm.client": ["MockLLMClient"],
    "mock_llm.asgi": ["MockLLMApp", "create_app"],
}


@pytest.mark.parametrize("module", SURFACE)
def test_the_names_are_there(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in SURFACE[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", ["mock_llm.scenario", "mock_llm.testing"])
def test_all_lists_what_exists(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in found.__all__ if not hasattr(found, name)] == []
