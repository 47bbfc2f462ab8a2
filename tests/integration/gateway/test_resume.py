"""Positions in a thread's log: resume, ack, and what is wrong with a position."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.delivery.connection import MAX_FOLLOWED
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

QUESTION = "Analyse my system performance"

HELD = """
name: held
rules:
  - name: held
    match: {}
    reply: [{text: ["one ", "two ", "three ", "four"]}]
    hold: [{barrier: middle, after_event: 3}]
"""


async def replay(gateway: RunningGateway, user: str = "alice", **fields: Any) -> dict[str, Any]:
    """The first event after a `resume` with these fields."""
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(user)) as client:
        await client.receive()
        await client.send({"type": "resume", **fields})
        return await client.receive()


async def finished_turn(gateway: RunningGateway) -> list[dict[str, Any]]:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        return await client.chat(QUESTION, thread_id="talk")


@pytest.mark.parametrize("seen", [0, 1, 5])
async def test_resume_sends_exactly_what_was_not_seen(gateway: RunningGateway, seen: int) -> None:
    events = await finished_turn(gateway)
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "resume", "thread_id": "talk", "epoch": events[0]["epoch"], "seq": seen})
        again = await client.receive_until("agent_completed")
    assert again == events[seen:]


async def test_a_turn_goes_on_while_nobody_listens_and_is_resumed_without_gap_or_repeat(tmp_path: Path) -> None:
    async with running_mock_llm(HELD) as llm, running_gateway(make_settings(tmp_path, llm.openai_url)) as gateway:
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
            await client.receive()
            await client.send({"type": "user_message", "content": "count", "thread_id": "talk"})
            before = await client.receive_until("partial_result")
            await client.abort()
        await llm.barriers.reached("middle")
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
            await client.receive()
            last = before[-1]
            await client.send({"type": "resume", "thread_id": "talk", "epoch": last["epoch"], "seq": last["seq"]})
            llm.barriers.release("middle")
            after = await client.receive_until("agent_completed")
    events = before + after
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert "".join(event["payload"]["text"] for event in events if event["type"] == "partial_result") == (
        "one two three four"
    )


async def test_two_tabs_of_one_user_see_the_same_stream(gateway: RunningGateway) -> None:
    first_turn = await finished_turn(gateway)
    position = {"thread_id": "talk", "epoch": first_turn[0]["epoch"], "seq": first_turn[-1]["seq"]}
    async with (
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as one,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as two,
    ):
        await one.receive()
        await two.receive()
        await two.send({"type": "resume", **position})
        await two.send({"type": "ping"})
        await two.receive_until("pong")
        in_one = await one.chat(QUESTION, thread_id="talk")
        in_two = await two.receive_until("agent_completed")
    assert in_two == in_one


async def test_resume_without_position_goes_on_after_the_last_ack(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk")
        epoch = events[0]["epoch"]
        await client.send({"type": "ack", "thread_id": "talk", "epoch": epoch, "seq": 4})
        # Acks are stored in the order of the log, so the next turn's end says that this one is stored.
        await client.chat(QUESTION, thread_id="talk")
    first = await replay(gateway, thread_id="talk", epoch=epoch)
    assert first == events[4]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        pytest.param({"thread_id": "talk", "epoch": "gone", "seq": 1}, "epoch_changed", "epoch", id="another epoch"),
        pytest.param({"thread_id": "talk", "seq": 999}, "invalid_field", "seq", id="beyond the end"),
        pytest.param({"thread_id": "talk", "seq": 1 << 64}, "invalid_field", "seq", id="no place of any log"),
        pytest.param({"thread_id": "talk", "seq": -1}, "invalid_field", "seq", id="negative"),
        pytest.param({"thread_id": "nothing", "seq": 1}, "not_found", "thread_id", id="no such thread"),
    ],
)
async def test_a_wrong_position_is_refused(
    gateway: RunningGateway, fields: dict[str, Any], code: str, field: str
) -> None:
    events = await finished_turn(gateway)
    refused = await replay(gateway, **({"epoch": events[0]["epoch"]} | fields))
    assert (refused["payload"]["code"], refused["payload"]["field"]) == (code, field)


async def test_a_changed_epoch_is_answered_with_the_one_there_is(gateway: RunningGateway) -> None:
    events = await finished_turn(gateway)
    refused = await replay(gateway, thread_id="talk", epoch="gone", seq=1)
    assert refused["epoch"] == events[0]["epoch"]


@pytest.mark.parametrize("claims", [{"user_id": "bob"}, {"tenant_id": "other"}], ids=["user", "tenant"])
async def test_nobody_resumes_a_thread_of_somebody_else(gateway: RunningGateway, claims: dict[str, str]) -> None:
    events = await finished_turn(gateway)
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(**claims)) as client:
        await client.receive()
        await client.send({"type": "resume", "thread_id": "talk", "epoch": events[0]["epoch"], "seq": 1})
        refused = await client.receive()
    assert refused["payload"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"thread_id": "talk", "seq": 999}, "invalid_field", id="not sent yet"),
        pytest.param({"thread_id": "other", "seq": 1}, "not_found", id="not followed"),
        pytest.param({"thread_id": "talk", "epoch": "gone", "seq": 1}, "epoch_changed", id="another epoch"),
    ],
)
async def test_a_wrong_ack_is_refused(gateway: RunningGateway, fields: dict[str, Any], code: str) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk")
        await client.send({"type": "ack", "epoch": events[0]["epoch"]} | fields)
        refused = await client.receive()
    assert refused["payload"]["code"] == code


@pytest.fixture(scope="module")
async def module_impatient_gateway(
    llm: RunningMockLLM, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningGateway]:
    """A gateway that waits only a moment for acks."""
    settings = make_settings(tmp_path_factory.mktemp("acks"), llm.openai_url, ack_timeout=0.2, ack_tries=2)
    async with running_gateway(settings) as running:
        yield running


@pytest.fixture
def impatient_gateway(module_impatient_gateway: RunningGateway, tenant_id: str) -> RunningGateway:
    return module_impatient_gateway.of_tenant(tenant_id)


async def test_what_is_not_acknowledged_comes_again_until_it_is(impatient_gateway: RunningGateway) -> None:
    gateway = impatient_gateway
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk")
        epoch = events[0]["epoch"]
        await client.send({"type": "ack", "thread_id": "talk", "epoch": epoch, "seq": 4})
        again = await client.receive_until("agent_completed")
        await client.send({"type": "ack", "thread_id": "talk", "epoch": epoch, "seq": again[-1]["seq"]})
        await client.send({"type": "ping"})
        rest = await client.receive_until("pong")
    assert again == events[4:]
    assert "error_event" not in {event["type"] for event in rest}


async def test_a_client_that_stops_acknowledging_is_closed_and_resumes_after_its_last_ack(
    impatient_gateway: RunningGateway,
) -> None:
    gateway = impatient_gateway
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk")
        epoch = events[0]["epoch"]
        await client.send({"type": "ack", "thread_id": "talk", "epoch": epoch, "seq": 4})
        ended = await client.wait_closed()
    first = await replay(gateway, thread_id="talk", epoch=epoch)
    assert (ended.code, ended.reason) == (4508, "no ack; resume seq=4 thread=talk")
    assert first == events[4]


async def test_a_message_sent_twice_runs_once(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        events = await client.chat(QUESTION, thread_id="talk", message_id="only-once")
        await client.send({"type": "user_message", "content": QUESTION, "thread_id": "talk", "message_id": "only-once"})
        answer = await client.receive()
        await client.send({"type": "ping"})
        nothing_more = await client.receive()
    assert answer["payload"] == {"message_id": "only-once", "duplicate": True}
    assert answer["run_id"] == events[0]["run_id"]
    assert nothing_more["type"] == "pong"


async def test_a_message_sent_again_on_a_new_connection_brings_its_events(gateway: RunningGateway) -> None:
    message = {"type": "user_message", "content": QUESTION, "thread_id": "talk", "message_id": "only-once"}
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send(message)
        events = await client.receive_until("agent_completed")
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send(message)
        answer = await client.receive()
        again = await client.receive_until("agent_completed")
    assert answer["payload"]["duplicate"] is True
    assert again == events


async def test_a_message_sent_over_many_connections_at_once_runs_once(gateway: RunningGateway) -> None:
    message = {"type": "user_message", "content": QUESTION, "thread_id": "talk", "message_id": "only-once"}
    streams: dict[int, list[dict[str, Any]]] = {}

    async def send(number: int) -> None:
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
            await client.receive()
            await client.send(message)
            streams[number] = await client.receive_until("agent_completed")

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(send, number)
    answers = [event for stream in streams.values() for event in stream if "seq" not in event]
    logs = [[event for event in stream if "seq" in event] for stream in streams.values()]
    assert len(answers) == 4
    assert all(event["payload"] == {"message_id": "only-once", "duplicate": True} for event in answers)
    assert len({event["run_id"] for stream in streams.values() for event in stream}) == 1
    assert [event["seq"] for event in logs[0]] == list(range(1, len(logs[0]) + 1))
    assert all(log == logs[0] for log in logs)


async def test_a_tab_that_opens_a_thread_before_its_first_message_sees_it(gateway: RunningGateway) -> None:
    async with (
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as one,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as two,
    ):
        await one.receive()
        welcome = await two.receive()
        await two.send({"type": "resume", "thread_id": "talk", "epoch": welcome["epoch"], "seq": 0})
        await two.send({"type": "ping"})
        await two.receive_until("pong")
        in_one = await one.chat(QUESTION, thread_id="talk")
        in_two = await two.receive_until("agent_completed")
    assert in_two == in_one


async def test_somebody_elses_thread_opened_from_the_start_stays_silent(gateway: RunningGateway) -> None:
    events = await finished_turn(gateway)
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("bob")) as bob:
        await bob.receive()
        await bob.send({"type": "resume", "thread_id": "talk", "epoch": events[0]["epoch"], "seq": 0})
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as alice:
            await alice.receive()
            await alice.chat(QUESTION, thread_id="talk")
        await bob.send({"type": "ping"})
        first = await bob.receive()
    assert first["type"] == "pong"


async def test_a_connection_follows_so_many_threads_and_no_more(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        welcome = await client.receive()
        for number in range(MAX_FOLLOWED + 1):
            await client.send({"type": "resume", "thread_id": f"t{number}", "epoch": welcome["epoch"], "seq": 0})
        refused = await client.receive()
    assert refused["payload"]["code"] == "forbidden"
