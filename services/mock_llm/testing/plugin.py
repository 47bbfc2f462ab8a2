"""Fixtures: `pytest_plugins = ["mock_llm.testing.plugin"]`.

Mark a test with `@pytest.mark.mock_llm("scenario.yaml")`, or with a Scenario, to choose what is served.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mock_llm.scenario.model import Scenario
from mock_llm.testing.running import RunningMockLLM, mock_llm_in_thread, running_mock_llm


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "mock_llm(scenario): the scenario that the mock_llm fixtures serve")


@pytest.fixture
def mock_llm_scenario(request: pytest.FixtureRequest) -> Scenario | str | Path:
    """The scenario of the marker; override this fixture to serve one everywhere. A name ending in .yaml is a file."""
    marker = request.node.get_closest_marker("mock_llm")
    if marker is None:
        return "performance"
    chosen: Scenario | str | Path = marker.args[0]
    if isinstance(chosen, str) and "\n" not in chosen and chosen.endswith((".yaml", ".yml")):
        return request.path.parent / chosen
    return chosen


@pytest.fixture
async def mock_llm(mock_llm_scenario: Scenario | str | Path) -> AsyncIterator[RunningMockLLM]:
    """A mock model on the backend of the test."""
    async with running_mock_llm(mock_llm_scenario) as running:
        yield running


@pytest.fixture
def mock_llm_server(mock_llm_scenario: Scenario | str | Path) -> Iterator[RunningMockLLM]:
    """A mock model in a thread, for synchronous tests."""
    with mock_llm_in_thread(mock_llm_scenario) as running:
        yield running
