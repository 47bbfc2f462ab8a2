"""Engine.IO and Socket.IO packet by packet, on both backends."""

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient, HandshakeRefusedError
from integration.npm import installed
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

JS_CLIENT = Path(__file__).parent / "socketio_js"
PATH = "/socket.io/?EIO=4&transport=polling"
QUESTION = '42["chat_message",{"content":"Analyse my system performance","session_id":"talk"}]'


HELD = """
name: held
rules:
  - name: held
    match: {}
    reply: [{text: ["one ", "two"]}]
    hold: [{barrier: middle, after_event: 2}]
"""


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        yield client


def socket_url(gateway: RunningGateway, address: str = "") -> str:
    """Where a WebSocket begins a session, or takes over the one that polls at `address`."""
    sid = f"&sid={address.rpartition('=')[2]}" if address else ""
    return f"ws{gateway.url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket{sid}"


async def opened(http: httpx.AsyncClient) -> str:
    """Open a session and return the address of its polls."""
    answer = await http.get(PATH)
    assert answer.text[0] == "0"
    return f"{PATH}&sid={msgspec.json.decode(answer.text[1:])['sid']}"


async def connected(http: httpx.AsyncClient, gateway: RunningGateway) -> str:
    address = await opened(http)
    connect = msgspec.json.encode({"token": gateway.token()}).decode()
    assert (await http.post(address, content=f"40{connect}")).text == "ok"
    assert (await http.get(address)).text.startswith('40{"sid":')
    return address


async def test_the_handshake_offers_the_upgrade_and_names_the_heartbeat(
    gateway: RunningGateway, http: httpx.AsyncClient
) -> None:
    details = msgspec.json.decode((await http.get(PATH)).text[1:])
    assert details["upgrades"] == ["websocket"]
    assert details["pingInterval"] == gateway.settings.heartbeat * 1000


