"""A test holds streams, moves time, reads the journal and keeps to its namespace; in process and over the admin API."""

import anyio
import anyio.lowlevel
import httpx
import pytest
from anyio.abc import TaskGroup
from openai import AsyncOpenAI, InternalServerError
from structlog.testing import capture_logs

from integration.mock_llm.stories import EVERYTHING, saying
from mock_llm.client import MockLLMClient
from mock_llm.errors import BarrierError, ControlError
from mock_llm.scenario import Block, Hold, HttpError, Match, Outcome, RateLimit, Rule, Scenario, Timing
from mock_llm.server import serve
from mock_llm.settings import MockLLMSettings
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

ASKED = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
HELD = saying(("a", "b", "c"), hold=(Hold(barrier="middle", after_event=2),))


class _Reader:
    """Reads one stream in the background and counts its events."""

    def __init__(self, llm: RunningMockLLM, headers: dict[str, str] | None = None) -> None:
        self._llm = llm
        self._headers = headers or {}
        self.events = 0
        self.finished = anyio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        async with (
            httpx.AsyncClient(base_url=self._llm.url, headers=self._headers) as client,
            client.stream("POST", "/v1/chat/completions", json=ASKED) as response,
        ):
            task_status.started()
            async for line in response.aiter_lines():
                self.events += line.startswith("data: ")
        self.finished.set()


async def _reading(tasks: TaskGroup, llm: RunningMockLLM, headers: dict[str, str] | None = None) -> _Reader:
    reader = _Reader(llm, headers)
    await tasks.start(reader.run)
    return reader


def _admin(llm: RunningMockLLM) -> MockLLMClient:
    return MockLLMClient(llm.url, llm.admin_token)


async def test_a_stream_waits_at_its_barrier_until_it_is_released() -> None:
    with anyio.fail_after(60):
        async with running_mock_llm(HELD) as llm, anyio.create_task_group() as tasks:
            reader = await _reading(tasks, llm)
            await llm.barriers.reached("middle")
            assert llm.requests()[0].events_sent == 2
            assert not reader.finished.is_set()
            llm.barriers.release("middle")
            await reader.finished.wait()
            assert reader.events == 6


async def test_a_client_that_leaves_at_a_barrier_is_noted_with_what_it_had() -> None:
    with anyio.fail_after(60):
        async with running_mock_llm(HELD) as llm, anyio.create_task_group() as tasks:
            await _reading(tasks, llm)
            await llm.barriers.reached("middle")
            entry = llm.requests()[0]
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                while entry.state == "open":
                    await anyio.lowlevel.checkpoint()
        assert (entry.state, entry.events_sent, entry.events_total) == ("disconnected", 2, 6)


async def test_barriers_work_over_the_admin_api() -> None:
    with anyio.fail_after(60):
        async with running_mock_llm(HELD) as llm, _admin(llm) as admin, anyio.create_task_group() as tasks:
            reader = await _reading(tasks, llm)
            await admin.wait_for_barrier("middle")
            assert await admin.release("middle", streams=1) == 1
            await reader.finished.wait()


async def test_waiting_for_streams_that_do_not_come_ends_with_an_error() -> None:
    async with running_mock_llm(HELD) as llm, _admin(llm) as admin:
        with pytest.raises(BarrierError, match="0 of 2 streams"):
            await admin.wait_for_barrier("middle", streams=2, timeout=0.01)
        with pytest.raises(ControlError, match="no barrier 'middel'; it has middle"):
            await admin.release("middel")


async def test_thirty_seconds_of_thinking_take_no_time() -> None:
    scenario = saying("done", timing=Timing(first_token="30s"))
    with anyio.fail_after(60):
        async with running_mock_llm(scenario) as llm, anyio.create_task_group() as tasks:
            llm.clock.freeze()
            reader = await _reading(tasks, llm)
            await anyio.wait_all_tasks_blocked()
            llm.clock.advance(29.9)
            await anyio.wait_all_tasks_blocked()
            assert reader.events == 0
            llm.clock.advance(0.1)
            await reader.finished.wait()


async def test_the_clock_obeys_the_admin_api() -> None:
    scenario = saying("done", timing=Timing(first_token="30s"))
    with anyio.fail_after(60):
        async with running_mock_llm(scenario) as llm, _admin(llm) as admin, anyio.create_task_group() as tasks:
            await admin.freeze()
            reader = await _reading(tasks, llm)
            assert await admin.sleepers() == 1
            await admin.advance(30)
            await reader.finished.wait()
            with pytest.raises(ControlError, match="advance"):
                await admin.advance(-1)


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_the_admin_api_refuses_a_caller_without_the_token(token: str | None) -> None:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with running_mock_llm(HELD) as llm, httpx.AsyncClient(base_url=llm.url, headers=headers) as client:
        assert (await client.get("/mock/journal")).status_code == 401


async def test_namespaces_do_not_see_each_other() -> None:
    scenario = Scenario(
        name="sequence",
        rules=(Rule(name="r", sequence=tuple(Outcome(reply=(Block(text=text),)) for text in ("first", "second"))),),
    )

    async def ask(client: httpx.AsyncClient, namespace: str) -> str:
        asked = {**ASKED, "stream": False}
        response = await client.post("/v1/chat/completions", json=asked, headers={"x-mock-namespace": namespace})
        return str(response.json()["choices"][0]["message"]["content"])

    async with (
        running_mock_llm(scenario) as llm,
        _admin(llm) as admin,
        httpx.AsyncClient(base_url=llm.url) as client,
    ):
        assert [await ask(client, name) for name in ("a", "b", "a", "a")] == ["first", "first", "second", "second"]
        assert len(await admin.requests("a")) == 3
        await admin.reset("a")
        assert await admin.requests("a") == []
        assert [await ask(client, name) for name in ("a", "b")] == ["first", "second"]


