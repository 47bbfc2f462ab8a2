"""A tester talks to a gateway: what it sends, what it waits for, and what it says when it waits in vain."""

from typing import Any

import anyio
import pytest

from event_capture.dialect import Dialect
from event_capture.drivers import ConnectionLimits
from event_capture.errors import AwaitedEventError, ConnectionEndedError, ConnectionFailedError, MissingEventsError
from event_capture.isolation import Canaries
from event_capture.recording import Recorder
from event_capture.records import Direction, Kind
from event_capture.tester import ChatTester, assert_websocket_events_sent, open_testers
from event_capture.vocabulary import load_vocabulary
from integration.event_capture.chat_server import Client, chat_server, event

pytestmark = pytest.mark.anyio

VOCABULARY = load_vocabulary("agent_turn")


async def test_a_turn_is_sent_awaited_and_remembered() -> None:
    async with chat_server() as (url, clients), ChatTester(url, user="alice", token="secret") as tester:
        await tester.send("hello", thread_id="t7")
        completed = await tester.wait_for_completion(5)
        assert completed.data["type"] == "agent_completed"
        assert clients[0].token == "secret"
        assert clients[0].received == [{"type": "user_message", "content": "hello", "thread_id": "t7"}]
        assert_websocket_events_sent(tester.records, ["agent_started", "agent_thinking", "agent_completed"])


async def test_waits_for_different_events_may_come_in_any_order() -> None:
    async with chat_server() as (url, _), ChatTester(url) as tester:
        await tester.send("hello")
        thinking = await tester.wait_for("agent_thinking", 30)
        started = await tester.wait_for("agent_started", 30)
        assert (started.data["seq"], thinking.data["seq"]) == (1, 2)


async def test_each_wait_returns_the_next_event_of_its_name() -> None:
    async with chat_server() as (url, _), ChatTester(url) as tester:
        await tester.send("hello")
        assert [(await tester.wait_for("partial_result", 30)).data["seq"] for _ in range(2)] == [3, 4]


async def test_a_finished_turn_leaves_nothing_for_the_next_one() -> None:
    async with chat_server() as (url, _), ChatTester(url) as tester:
        await tester.send("first")
        await tester.wait_for_completion(5)
        await tester.send("second")
        started = await tester.wait_for("agent_started", 30)
        assert started.data["payload"]["text"] == "agent_started to second"


async def test_a_wait_for_several_names_returns_whichever_comes_first() -> None:
    async with chat_server() as (url, _), ChatTester(url) as tester:
        await tester.send("hello")
        assert (await tester.wait_for(["agent_completed", "agent_thinking"], 5)).data["type"] == "agent_thinking"


async def test_a_wait_in_vain_shows_what_came_and_what_is_missing() -> None:
    async def talk(client: Client) -> None:
        await client.emit(event("welcome"))
        async for _ in client.messages():
            await client.emit(event("agent_started", payload={"text": "on it"}))

    async with chat_server(talk) as (url, _), ChatTester(url) as tester:
        await tester.send("hello")
        await tester.wait_for("agent_started", 30)
        with pytest.raises(AwaitedEventError) as caught:
            await tester.wait_for_completion(0.05)
    message = str(caught.value)
    assert "still waiting for agent_completed or error_event: nothing within 0.05 s" in message
    assert "sent: user_message - hello" in message
    assert "agent_started - on it" in message


async def test_a_connection_that_ends_ends_the_wait_at_once() -> None:
    async def talk(client: Client) -> None:
        await client.emit(event("welcome"))
        async for _ in client.messages():
            await client.close(4500, "broken")

    async with chat_server(talk) as (url, _), ChatTester(url) as tester:
        await tester.send("hello")
        with anyio.fail_after(60), pytest.raises(AwaitedEventError, match="ended with code 4500 'broken'"):
            await tester.wait_for_completion(30)
        with pytest.raises(ConnectionEndedError, match="4500"):
            await tester.send("again")


async def test_a_refused_token_is_told_with_its_close_code() -> None:
    async def talk(client: Client) -> None:
        await client.close(4401, "bad token")
        async for _ in client.messages():
            pass

    async with chat_server(talk) as (url, _):
        with pytest.raises(AwaitedEventError, match=r"still waiting for welcome: .*4401 'bad token'"):
            async with ChatTester(url, token="wrong"):
                pass