async def test_a_turn_over_polling(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    address = await connected(http, gateway)
    await http.post(address, content=QUESTION)
    packets: list[str] = []
    with anyio.fail_after(20):
        while not any(packet.startswith('42["chat_complete"') for packet in packets):
            packets += (await http.get(address)).text.split("\x1e")
    names = [msgspec.json.decode(packet[2:])[0] for packet in packets if packet.startswith("42")]
    assert list(dict.fromkeys(names)) == ["chat_thinking", "chat_chunk", "chat_response", "chat_complete"]


async def test_the_upgrade_loses_nothing(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    address = await connected(http, gateway)
    async with ChatClient.connect(socket_url(gateway, address)) as websocket:
        await websocket.send("2probe")
        assert await websocket.receive_text() == "3probe"
        assert (await http.get(address)).text == "6"
        await http.post(address, content=QUESTION)
        await websocket.send("5")
        packets = [await websocket.receive_text()]
        while not packets[-1].startswith('42["chat_complete"'):
            packets.append(await websocket.receive_text())
    sequence = [msgspec.json.decode(packet[2:])[1]["seq"] for packet in packets if packet.startswith("42")]
    assert sequence == sorted(sequence)
    assert packets[0].startswith('42["chat_thinking"')


async def test_a_fresh_token_and_a_cancel_are_taken(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    address = await connected(http, gateway)
    for packet in (
        ["auth", {"token": gateway.token(lifetime=-1)}],
        ["auth", {"token": gateway.token(roles=["user", "admin"])}],
        ["cancel", {"run_id": "run_1"}],
    ):
        await http.post(address, content=f"427{msgspec.json.encode(packet).decode()}")
    answers: list[str] = []
    with anyio.fail_after(20):
        while answers.count("437[]") < 3:
            answers += (await http.get(address)).text.split("\x1e")
    errors = [msgspec.json.decode(answer[2:])[1]["code"] for answer in answers if answer.startswith('42["error"')]
    assert errors == ["unauthenticated", "not_found"]


async def test_a_poll_of_an_upgraded_session_is_refused(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    address = await connected(http, gateway)
    async with ChatClient.connect(socket_url(gateway, address)) as websocket:
        await websocket.send("2probe")
        await websocket.receive_text()
        await websocket.send("5")
        await websocket.send(QUESTION)
        await websocket.receive_text()
        answer = await http.get(address)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param("/socket.io/?EIO=3&transport=polling", "Unsupported protocol version", id="old protocol"),
        pytest.param("/socket.io/?EIO=4&transport=smoke", "Transport unknown", id="unknown transport"),
        pytest.param(f"{PATH}&sid=made-up", "Session ID unknown", id="unknown session"),
    ],
)
async def test_a_wrong_request_is_refused(http: httpx.AsyncClient, path: str, message: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_a_websocket_for_an_unknown_session_is_refused(gateway: RunningGateway) -> None:
    with pytest.raises(HandshakeRefusedError) as refused:
        async with ChatClient.connect(socket_url(gateway, "sid=made-up")):
            pass
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("", id="empty"),
        pytest.param("x", id="no packet"),
        pytest.param("4", id="empty message"),
        pytest.param("49[]", id="unknown packet"),
        pytest.param("42{", id="broken JSON"),
        pytest.param("bAAAA", id="binary data of no event"),
        pytest.param('4599999999999-["chat_message"]', id="too many attachments"),
        pytest.param("42" + "[" * 5000, id="deep nesting"),
        pytest.param("\x1e".join(["3"] * 17), id="too many packets"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param("40", id="connect twice"),
    ],
)
async def test_a_bad_packet_ends_its_session_and_no_other(
    gateway: RunningGateway, http: httpx.AsyncClient, payload: str | bytes
) -> None:
    address = await connected(http, gateway)
    other = await connected(http, gateway)
    answer = await http.post(address, content=payload)
    again = await http.get(address)
    await http.post(other, content=QUESTION)
    alive = await http.get(other)
    assert (answer.status_code, again.status_code, alive.status_code) == (400, 400, 200)


STRANGE = {
    "half a character pair": '42["chat_message",{"content":"\\ud800","session_id":"s"}]',
    "half a pair as a name": '42["chat_message",{"content":"hi","\\ud800":1}]',
    "half a pair in a token": '42["auth",{"token":"\\ud800"}]',
    "half a pair as an event": '42["\\ud800",{}]',
    "a number beyond all": '42["chat_message",{"content":1180591620717411303424}]',
    "deep nesting": '42["chat_message",{"content":' + "[" * 900 + "]" * 900 + "}]",
    "binary data": '451-["chat_message",{"content":{"_placeholder":true,"num":0}}]\x1ebAAAA',
    "two objects": '42["chat_message",{"content":"hi"},{"more":1}]',
    "no name": "42[{}]",
}


@pytest.mark.parametrize("payload", [pytest.param(payload, id=name) for name, payload in STRANGE.items()])
async def test_a_strange_event_is_answered_and_the_session_lives_on(
    gateway: RunningGateway, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, payload: str
) -> None:
    address = await connected(http, gateway)
    posted = await http.post(address, content=payload)
    name, error = msgspec.json.decode((await http.get(address)).text[2:])
    await http.post(address, content=QUESTION)
    alive = await http.get(address)
    assert (posted.status_code, name) == (200, "error")
    assert error["code"] in {"invalid_message", "unknown_type", "invalid_json", "unauthenticated", "invalid_field"}
    assert alive.text.startswith('42["chat_')
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_binary_data_over_a_websocket_is_answered_and_the_session_lives_on(gateway: RunningGateway) -> None:
    async with ChatClient.connect(socket_url(gateway), headers=gateway.headers()) as websocket:
        await websocket.receive_text()
        await websocket.send("40")
        await websocket.receive_text()
        await websocket.send('451-["chat_message",{"content":{"_placeholder":true,"num":0}}]')
        await websocket.send(b"\x00\x01")
        error = await websocket.receive_text()
        await websocket.send(QUESTION)
        alive = await websocket.receive_text()
    assert '"invalid_message"' in error
    assert alive.startswith('42["chat_')


@pytest.mark.parametrize("token", ["\\ud800", "\u20ac", "wrong"])
async def test_a_strange_token_is_refused_at_connect(http: httpx.AsyncClient, token: str) -> None:
    address = await opened(http)
    posted = await http.post(address, content=f'40{{"token":"{token}"}}'.encode())
    assert posted.status_code == 200
    assert (await http.get(address)).text.startswith('44{"message":"Not authenticated: ')


async def test_a_message_before_connect_is_refused(http: httpx.AsyncClient) -> None:
    address = await opened(http)
    assert (await http.post(address, content=QUESTION)).status_code == 400


async def test_a_namespace_that_does_not_exist_is_refused(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    address = await connected(http, gateway)
    await http.post(address, content="40/admin,")
    assert (await http.get(address)).text == '44/admin,{"message":"Invalid namespace"}'


async def test_two_polls_at_once_end_the_session(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    address = await connected(http, gateway)
    answers: list[httpx.Response] = []

    async def poll() -> None:
        answers.append(await http.get(address))

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        group.start_soon(poll)
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert {answer.text for answer in answers if answer.status_code == 200} == {"1"}


@pytest.fixture(scope="module")
def js_client() -> Path:
    """Folder with npm's socket.io-client and the script that uses it."""
    return installed(JS_CLIENT, ("package.json", "package-lock.json", "client.mjs"))


async def test_the_client_of_npm_upgrades_talks_and_comes_back_to_its_session(
    gateway: RunningGateway, js_client: Path
) -> None:
    with anyio.fail_after(30):
        done = await anyio.run_process(
            ["node", "client.mjs", gateway.url, gateway.token()], cwd=js_client, env=os.environ | {"NO_PROXY": "*"}
        )
    said = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    names = [name for name, _ in said]
    turn = ["chat_thinking", "chat_chunk", "chat_response", "chat_complete"]
    talk = [name for name in names if name not in ("open", "upgrade", "connect", "disconnect")]
    assert said[0] == ["open", "polling"]
    assert next(transport for name, transport in said if name == "upgrade") == "websocket"
    assert [name for place, name in enumerate(talk) if talk[:place][-1:] != [name]] == [*turn, *turn, "error"]
    assert names.count("connect") == 2
    sequence = [data["seq"] for name, data in said if name.startswith("chat_") and name != "chat_complete"]
    assert sequence == sorted(set(sequence))
    first_answer = names.index("chat_response")
    chunks = [data["content"] for name, data in said[:first_answer] if name == "chat_chunk"]
    assert "".join(chunks) == said[first_answer][1]["content"]
    assert said[names.index("error")][1]["code"] == "invalid_field"
    assert said[-1] == ["disconnect", "io client disconnect"]


async def test_a_session_that_does_not_answer_pings_ends(llm: RunningMockLLM, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, llm.openai_url, heartbeat=0.1, heartbeat_timeout=0.1)
    async with (
        running_gateway(settings) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=20) as http,
    ):
        address = await connected(http, gateway)
        assert (await http.get(address)).text == "2"
        ended = await http.get(address)
    assert (ended.status_code, ended.text) in {(200, "1"), (400, ended.text)}


async def test_a_client_that_does_not_poll_is_given_up_and_its_memory_freed(
    llm: RunningMockLLM, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, llm.openai_url, outbound_bytes=16384, coalesce_bytes=1 << 20)
    async with (
        running_gateway(settings) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=20) as http,
    ):
        address = await connected(http, gateway)
        with anyio.fail_after(20):
            while (await http.post(address, content=QUESTION)).status_code == 200:
                pass
        answer = await http.get(address)
    assert answer.json()["message"] == "Session ID unknown"


async def spoken(http: httpx.AsyncClient, address: str, name: str) -> list[list[Any]]:
    """The events of a session up to the first of that name, as a polling client hears them."""
    heard: list[list[Any]] = []
    with anyio.fail_after(20):
        while not any(event[0] == name for event in heard):
            packets = (await http.get(address)).text.split("\x1e")
            heard += [msgspec.json.decode(packet[2:]) for packet in packets if packet.startswith("42")]
            if "2" in packets:
                await http.post(address, content="3")
    return heard


async def emit(http: httpx.AsyncClient, address: str, name: str, **data: Any) -> None:
    assert (await http.post(address, content=f"42{msgspec.json.encode([name, data]).decode()}")).text == "ok"


async def test_a_client_that_comes_back_while_its_turn_runs_resumes_it(tmp_path: Path) -> None:
    async with (
        running_mock_llm(HELD) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url)) as gateway,
        httpx.AsyncClient(base_url=gateway.url, timeout=20) as http,
    ):
        first = await connected(http, gateway)
        await emit(http, first, "chat_message", content="wait", session_id="talk")
        _, chunk = (await spoken(http, first, "chat_chunk"))[-1]
        await http.post(first, content="1")
        second = await connected(http, gateway)
        place = {"session_id": "talk", "epoch": chunk["epoch"], "seq": chunk["seq"]}
        await emit(http, second, "resume", **place)
        await emit(http, second, "ack", **place)
        llm.barriers.release("middle")
        heard = await spoken(http, second, "chat_complete")
    assert [name for name, _ in heard] == ["chat_chunk", "chat_response", "chat_complete"]
    assert heard[0][1]["content"] == "two"
    assert heard[0][1]["seq"] == chunk["seq"] + 1


