"""A recording of one mock model, replayed by another, says the same at the same pace, and holds no secret."""

from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from msgspec.structs import replace

from integration.mock_llm.stories import EVERYTHING
from mock_llm.errors import RecordingError
from mock_llm.recording.server import record
from mock_llm.scenario import Scenario, Timing, load_scenario
from mock_llm.settings import MockLLMSettings
from mock_llm.testing import running_mock_llm

pytestmark = pytest.mark.anyio

KEY = "my-very-own-key-0123456789"
ASKED: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": f"my key is {KEY} and sk-abcdefghijklmnopqrstuvwx"}],
}


async def _record(scenario: Scenario, path: Path, requests: list[dict[str, Any]]) -> list[bytes]:
    answers: list[bytes] = []
    async with running_mock_llm(scenario) as upstream, anyio.create_task_group() as tasks:

        async def run(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await record(MockLLMSettings(), upstream=upstream.openai_url, output=path, task_status=task_status)

        url = await tasks.start(run)
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
            answers = [(await client.post("/v1/chat/completions", json=asked)).content for asked in requests]
        tasks.cancel_scope.cancel()
    return answers


async def _load(path: Path) -> Scenario:
    return await anyio.to_thread.run_sync(load_scenario, path)


async def _message(scenario: Scenario, asked: dict[str, Any], speed: float = 1000.0) -> dict[str, Any]:
    settings = MockLLMSettings(speed=speed)
    async with (
        running_mock_llm(scenario, settings) as llm,
        httpx.AsyncClient(base_url=llm.url) as client,
    ):
        response = await client.post("/v1/chat/completions", json=asked)
        assert response.status_code == 200, response.text
        message: dict[str, Any] = response.json()["choices"][0]["message"]
    for call in message.get("tool_calls", ()):
        del call["id"]
    return message


async def test_the_client_of_a_recorder_gets_the_upstreams_own_bytes(tmp_path: Path) -> None:
    streamed = {**ASKED, "stream": True}
    async with running_mock_llm(EVERYTHING) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        headers = {"authorization": f"Bearer {KEY}"}
        direct = (await client.post("/v1/chat/completions", json=streamed, headers=headers)).content
    (recorded,) = await _record(EVERYTHING, tmp_path / "r.yaml", [streamed])
    assert len(recorded) == len(direct)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_replay_says_what_the_upstream_said(tmp_path: Path, stream: bool) -> None:
    await _record(EVERYTHING, tmp_path / "r.yaml", [{**ASKED, "stream": stream}])
    recorded = await _load(tmp_path / "r.yaml")
    plain = {**ASKED, "messages": [{"role": "user", "content": "my key is [redacted] and [redacted]"}]}
    assert await _message(recorded, plain) == await _message(EVERYTHING, plain)


async def test_a_recording_holds_no_secret(tmp_path: Path) -> None:
    await _record(EVERYTHING, tmp_path / "r.yaml", [ASKED])
    text = await anyio.Path(tmp_path / "r.yaml").read_text()
    assert KEY not in text
    assert "sk-abc" not in text
    assert "[redacted]" in text


async def test_the_pace_of_the_upstream_is_kept(tmp_path: Path) -> None:
    slow = replace(EVERYTHING, timing=Timing(first_token="50ms", chunk_delay="5ms"))
    await _record(slow, tmp_path / "r.yaml", [{**ASKED, "stream": True}])
    rule = (await _load(tmp_path / "r.yaml")).rules[0]
    timing = rule.outcomes()[0].timing
    assert timing is not None
    moments = [float(moment) for moment in timing.schedule]
    assert moments == sorted(moments)
    assert moments[0] >= 0.05
    # Deadlines count from the request, so a late first piece does not move the last one.
    assert moments[-1] >= 0.05 + 0.005 * (len(moments) - 1) - 0.001


async def test_equal_requests_become_a_sequence(tmp_path: Path) -> None:
    await _record(EVERYTHING, tmp_path / "r.yaml", [ASKED, ASKED])
    (rule,) = (await _load(tmp_path / "r.yaml")).rules
    assert len(rule.outcomes()) == 2


async def test_a_recorder_that_saw_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await _record(EVERYTHING, tmp_path / "r.yaml", [])
    assert caught.group_contains(RecordingError)