async def test_a_gateway_that_never_says_it_is_ready_is_told_in_time() -> None:
    async def talk(client: Client) -> None:
        async for _ in client.messages():
            pass

    async with chat_server(talk) as (url, _):
        with anyio.fail_after(60), pytest.raises(AwaitedEventError, match="waiting for welcome"):
            async with ChatTester(url, limits=ConnectionLimits(connect_timeout=0.1)):
                pass


async def test_a_token_may_travel_in_a_subprotocol() -> None:
    dialect = Dialect(authenticate_by="subprotocol")
    recorder = Recorder()
    async with chat_server() as (url, clients), ChatTester(url, token="secret", dialect=dialect, recorder=recorder):
        assert clients[0].offered == ("bearer.secret",)
    assert not any("secret" in str(record.data) for record in recorder.records())


async def test_a_token_may_travel_in_the_first_message_and_stays_out_of_the_recording() -> None:
    async def talk(client: Client) -> None:
        async for message in client.messages():
            if message["type"] == "auth":
                await client.emit(event("welcome"))

    recorder = Recorder()
    dialect = Dialect(authenticate_by="message")
    async with chat_server(talk) as (url, clients), ChatTester(url, token="s3", dialect=dialect, recorder=recorder):
        assert clients[0].received == [{"type": "auth", "token": "s3"}]
    assert not any("s3" in str(record.data) for record in recorder.records())


async def test_another_gateway_needs_only_another_dialect() -> None:
    async def talk(client: Client) -> None:
        async for message in client.messages():
            await client.emit({"event": "chat_chunk", "data": {"content": message["data"]["text"]}})
            await client.emit({"event": "chat_complete", "data": {}})

    dialect = Dialect(
        message={"event": "chat_message", "data": {"text": "{content}", "session_id": "{thread_id}"}},
        ready=None,
        ends_turn=("chat_complete", "error"),
        name="event",
        resume=None,
    )
    async with chat_server(talk) as (url, clients), ChatTester(url, dialect=dialect) as tester:
        await tester.send("hello", thread_id="s1")
        assert (await tester.wait_for_completion(5)).data["event"] == "chat_complete"
        assert clients[0].received == [{"event": "chat_message", "data": {"text": "hello", "session_id": "s1"}}]


async def test_a_reconnect_asks_for_what_was_missed_under_a_new_connection_name() -> None:
    async with chat_server() as (url, clients), ChatTester(url, user="alice") as tester:
        await tester.send("hello")
        await tester.wait_for_completion(5)
        first = tester.connection.name
        tester.drop()
        await tester.reconnect(timeout=5)
        await tester.send("again")
        await tester.wait_for_completion(5)
        assert clients[1].received[0] == {"type": "resume", "thread_id": "t1", "epoch": "e1", "seq": 5}
        assert tester.connection.name != first
        kinds = [record.kind for record in tester.records]
        assert kinds.count(Kind.OPEN) == 2
        assert {record.user for record in tester.records} == {"alice"}


async def test_a_reconnect_inside_a_timeout_outlives_the_timeout_block() -> None:
    async with chat_server() as (url, _), ChatTester(url) as tester:
        with anyio.fail_after(60):
            await tester.reconnect(resume=False)
        await tester.send("hello")
        assert (await tester.wait_for_completion(5)).data["type"] == "agent_completed"


async def test_a_reconnect_to_nobody_is_a_clear_error() -> None:
    async with chat_server() as (url, _):
        tester = ChatTester(url)
        await tester.__aenter__()
        tester.url = "ws://127.0.0.1:1/"
        with pytest.raises(ConnectionFailedError):
            await tester.reconnect()
        await tester.__aexit__(None, None, None)


async def test_many_users_talk_at_once_each_with_a_canary_of_their_own() -> None:
    async with (
        chat_server() as (url, clients),
        open_testers(url, {"alice": "ta", "bob": "tb", "carol": None}) as testers,
    ):
        async with anyio.create_task_group() as tasks:
            for tester in testers.values():
                tasks.start_soon(tester.send, "hello")
        for tester in testers.values():
            await tester.wait_for_completion(5)
        said = {client.token: client.received[0]["content"] for client in clients}
        assert said == {
            "ta": f"hello {testers['alice'].canary}",
            "tb": f"hello {testers['bob'].canary}",
            None: f"hello {testers['carol'].canary}",
        }
        for name, tester in testers.items():
            assert {record.user for record in tester.records} == {name}