async def test_a_position_of_another_log_is_answered_with_the_epoch_there_is(
    gateway: RunningGateway, http: httpx.AsyncClient
) -> None:
    address = await connected(http, gateway)
    await emit(http, address, "resume", session_id="talk", epoch="", seq=0)
    ((_, error),) = await spoken(http, address, "error")
    await emit(http, address, "resume", session_id="talk", epoch=error["epoch"], seq=0)
    await emit(http, address, "chat_message", content="Analyse my system performance", session_id="talk")
    heard = await spoken(http, address, "chat_complete")
    assert error["code"] == "epoch_changed"
    assert "error" not in [name for name, _ in heard]


@pytest.fixture(scope="module")
async def hasty_gateway(llm: RunningMockLLM, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    settings = make_settings(
        tmp_path_factory.mktemp("hasty"), llm.openai_url, auth_timeout=0.3, max_sessions=2, expiry_interval=0.01
    )
    async with running_gateway(settings) as running:
        yield running


@pytest.mark.parametrize("said", [None, "2probe", "hello", b"2probe"])
async def test_an_upgrade_that_is_never_finished_is_closed_and_its_session_lives_on(
    hasty_gateway: RunningGateway, said: str | bytes | None
) -> None:
    async with httpx.AsyncClient(base_url=hasty_gateway.url, timeout=20) as http:
        address = await connected(http, hasty_gateway)
        async with ChatClient.connect(socket_url(hasty_gateway, address)) as websocket:
            await websocket.send(said) if said is not None else None
            ended = await websocket.wait_closed()
        await http.post(address, content=QUESTION)
        heard = await spoken(http, address, "chat_complete")
        await http.post(address, content="1")
    assert ended.code == 1002
    assert heard


async def test_two_websockets_do_not_upgrade_one_session(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    address = await connected(http, gateway)
    async with ChatClient.connect(socket_url(gateway, address)) as first:
        await first.send("2probe")
        assert await first.receive_text() == "3probe"
        with pytest.raises(HandshakeRefusedError) as refused:
            async with ChatClient.connect(socket_url(gateway, address)):
                pass
        await first.send("5")
        await first.send(QUESTION)
        packet = await first.receive_text()
        while not packet.startswith('42["chat_'):
            packet = await first.receive_text()
    assert refused.value.status == 400


async def test_an_upgrade_of_a_session_that_ends_is_closed_with_it(
    gateway: RunningGateway, http: httpx.AsyncClient
) -> None:
    address = await connected(http, gateway)
    async with ChatClient.connect(socket_url(gateway, address)) as websocket:
        await http.post(address, content="1")
        ended = await websocket.wait_closed(timeout=5)
    assert ended.code == 1002


async def test_sessions_beyond_the_limit_are_refused_until_one_ends(hasty_gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=hasty_gateway.url, timeout=20) as http:
        first = await connected(http, hasty_gateway)
        async with ChatClient.connect(socket_url(hasty_gateway), headers=hasty_gateway.headers()) as second:
            await second.send("40")
            await second.receive_text()
            polling = await http.get(PATH)
            with pytest.raises(HandshakeRefusedError) as websocket:
                async with ChatClient.connect(socket_url(hasty_gateway)):
                    pass
            await http.post(first, content="1")
            again = await http.get(PATH)
    assert (polling.status_code, websocket.value.status, again.status_code) == (503, 503, 200)
    assert polling.json()["message"] == "Too many sessions"


async def test_a_session_ends_with_its_token(hasty_gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=hasty_gateway.url, timeout=20) as http:
        address = await opened(http)
        await http.post(address, content=f'40{{"token":"{hasty_gateway.token(lifetime=1)}"}}')
        answers = [(await http.get(address)).text, (await http.get(address)).text]
    assert answers[0].startswith('40{"sid":')
    assert answers[1] == "1"


async def test_a_websocket_session_ends_with_its_token_and_says_so(hasty_gateway: RunningGateway) -> None:
    async with ChatClient.connect(socket_url(hasty_gateway), headers=hasty_gateway.headers(lifetime=1)) as websocket:
        await websocket.send("40")
        ended = await websocket.wait_closed()
    assert (ended.code, ended.reason) == (4401, "the token has expired; get a new one")
