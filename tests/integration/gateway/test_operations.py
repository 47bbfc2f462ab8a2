"""What an operator sees: every answer of the HTTP side fits the document, in every state; log lines and their ids."""

import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from sqlalchemy import make_url

from fault_proxy import Cut, FaultProxy
from gateway.endpoints.openapi import openapi_document
from gateway.server import _bind
from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM, running_mock_llm

pytestmark = pytest.mark.anyio

DOCUMENT = openapi_document()
PROBES = ("/health", "/ready", "/ws/health")

HELD = """
name: held
rules:
  - name: held
    match: {user: "wait"}
    reply: [{text: ["one ", "two"]}]
    hold: [{barrier: middle, after_event: 2}]
"""


def check(answer: httpx.Response, path: str) -> None:
    """The answer is one that the document promises for this path and status."""
    method = answer.request.method.lower()
    responses = DOCUMENT["paths"][path][method]["responses"]
    promised = responses[str(answer.status_code)]
    if "$ref" in promised:
        promised = DOCUMENT["components"]["responses"][promised["$ref"].rpartition("/")[2]]
    content = promised.get("content", {})
    media_type = answer.headers["content-type"].partition(";")[0]
    assert not content or media_type in content
    if "schema" in content.get(media_type, {}) and media_type == "application/json":
        schema = content[media_type]["schema"] | {"components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        yield client


async def test_every_answer_is_one_that_the_document_promises(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    publisher = gateway.headers(roles=["publisher"])
    channel = "/channels/{channel}/messages"
    asked: list[tuple[int, str, str, str, dict[str, Any]]] = [
        *((200, "GET", path, path, {}) for path in PROBES),
        (200, "GET", "/", "/", {}),
        (200, "GET", "/page/{name}", "/page/page.js", {}),
        (404, "GET", "/page/{name}", "/page/settings.py", {}),
        (200, "GET", "/asyncapi.json", "/asyncapi.json", {}),
        (200, "GET", "/openapi.json", "/openapi.json", {}),
        (202, "POST", channel, "/channels/guide/messages", {"headers": publisher, "json": {"content": "news"}}),
        (400, "POST", channel, "/channels/a%20b/messages", {"headers": publisher, "json": {"content": "news"}}),
        (400, "POST", channel, "/channels/guide/messages", {"headers": publisher, "content": b"[" * 5000}),
        (400, "POST", channel, "/channels/guide/messages", {"headers": publisher, "json": {"content": " "}}),
        (401, "POST", channel, "/channels/guide/messages", {"json": {"content": "news"}}),
        (403, "POST", channel, "/channels/guide/messages", {"headers": gateway.headers(), "json": {"content": "n"}}),
        (413, "POST", channel, "/channels/guide/messages", {"headers": publisher, "content": b"x" * 9000}),
        (200, "GET", "/socket.io/", "/socket.io/?EIO=4&transport=polling", {}),
        (400, "GET", "/socket.io/", "/socket.io/?EIO=3&transport=polling", {}),
        (400, "POST", "/socket.io/", "/socket.io/?EIO=4&transport=polling&sid=none", {"content": b"1"}),
    ]
    statuses = []
    for _, method, path, url, options in asked:
        answer = await http.request(method, url, **options)
        statuses.append(answer.status_code)
        check(answer, path)
    assert statuses == [status for status, *_ in asked]


async def test_the_document_is_served_as_it_is_shipped(http: httpx.AsyncClient) -> None:
    answer = await http.get("/openapi.json")
    assert answer.json() == msgspec.json.decode(msgspec.json.encode(DOCUMENT))


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/health", 405)])
async def test_what_is_not_there_is_refused_like_everything_else(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert "/openapi.json" in answer.json()["error"]["text"]


async def test_while_it_drains_it_is_healthy_and_not_ready(tmp_path: Path) -> None:
    async with (
        running_mock_llm(HELD) as llm,
        running_gateway(make_settings(tmp_path, llm.openai_url, drain_timeout=30)) as gateway,
        httpx.AsyncClient(base_url=gateway.url) as http,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
    ):
        await client.send({"type": "user_message", "content": "wait"})
        await client.receive_until("partial_result")
        gateway.stop()
        await client.receive_until("draining")
        answers = {path: await http.get(path) for path in PROBES}
        llm.barriers.release("middle")
        await client.receive_until("agent_completed")
    for path, answer in answers.items():
        check(answer, path)
    assert {path: (answer.status_code, answer.json()["status"]) for path, answer in answers.items()} == {
        "/health": (200, "ok"),
        "/ready": (503, "draining"),
        "/ws/health": (503, "draining"),
    }


async def test_while_the_database_is_gone_no_probe_is_content(llm: RunningMockLLM, postgres_url: str) -> None:
    place = make_url(postgres_url)
    async with FaultProxy(place.host or "127.0.0.1", place.port or 5432) as proxy:
        url = place.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        async with (
            running_gateway(make_settings(url, llm.openai_url, storage_timeout=0.5)) as gateway,
            httpx.AsyncClient(base_url=gateway.url) as http,
            ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client,
        ):
            proxy.refuse()
            proxy.cut(Cut.RST)
            await client.send({"type": "user_message", "content": "hello"})
            await client.receive_until("busy")
            answers = {path: await http.get(path) for path in PROBES}
            proxy.accept()
    for path, answer in answers.items():
        check(answer, path)
    assert {(answer.status_code, answer.json()["status"]) for answer in answers.values()} == {(503, "failing")}


async def test_log_lines_of_a_turn_carry_its_ids_and_neither_words_nor_token(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    content, token = "Analyse my secret-canary system", gateway.token()
    with caplog.at_level(logging.DEBUG, logger="gateway"):
        async with ChatClient.connect(gateway.ws_url, headers={"Authorization": f"Bearer {token}"}) as client:
            await client.send({"type": "user_message", "id": "req-1", "content": content, "thread_id": "talk"})
            events = await client.receive_until("agent_completed")
            unnamed = {"type": "user_message", "message_id": "msg-2", "content": content, "thread_id": "talk"}
            await client.send(unnamed)
            events += await client.receive_until("agent_completed")
    runs = [event["run_id"] for event in events if event["type"] == "agent_completed"]
    lines = [msgspec.json.decode(record.getMessage()) for record in caplog.records if record.name.startswith("gateway")]
    ended = [line for line in lines if line["event"] == "turn completed"]
    assert [(line["request_id"], line["user_id"], line["thread_id"], line["run_id"]) for line in ended] == [
        ("req-1", "alice", "talk", runs[0]),
        ("msg-2", "alice", "talk", runs[1]),
    ]
    assert "secret-canary" not in caplog.text
    assert token not in caplog.text


async def test_a_line_end_in_what_a_client_sends_makes_no_second_log_line(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    forged = 'x\n{"event": "turn completed", "user_id": "root"}\r\n\u2028'
    with caplog.at_level(logging.DEBUG, logger="gateway"):
        async with ChatClient.connect(gateway.ws_url) as client:
            await client.send({"type": "auth", "token": gateway.token(), "id": "i", forged: forged})
            await client.wait_closed()
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
            await client.send({"type": forged})
            await client.send({"type": "user_message", "content": forged, "thread_id": "talk"})
            await client.receive_until("agent_completed")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("gateway")]
    assert lines
    assert [line for line in lines if len(line.splitlines()) != 1] == []
    assert {msgspec.json.decode(line).get("user_id") for line in lines} <= {None, "alice"}


def test_no_part_of_an_answer_waits_for_the_acknowledgement_of_the_one_before() -> None:
    with _bind("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