async def test_api_keys_make_namespaces_that_do_not_show_the_key() -> None:
    async with running_mock_llm(EVERYTHING) as llm:
        for key in ("secret-one", "secret-two"):
            async with AsyncOpenAI(base_url=llm.openai_url, api_key=key) as client:
                await client.models.list()
        names = {entry.namespace for entry in llm.requests()}
        assert len(names) == 2
        assert not any("secret" in name for name in names)


async def test_the_journal_tells_retries_and_the_reuse_of_a_connection() -> None:
    scenario = Scenario(
        name="flaky",
        rules=(
            Rule(
                name="flaky",
                sequence=(
                    Outcome(fault=HttpError(status=503, retry_after="1ms", retry_after_form="milliseconds")),
                    Outcome(reply=(Block(text="ok"),)),
                ),
            ),
        ),
    )
    async with running_mock_llm(scenario) as llm, AsyncOpenAI(base_url=llm.openai_url, api_key="k") as client:
        await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        seen = [(entry.status, entry.retry, entry.connection, entry.connection_request) for entry in llm.requests()]
        assert seen == [(503, 0, 1, 1), (200, 1, 1, 2)]


async def test_an_error_that_says_not_to_retry_is_not_retried() -> None:
    scenario = Scenario(name="final", rules=(Rule(name="r", fault=HttpError(status=503, should_retry=False)),))
    async with running_mock_llm(scenario) as llm, AsyncOpenAI(base_url=llm.openai_url, api_key="k") as client:
        with pytest.raises(InternalServerError):
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        assert len(llm.requests()) == 1


async def test_the_rules_report_names_the_unused_and_the_shadowed() -> None:
    scenario = Scenario(
        name="rules",
        rules=(
            Rule(name="hi", match=Match(user="hi"), reply=(Block(text="x"),)),
            Rule(name="hi-again", match=Match(user="hi", stream=True), reply=(Block(text="y"),)),
        ),
    )
    async with (
        running_mock_llm(scenario) as llm,
        _admin(llm) as admin,
        httpx.AsyncClient(base_url=llm.url) as client,
    ):
        await client.post("/v1/chat/completions", json=ASKED)
        report = await admin.rules()
        assert report.fired == {"hi": 1, "hi-again": 0}
        assert report.unused == ["hi-again"]
        assert report.shadowed == [{"rule": "hi-again", "by": "hi"}]


async def test_a_scenario_can_be_replaced_and_a_broken_one_is_refused() -> None:
    async with (
        running_mock_llm(EVERYTHING) as llm,
        _admin(llm) as admin,
        httpx.AsyncClient(base_url=llm.url) as client,
    ):
        await admin.use("name: new\nrules:\n  - name: only\n    reply: [{text: fresh}]\n")
        with pytest.raises(ControlError, match="there is no field 'ruels'"):
            await admin.use("name: broken\nruels: []\n")
        answer = (await client.post("/v1/chat/completions", json={**ASKED, "stream": False})).json()
        assert answer["choices"][0]["message"]["content"] == "fresh"


async def test_the_rate_limit_counts_and_its_headers_live() -> None:
    scenario = Scenario(
        name="limited",
        rate_limit=RateLimit(requests_per_minute=2, tokens_per_minute=1000),
        rules=(Rule(name="r", reply=(Block(text="x"),)),),
    )
    async with running_mock_llm(scenario) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        llm.clock.freeze()
        answers = [await client.post("/v1/chat/completions", json=ASKED) for _ in range(3)]
        llm.clock.advance(30)
        answers.append(await client.post("/v1/chat/completions", json=ASKED))
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-tokens"] == "1000"
    assert answers[1].headers["x-ratelimit-reset-requests"] == "1m0s"
    assert (answers[2].headers["retry-after"], answers[2].headers["retry-after-ms"]) == ("30", "30000")
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"


async def test_a_rule_that_fires_without_new_tool_results_is_reported_as_a_loop() -> None:
    scenario = saying("again", loop_limit=2)
    messages = [{"role": "user", "content": "hi"}]
    answers = []
    with capture_logs() as logs:
        async with running_mock_llm(scenario) as llm, httpx.AsyncClient(base_url=llm.url) as client:
            for _ in range(5):
                answers.append(await client.post("/v1/chat/completions", json={"model": "m", "messages": messages}))
                messages += [{"role": "assistant", "content": "again"}]
            assert llm.requests()[-1].looping
    assert [log["rule"] for log in logs if log["event"] == "rule_loops"] == ["says", "says"]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422, 422]
    assert "runs in a loop" in answers[-1].json()["error"]["message"]


async def test_prometheus_can_read_the_counters() -> None:
    async with running_mock_llm(EVERYTHING) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        await client.post("/v1/chat/completions", json=ASKED)
        shown = (await client.get("/metrics")).text
        assert 'mock_llm_requests_total{protocol="chat",status="200"} 1.0' in shown
        assert 'mock_llm_answers_total{state="done"} 1.0' in shown


async def test_without_a_token_in_the_settings_the_admin_api_is_off() -> None:
    async with anyio.create_task_group() as tasks:

        async def run(*, task_status: anyio.abc.TaskStatus[str]) -> None:
            await serve(MockLLMSettings(), scenario=EVERYTHING, task_status=task_status)

        url = await tasks.start(run)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/mock/journal")).status_code == 403
        tasks.cancel_scope.cancel()
