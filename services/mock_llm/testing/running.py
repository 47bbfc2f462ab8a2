"""Start a mock model in process, reach into it, stop it."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import start_blocking_portal

from mock_llm.barriers import Barriers
from mock_llm.clock import ControlledClock
from mock_llm.engine import MockModel
from mock_llm.journal import JournalEntry
from mock_llm.scenario.loading import bundled_scenario, load_scenario, parse_scenario
from mock_llm.scenario.model import Scenario
from mock_llm.server import make_model, serve
from mock_llm.settings import MockLLMSettings


@final
@dataclass(frozen=True, slots=True)
class RunningMockLLM:
    """A mock model that serves.

    Attributes:
        url: where it listens, without a path.
        model: the engine; barriers, clock and journal hang on it.
        admin_token: opens the admin API, for a test in another thread or process.
    """

    url: str
    model: MockModel
    admin_token: str

    @property
    def openai_url(self) -> str:
        """The `base_url` of an OpenAI client."""
        return f"{self.url}/v1"

    @property
    def barriers(self) -> Barriers:
        """The barriers; only for a test in the server's own event loop."""
        return self.model.barriers

    @property
    def clock(self) -> ControlledClock:
        """The clock; only for a test in the server's own event loop."""
        return self.model.clock

    def requests(self, namespace: str | None = None) -> list[JournalEntry]:
        """What came in so far, oldest first."""
        return self.model.journal.entries(namespace)


@asynccontextmanager
async def running_mock_llm(
    scenario: Scenario | str | Path = "performance", settings: MockLLMSettings | None = None
) -> AsyncIterator[RunningMockLLM]:
    """Serve a scenario on the running backend for the length of the block.

    Args:
        scenario: one built in Python, the path of a file, YAML text (anything with a newline), or a bundled name.
        settings: bounds; loopback and a free port unless they say otherwise.

    Raises:
        ScenarioError: the scenario cannot be used.

    Leaving the block, by cancellation too, closes every connection.
    """
    chosen = settings or MockLLMSettings()
    token = chosen.admin_token or secrets.token_urlsafe(16)
    chosen = replace(chosen, admin_token=token)
    model = make_model(chosen, await anyio.to_thread.run_sync(resolve_scenario, scenario))

    async def run(*, task_status: TaskStatus[str]) -> None:
        await serve(chosen, model=model, task_status=task_status)

    async with anyio.create_task_group() as tasks:
        url = await tasks.start(run)
        try:
            yield RunningMockLLM(url, model, token)
        finally:
            tasks.cancel_scope.cancel()


@contextmanager
def mock_llm_in_thread(
    scenario: Scenario | str | Path = "performance",
    settings: MockLLMSettings | None = None,
    *,
    backend: str = "asyncio",
) -> Iterator[RunningMockLLM]:
    """The same for synchronous tests: the server runs in a thread of its own."""
    with (
        start_blocking_portal(backend) as portal,
        portal.wrap_async_context_manager(running_mock_llm(scenario, settings)) as running,
    ):
        yield running


def resolve_scenario(scenario: Scenario | str | Path) -> Scenario:
    """A scenario in any of the forms that the test API takes."""
    if isinstance(scenario, Scenario):
        return scenario
    if isinstance(scenario, Path):
        return load_scenario(scenario)
    if "\n" in scenario:
        return parse_scenario(scenario)
    return bundled_scenario(scenario)
