"""Stopping turns, and how many of them run: cancel, queue limits, order, fairness, tokens that end."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.application import Gateway
from gateway.errors import RequestError
from gateway.identity.principal import Principal
from gateway.storage.entries import Accepted
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from gateway.turns.arrival import MessageArrival
from gateway.turns.context import UserExecutionContext
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

HELD = """
name: held
rules:
  - name: held
    match: {user: "wait"}
    reply: [{text: ["one ", "two"]}]
    hold: [{barrier: middle, after_event: 2}]
  - name: direct
    match: {}
    reply: [{text: ["done"]}]
"""

MESSAGES = {"greedy": 30, "one": 3, "two": 3}


@pytest.fixture
async def held_llm() -> AsyncIterator[RunningMockLLM]:
    async with running_mock_llm(HELD) as running:
        yield running


@pytest.fixture
async def small_gateway(held_llm: RunningMockLLM, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """One run at a time for a user, two messages waiting, two runs in all."""
    settings = make_settings(tmp_path, held_llm.openai_url, queue_size=2, runs_per_user=1, runs_in_all=2)
    async with running_gateway(settings) as running:
        yield running


async def test_a_cancelled_run_ends_with_cancelled(small_gateway: RunningGateway) -> None:
    async with ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": "wait"})
        events = await client.receive_until("partial_result")
        await client.send({"type": "cancel", "run_id": events[0]["run_id"]})
        rest = await client.receive_until("error_event")
    assert rest[-1]["payload"]["code"] == "cancelled"
    assert rest[-1]["run_id"] == events[0]["run_id"]


async def test_a_waiting_message_can_be_cancelled(small_gateway: RunningGateway) -> None:
    async with ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": "wait", "thread_id": "one"})
        await client.receive_until("partial_result")
        await client.send({"type": "user_message", "content": "next", "thread_id": "two"})
        accepted = await client.receive()
        await client.send({"type": "cancel", "run_id": accepted["run_id"]})
        ended = await client.receive()
    assert (ended["run_id"], ended["payload"]["code"]) == (accepted["run_id"], "cancelled")


async def test_another_users_run_cannot_be_cancelled(small_gateway: RunningGateway) -> None:
    async with (
        ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("alice")) as alice,
        ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("bob")) as bob,
    ):
        await alice.receive()
        await bob.receive()
        await alice.send({"type": "user_message", "content": "wait"})
        events = await alice.receive_until("partial_result")
        await bob.send({"type": "cancel", "run_id": events[0]["run_id"]})
        refused = await bob.receive()
    assert (refused["payload"]["code"], refused["payload"]["field"]) == ("not_found", "run_id")


async def test_a_full_queue_says_busy_and_when_to_come_back(small_gateway: RunningGateway) -> None:
    async with ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": "wait", "thread_id": "talk"})
        await client.receive_until("partial_result")
        for number in range(3):
            await client.send({"type": "user_message", "id": f"r{number}", "content": "more", "thread_id": "talk"})
        events = {event["type"]: event for event in [await client.receive() for _ in range(3)]}
    assert set(events) == {"message_accepted", "busy"}
    assert events["busy"]["payload"]["retry_after_ms"] > 0
    assert events["busy"]["payload"]["request_id"] == "r2"


async def test_turns_of_a_thread_run_in_the_order_of_its_messages(
    small_gateway: RunningGateway, held_llm: RunningMockLLM
) -> None:
    async with ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "user_message", "content": "wait", "thread_id": "talk", "message_id": "a"})
        await client.receive_until("partial_result")
        await client.send({"type": "user_message", "content": "b", "thread_id": "talk", "message_id": "b"})
        await client.send(
            {"type": "user_message", "content": "c", "thread_id": "talk", "message_id": "c", "priority": "high"}
        )
        await client.receive_until("message_accepted")
        await client.receive_until("message_accepted")
        held_llm.barriers.release("middle")
        started = []
        for _ in range(3):
            events = await client.receive_until("agent_completed")
            started += [event["payload"]["message_id"] for event in events if event["type"] == "agent_started"]
    assert started == ["b", "c"]


async def test_a_user_with_many_messages_does_not_hold_up_another(
    small_gateway: RunningGateway, held_llm: RunningMockLLM
) -> None:
    async with (
        ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("greedy")) as greedy,
        ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("modest")) as modest,
    ):
        await greedy.receive()
        await modest.receive()
        for number in range(3):
            await greedy.send({"type": "user_message", "content": "wait", "thread_id": f"t{number}"})
        await held_llm.barriers.reached("middle")
        events = await modest.chat("me too")
    assert events[-1]["type"] == "agent_completed"


async def ping_until(client: ChatClient, over: anyio.Event) -> list[float]:
    """How long the answer to each ping took, in seconds."""
    took: list[float] = []
    while not over.is_set():
        began = time.perf_counter()
        await client.send({"type": "ping"})
        assert (await client.receive())["type"] == "pong"
        took.append(time.perf_counter() - began)
    return took


async def test_a_flood_of_messages_is_answered_with_busy_and_nobody_else_waits_for_it(
    small_gateway: RunningGateway, anyio_backend_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = {"asyncio": 10_000, "trio": 3_000}[anyio_backend_name]
    events: list[dict[str, Any]] = []
    under_way, over = anyio.Event(), anyio.Event()
    took: list[float] = []

    async with (
        ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("flood")) as flood,
        ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("modest")) as modest,
        ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("idle")) as idle,
    ):
        await flood.receive()
        await modest.receive()
        await idle.receive()
        await flood.send({"type": "user_message", "content": "wait", "thread_id": "talk"})
        await flood.receive_until("partial_result")

        async def read() -> None:
            while len(events) < frames:
                events.append(await flood.receive())
                if len(events) == 100:
                    under_way.set()
            over.set()

        async def write() -> None:
            messages = (
                {"type": "user_message", "id": f"r{number}", "content": "more", "thread_id": f"t{number % 7}"}
                for number in range(frames)
            )
            await flood.send_all(messages)

        async def ping() -> None:
            took.extend(await ping_until(idle, over))

        async with anyio.create_task_group() as group:
            for task in (read, write, ping):
                group.start_soon(task)
            await under_way.wait()
            turn = await modest.chat("me too")
            answered_by_then = len(events)
    with capsys.disabled():
        worst, middle = max(took) * 1000, sorted(took)[len(took) // 2] * 1000
        print(
            f"\n{anyio_backend_name}: {frames} messages of one user; another user's turn was over after "
            f"{answered_by_then} of them; a third's pings took {middle:.1f} ms (median), {worst:.1f} ms (longest)"
        )
    kinds = Counter(event["type"] for event in events)
    assert kinds == {"message_accepted": 2, "busy": frames - 2}
    assert all(event["payload"]["retry_after_ms"] > 0 for event in events if event["type"] == "busy")
    assert turn[-1]["type"] == "agent_completed"
    assert answered_by_then < frames / 2


async def test_users_take_turns_while_one_keeps_a_full_queue(held_llm: RunningMockLLM, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, held_llm.openai_url, queue_size=50, runs_per_user=4, runs_in_all=1)
    ended: list[str] = []
    async with running_gateway(settings) as gateway, AsyncExitStack() as stack:
        clients = {
            user: await stack.enter_async_context(ChatClient.connect(gateway.ws_url, headers=gateway.headers(user)))
            for user in (*MESSAGES, "blocker")
        }

        async def say(user: str, messages: int) -> None:
            for number in range(messages):
                await clients[user].send({"type": "user_message", "content": "quick", "thread_id": f"t{number}"})
            for _ in range(messages):
                await clients[user].receive_until("message_accepted")

        async def hear(user: str, messages: int) -> None:
            for _ in range(messages):
                await clients[user].receive_until("agent_completed")
                ended.append(user)

        await clients["blocker"].send({"type": "user_message", "content": "wait"})
        await clients["blocker"].receive_until("partial_result")
        async with anyio.create_task_group() as group:
            for user, messages in MESSAGES.items():
                group.start_soon(say, user, messages)
        async with anyio.create_task_group() as group:
            for user, messages in MESSAGES.items():
                group.start_soon(hear, user, messages)
            held_llm.barriers.release("middle")
    # Whoever has little to say is through after a few rounds, whatever the others have in their queues.
    assert max(place for place, user in enumerate(ended) if user != "greedy") < 12


async def test_a_connection_ends_when_its_token_does(held_llm: RunningMockLLM, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, held_llm.openai_url, expiry_interval=0.05)
    async with (
        running_gateway(settings) as gateway,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
    ):
        await client.receive()
        await client.send({"type": "auth", "token": gateway.token(lifetime=1.5)})
        ended = await client.wait_closed()
    assert ended.code == 4401
    assert "expired" in ended.reason


async def test_a_fresh_token_keeps_the_connection(held_llm: RunningMockLLM, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, held_llm.openai_url, expiry_interval=0.05)
    async with (
        running_gateway(settings) as gateway,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as renewed,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as left_alone,
    ):
        await renewed.receive()
        for client in (renewed, left_alone):
            await client.send({"type": "auth", "token": gateway.token(lifetime=1.5)})
        await renewed.send({"type": "auth", "token": gateway.token()})
        await left_alone.wait_closed()
        await renewed.send({"type": "ping"})
        pong = await renewed.receive()
    assert pong["type"] == "pong"


async def test_a_token_of_another_user_is_not_taken_over(small_gateway: RunningGateway) -> None:
    async with ChatClient.connect(small_gateway.ws_url, headers=small_gateway.headers("alice")) as client:
        await client.receive()
        await client.send({"type": "auth", "token": small_gateway.token("bob")})
        refused = await client.receive()
    assert refused["payload"]["code"] == "forbidden"


async def test_a_message_that_cannot_even_be_put_into_words_takes_no_place(
    held_llm: RunningMockLLM, tmp_path: Path
) -> None:
    odd = Principal("default", "alice", frozenset({"\ud800"}), 1e12)
    settings = make_settings(tmp_path, held_llm.openai_url, queue_size=2, runs_per_user=1)
    news: list[Accepted | RequestError] = []
    async with Gateway.open(settings) as gateway:

        def accept(principal: Principal) -> MessageArrival:
            ids = gateway.ids
            context = UserExecutionContext.of(principal, thread_id="t", run_id=ids.run(), message_id=ids.message())
            return gateway.service.accept(context, "quick", news.append)

        for _ in range(10):
            with pytest.raises(UnicodeEncodeError):
                accept(odd)
        for _ in range(3):
            await accept(Principal("default", "alice", frozenset(), 1e12)).wait_settled()
    assert [type(one) for one in news] == [Accepted] * 3


async def test_a_message_that_the_database_refuses_leaves_its_place_and_nobody_else_notices(
    held_llm: RunningMockLLM, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, held_llm.openai_url, queue_size=2, runs_per_user=1)
    alice = Principal("default", "alice", frozenset(), 1e12)
    news: list[Accepted | RequestError] = []
    async with Gateway.open(settings) as gateway:
        for content in ("canary \ud800", "quick") * 5:
            ids = gateway.ids
            context = UserExecutionContext.of(alice, thread_id="t", run_id=ids.run(), message_id=ids.message())
            await gateway.service.accept(context, content, news.append).wait_settled()
            await gateway.service.queue.wait_idle()
    assert [isinstance(one, Accepted) for one in news] == [False, True] * 5
    assert {one.code.value for one in news if isinstance(one, RequestError)} == {"internal_error"}
