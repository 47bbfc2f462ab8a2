"""Who gets in, and how the others are told."""

import jwt
import msgspec
import pytest

from gateway.testing import TEST_KEYS, RunningGateway
from gateway.testing.client import ChatClient, HandshakeRefusedError

pytestmark = pytest.mark.anyio


def unsigned_token() -> str:
    claims = {"sub": "alice", "iss": "streamproof", "aud": "streamproof-gateway", "exp": 4102444800}
    return jwt.encode(claims, "", algorithm="none")


def foreign_token() -> str:
    claims = {"sub": "alice", "iss": "streamproof", "aud": "streamproof-gateway", "exp": 4102444800}
    return jwt.encode(claims, "k" * 32, algorithm="HS256", headers={"kid": "test"})


def other_audience_token() -> str:
    claims = {"sub": "alice", "iss": "streamproof", "aud": "elsewhere", "exp": 4102444800}
    return jwt.encode(claims, TEST_KEYS["test"], algorithm="HS256", headers={"kid": "test"})


BAD_TOKENS = [
    pytest.param("not-a-token", "not a token", id="garbage"),
    pytest.param(unsigned_token(), "", id="alg none"),
    pytest.param(foreign_token(), "signature", id="wrong key"),
    pytest.param(other_audience_token(), "audience", id="wrong audience"),
]


async def test_a_token_in_the_header_opens_the_connection(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers("alice")) as client:
        welcome = await client.receive()
    assert welcome["user_id"] == "alice"


async def test_a_token_in_the_subprotocol_opens_the_connection(gateway: RunningGateway) -> None:
    offered = ["streamproof.v1", f"bearer.{gateway.token('alice')}"]
    async with ChatClient.connect(gateway.ws_url, subprotocols=offered) as client:
        welcome = await client.receive()
        chosen = client.subprotocol
    assert welcome["user_id"] == "alice"
    assert chosen == "streamproof.v1"


async def test_a_token_in_the_first_message_opens_the_connection(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url) as client:
        await client.send({"type": "auth", "token": gateway.token("alice")})
        welcome = await client.receive()
    assert welcome["user_id"] == "alice"


@pytest.mark.parametrize(("token", "words"), BAD_TOKENS)
async def test_a_bad_token_is_refused_before_the_upgrade(gateway: RunningGateway, token: str, words: str) -> None:
    with pytest.raises(HandshakeRefusedError) as refused:
        async with ChatClient.connect(gateway.ws_url, headers={"Authorization": f"Bearer {token}"}):
            pass
    body = msgspec.json.decode(refused.value.body)
    assert refused.value.status == 401
    assert body["error"]["code"] == "unauthenticated"
    assert words in body["error"]["text"]


async def test_an_expired_token_is_refused_before_the_upgrade(gateway: RunningGateway) -> None:
    with pytest.raises(HandshakeRefusedError) as refused:
        async with ChatClient.connect(gateway.ws_url, headers=gateway.headers(lifetime=-10)):
            pass
    assert b"expired" in refused.value.body


@pytest.mark.parametrize(("token", "words"), BAD_TOKENS)
async def test_a_bad_token_in_the_first_message_closes_with_4401(
    gateway: RunningGateway, token: str, words: str
) -> None:
    async with ChatClient.connect(gateway.ws_url) as client:
        await client.send({"type": "auth", "token": token})
        error = await client.receive()
        ended = await client.wait_closed()
    assert error["payload"]["code"] == "unauthenticated"
    assert words in error["payload"]["text"]
    assert ended.code == 4401


async def test_a_first_message_that_is_not_auth_closes_with_4401(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url) as client:
        await client.send({"type": "user_message", "content": "let me in"})
        ended = await client.wait_closed()
    assert ended.code == 4401
