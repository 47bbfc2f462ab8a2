"""Channels by role and tenant, over real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.testing import RunningGateway
from gateway.testing.client import ChatClient

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    headers = gateway.headers("newsroom", roles=["publisher"])
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as client:
        yield client


async def joined(client: ChatClient, channel: str) -> None:
    """Join; the pong says that it is done."""
    await client.send({"type": "subscribe", "channel": channel})
    await client.send({"type": "ping"})
    events = await client.receive_until("pong")
    assert [event["type"] for event in events if event["type"] == "error_event"] == []


@pytest.mark.parametrize("channel", ["guide", "pillar:content", "pillar:insights"])
async def test_a_member_hears_what_is_published(gateway: RunningGateway, http: httpx.AsyncClient, channel: str) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await joined(client, channel)
        answer = await http.post(f"/channels/{channel}/messages", json={"content": "news"})
        event = await client.receive()
    assert answer.json() == {"reached": 1}
    assert event["payload"] == {"channel": channel, "content": "news", "text": f"A message in {channel}"}


async def test_whoever_has_left_hears_nothing(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await joined(client, "guide")
        await client.send({"type": "unsubscribe", "channel": "guide"})
        await client.send({"type": "ping"})
        await client.receive_until("pong")
        answer = await http.post("/channels/guide/messages", json={"content": "news"})
    assert answer.json() == {"reached": 0}


async def test_a_channel_of_one_tenant_is_not_heard_in_another(
    gateway: RunningGateway, http: httpx.AsyncClient
) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(tenant_id="other")) as client:
        await joined(client, "guide")
        answer = await http.post("/channels/guide/messages", json={"content": "news"})
    assert answer.json() == {"reached": 0}


@pytest.mark.parametrize("channel", ["ops:alerts", "no-such-channel"])
async def test_a_channel_that_the_roles_do_not_open_is_refused(gateway: RunningGateway, channel: str) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send({"type": "subscribe", "channel": channel})
        refused = await client.receive()
    assert (refused["payload"]["code"], refused["payload"]["field"]) == ("forbidden", "channel")


async def test_a_role_opens_its_channels(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(roles=["admin"])) as client:
        await joined(client, "ops:alerts")


async def test_a_fresh_token_with_fewer_roles_closes_channels(gateway: RunningGateway, http: httpx.AsyncClient) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(roles=["admin"])) as client:
        await joined(client, "ops:alerts")
        await client.send({"type": "auth", "token": gateway.token(roles=["user"])})
        told = await client.receive()
        answer = await http.post("/channels/ops:alerts/messages", json={"content": "secret"})
    assert told["payload"]["code"] == "forbidden"
    assert "ops:alerts" in told["payload"]["text"]
    assert answer.json() == {"reached": 0}


@pytest.mark.parametrize(
    ("body", "roles", "status"),
    [
        pytest.param({"content": "x"}, ["user"], 403, id="role"),
        pytest.param({"content": 5}, ["publisher"], 400, id="type"),
        pytest.param({}, ["publisher"], 400, id="missing"),
        pytest.param({"content": "x" * 9000}, ["publisher"], 413, id="size"),
    ],
)
async def test_a_wrong_publication_is_refused(
    gateway: RunningGateway, http: httpx.AsyncClient, body: dict[str, Any], roles: list[str], status: int
) -> None:
    answer = await http.post("/channels/guide/messages", json=body, headers=gateway.headers(roles=roles))
    assert answer.status_code == status
    assert answer.json()["error"]["text"]


async def test_publishing_without_a_token_is_refused(gateway: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        answer = await client.post("/channels/guide/messages", json={"content": "x"})
    assert answer.status_code == 401
