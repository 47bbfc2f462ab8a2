"""Serves a recorder until it is cancelled, and then writes what it has."""

from pathlib import Path

import anyio
import httpx
from anyio.abc import TaskStatus

from mock_llm.engine import MockModel
from mock_llm.http.delivery import Service
from mock_llm.recording.recorder import Recorder
from mock_llm.scenario.model import Scenario
from mock_llm.server import serve_service
from mock_llm.settings import MockLLMSettings

UPSTREAM_SECONDS = 600.0


async def record(
    settings: MockLLMSettings,
    *,
    upstream: str,
    output: Path,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Pass requests on to `upstream` and write a scenario to `output` when cancelled.

    Args:
        settings: where to bind and what is bounded how.
        upstream: base URL of an OpenAI-compatible provider, with its `/v1`.
        output: the scenario file to write.
        task_status: gets the base URL once connections are accepted.

    Raises:
        RecordingError: nothing was recorded, or the file cannot be written.
        OSError: the address cannot be bound.
    """
    model = MockModel(Scenario(name="recording"))
    async with httpx.AsyncClient(timeout=UPSTREAM_SECONDS, trust_env=False) as client:
        recorder = Recorder(upstream, client, model.clock)
        try:
            await serve_service(Service(model, settings, recorder), task_status=task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await recorder.save(output)
