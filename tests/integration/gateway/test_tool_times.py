"""Tools that take their time: side by side, each with its own limit, within the limit of the turn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from chat_protocol.events import AnyEvent, ErrorCode, ToolCompleted, ToolExecuting
from gateway.channels.access import Access
from gateway.errors import TurnError
from gateway.identity.principal import Principal
from gateway.ids import IdGenerator
from gateway.model.llm_gateway import LLMGateway
from gateway.model.resilience import ResilientModel
from gateway.testing import make_settings, running_gateway
from gateway.testing.client import ChatClient
from gateway.tools.toolbox import Toolbox
from gateway.turns.context import UserExecutionContext
from gateway.turns.engine import EngineResult, ExecutionEngineFactory
from gateway.turns.turnstile import Turnstile
from mock_llm.testing import running_mock_llm

pytestmark = pytest.mark.anyio

TWO_TOOLS = """
name: two-tools
rules:
  - name: told
    match: {tool_result: true}
    reply: [{text: ["Done."]}]
  - name: asked
    match: {}
    reply:
      - tool_call: {name: partner, arguments: {name: "left"}}
      - tool_call: {name: partner, arguments: {name: "right"}}
"""

STALL = """
name: stall
rules:
  - name: stall
    match: {}
    reply: [{text: ["one", "two", "three"]}]
    fault: {kind: stall, after_event: 2}
"""


class Partner:
    """A tool whose calls wait until `meeting` of them run at a time."""

    name = "partner"
    description = "Meets the other call."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}}

    def __init__(self, *, meeting: int) -> None:
        self._meeting = meeting
        self._met = anyio.Event()
        self.running = 0
        self.ended = 0

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        self.running += 1
        try:
            if self.running == self._meeting:
                self._met.set()
            await self._met.wait()
        finally:
            self.ended += 1
        return {"met": arguments["name"]}


async def run_turn(folder: Path, tool: Partner, **settings: Any) -> tuple[EngineResult | TurnError, Sequence[AnyEvent]]:
    """How one turn of an engine ends that has this one tool, and its events."""
    events: list[AnyEvent] = []

    async def emit(event: AnyEvent) -> None:
        events.append(event)

    async def at_once() -> None:
        pass

    async with running_mock_llm(TWO_TOOLS) as llm:
        made = make_settings(folder, llm.openai_url, **settings)
        access = Access(channels={}, tools={}, thinking=["*"], tool_events=["*"])
        async with LLMGateway.open(made, Turnstile()) as model:
            engines = ExecutionEngineFactory(ResilientModel(model, made), Toolbox([tool]), access, IdGenerator(), made)
            principal = Principal("tenant", "alice", frozenset(), 1e12)
            context = UserExecutionContext.of(principal, thread_id="t", run_id="r", message_id="m")
            engine, _ = engines.create(context)
            question = [{"role": "user", "content": "go"}]
            try:
                return await engine.run(question, emit, may_emit=at_once), events
            except TurnError as error:
                return error, events


async def test_the_tools_of_one_answer_run_side_by_side(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        result, events = await run_turn(tmp_path, Partner(meeting=2))
    assert isinstance(result, EngineResult)
    assert result.text == "Done."
    assert [type(event) for event in events[:4]] == [ToolExecuting, ToolExecuting, ToolCompleted, ToolCompleted]
    ended = [event.payload for event in events if isinstance(event, ToolCompleted)]
    assert sorted(payload.result["met"] for payload in ended) == ["left", "right"]


async def test_a_tool_that_takes_too_long_is_stopped_and_the_model_is_told(tmp_path: Path) -> None:
    tool = Partner(meeting=3)
    with anyio.fail_after(20):
        result, events = await run_turn(tmp_path, tool, tool_timeout=0.1)
    ended = [event.payload for event in events if isinstance(event, ToolCompleted)]
    assert isinstance(result, EngineResult)
    assert result.text == "Done."
    assert [payload.status for payload in ended] == ["error", "error"]
    assert {payload.result["error"] for payload in ended} == {"partner took longer than 0.1 s"}
    assert all(payload.duration_ms >= 100 for payload in ended)
    assert tool.ended == 2


async def test_a_turn_whose_tools_take_too_long_ends_with_the_turn_limit_and_so_do_they(tmp_path: Path) -> None:
    tool = Partner(meeting=3)
    with anyio.fail_after(20):
        result, events = await run_turn(tmp_path, tool, turn_timeout=0.3)
    assert isinstance(result, TurnError)
    assert result.code is ErrorCode.TURN_LIMIT
    assert "longer than 0.3 s" in result.text
    assert tool.ended == 2
    assert [type(event) for event in events] == [ToolExecuting, ToolExecuting, ToolCompleted, ToolCompleted]


async def test_a_turn_that_takes_too_long_ends_with_the_turn_limit_and_the_next_one_runs(tmp_path: Path) -> None:
    async with (
        running_mock_llm(STALL) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, turn_timeout=0.3)) as gateway,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
    ):
        await client.receive()
        turns = [await client.chat("go", thread_id="talk") for _ in range(2)]
    for events in turns:
        assert events[-1]["type"] == "error_event"
        assert events[-1]["payload"]["code"] == "turn_limit"
        assert "longer than 0.3 s" in events[-1]["payload"]["text"]