async def echo_to(client: Client, *others: Client) -> None:
    await client.emit(event("welcome"))
    async for message in client.messages():
        for target in (client, *others):
            await target.emit(event("agent_completed", payload={"text": message["content"]}))


async def test_isolated_users_are_proven_isolated() -> None:
    canaries, recorder = Canaries(), Recorder()
    async with (
        chat_server(echo_to) as (url, _),
        open_testers(url, {"alice": None, "bob": None}, recorder=recorder, canaries=canaries) as testers,
    ):
        for tester in testers.values():
            await tester.send("hello")
            await tester.wait_for_completion(5)
    report = canaries.search(recorder.records(), VOCABULARY)
    assert report.isolated, report.explain()


async def test_a_word_of_one_user_in_the_stream_of_another_is_found() -> None:
    canaries, recorder = Canaries(), Recorder()
    clients: list[Client] = []

    async def leak(client: Client) -> None:
        clients.append(client)
        await echo_to(client, *clients[:-1])

    async with (
        chat_server(leak) as (url, _),
        open_testers(url, {"alice": None, "bob": None}, recorder=recorder, canaries=canaries) as testers,
    ):
        await testers["bob"].send("hello")
        await testers["bob"].wait_for_completion(5)
        await testers["alice"].wait_for_completion(5)
        await testers["alice"].send("hello")
        await testers["alice"].wait_for_completion(5)
    report = canaries.search(recorder.records(), VOCABULARY)
    assert [(leak.owner, leak.receiver) for leak in report.leaks] == [("bob", "alice")]


async def test_events_are_what_the_gateway_sent_and_nothing_else() -> None:
    async with chat_server() as (url, _), ChatTester(url) as tester:
        await tester.send("hello")
        await tester.wait_for_completion(5)
        assert all(item["type"] != "user_message" for item in tester.events)
        sent = [record for record in tester.records if record.direction is Direction.SENT]
        assert [record.data["content"] for record in sent] == ["hello"]


async def test_a_failed_assertion_in_the_block_fails_as_itself() -> None:
    async def a_test(url: str) -> None:
        async with ChatTester(url) as tester:
            await tester.send("hello")
            await tester.wait_for_completion(5)
            assert_websocket_events_sent(tester.records, ["agent_started", "tool_executing"])

    async with chat_server() as (url, _):
        with pytest.raises(MissingEventsError, match="missing events: tool_executing"):
            await a_test(url)


async def test_the_end_of_the_connection_can_be_awaited() -> None:
    async def talk(client: Client) -> None:
        await client.emit(event("welcome"))
        await client.close(4503, "draining")
        async for _ in client.messages():
            pass

    async with chat_server(talk) as (url, _), ChatTester(url) as tester:
        assert (await tester.wait_until_closed(5)).data == {"code": 4503, "reason": "draining"}


@pytest.mark.parametrize("authenticate_by", ["message", "header", "subprotocol"])
async def test_a_token_is_in_no_record_however_it_travels_and_whoever_repeats_it(authenticate_by: Any) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"

    async def talk(client: Client) -> None:
        if authenticate_by == "message":
            await client.socket.receive()
        await client.emit(event("welcome", echo={"jwt": token}, text=f"you are {token}"))
        await client.close(4401, f"bad {token}")

    dialect = Dialect(authenticate_by=authenticate_by, auth={"type": "auth", "any": "{token}"})
    async with chat_server(talk) as (url, _), ChatTester(url, user="ada", token=token, dialect=dialect) as tester:
        closed = await tester.wait_until_closed(30)
    assert closed.data["reason"] == "bad [redacted]"
    assert token not in str(list(tester.records))
    assert token not in tester.timeline()


async def test_a_token_that_is_the_users_own_name_is_no_secret() -> None:
    async with chat_server() as (url, _), ChatTester(url, user="user-1", token="user-1") as tester:
        await tester.send("I am user-1")
        completed = await tester.wait_for_completion(30)
    assert completed.data["payload"]["text"] == "agent_completed to I am user-1"
