"""How the gateway ends a connection that it cannot go on with: the code, and no fault in the log.

The client here is a plain TCP connection, since a WebSocket client would not do most of this.
"""

import base64
import logging
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from gateway.testing import RunningGateway, make_settings, running_gateway
from gateway.testing.client import ChatClient
from mock_llm.testing import RunningMockLLM

pytestmark = pytest.mark.anyio

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
FINAL, RESERVED = 0x80, 0x40


@pytest.fixture(scope="module")
async def module_gateway(
    llm: RunningMockLLM, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningGateway]:
    settings = make_settings(
        tmp_path_factory.mktemp("closing"),
        llm.openai_url,
        auth_timeout=0.5,
        heartbeat=0.5,
        heartbeat_timeout=0.5,
        max_frame_bytes=20_000,
    )
    async with running_gateway(settings) as running:
        yield running


class RawSocket:
    """A TCP connection that says what it is told to, and reads until the gateway ends it."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def open_websocket(self, request: bytes) -> None:
        """Shake hands; the gateway has seen the request when this returns, and has read no further."""
        await self._stream.send(request)
        received = b""
        with anyio.fail_after(20):
            while b"\r\n\r\n" not in received:
                received += await self._stream.receive()
        assert received.startswith(b"HTTP/1.1 101")

    async def read_to_the_end(self) -> bytes:
        received = b""
        with anyio.fail_after(20):
            try:
                while True:
                    received += await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return received


@asynccontextmanager
async def raw(gateway: RunningGateway) -> AsyncIterator[RawSocket]:
    async with await anyio.connect_tcp("127.0.0.1", int(gateway.url.rpartition(":")[2])) as stream:
        yield RawSocket(stream)


def handshake(gateway: RunningGateway, path: str = "/ws", *, token: str | None = None) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {path} HTTP/1.1", "Host: gateway", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    lines += [f"Authorization: Bearer {gateway.token() if token is None else token}"] if token != "" else []
    return "\r\n".join([*lines, "", ""]).encode()


def frame(first_byte: int, payload: bytes, *, masked: bool = True) -> bytes:
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + struct.pack("!H", size)
    mask = 0x80 if masked else 0
    return bytes([first_byte, length[0] | mask]) + length[1:] + (b"\0\0\0\0" if masked else b"") + payload


def close_code(received: bytes) -> int | None:
    """The code of the close frame at the very end, if one is there."""
    for size in range(2, 126):
        tail = received[-size - 2 :]
        if len(tail) == size + 2 and tail[:2] == bytes([FINAL | CLOSE, size]):
            return int.from_bytes(tail[2:4])
    return None


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


BROKEN = {
    "not masked": frame(FINAL | TEXT, b"{}", masked=False),
    "reserved bits": frame(FINAL | RESERVED | TEXT, b"{}"),
    "unknown opcode": frame(FINAL | 3, b"{}"),
    "a long ping": frame(FINAL | PING, b"x" * 200),
    "a ping in pieces": frame(PING, b"x"),
    "text that is not UTF-8": frame(FINAL | TEXT, b"\xff\xfe"),
    "a close frame of one byte": frame(FINAL | CLOSE, b"\x03"),
    "a close code that is none": frame(FINAL | CLOSE, struct.pack("!H", 1005)),
    "a close reason that is not UTF-8": frame(FINAL | CLOSE, struct.pack("!H", 1000) + b"\xff"),
    "a continuation of nothing": frame(FINAL, b"x"),
    "a frame too large": frame(FINAL | TEXT, b"x" * 30_000),
    "frames too large together": frame(TEXT, b"x") + frame(0, b"x" * 100) * 300,
}


@pytest.mark.parametrize("broken", [pytest.param(data, id=name) for name, data in BROKEN.items()])
@pytest.mark.parametrize("token", [None, ""], ids=["authenticated", "not authenticated"])
@pytest.mark.parametrize("path", ["/ws", "/socket.io/?EIO=4&transport=websocket"])
async def test_a_frame_that_breaks_the_protocol_ends_the_connection_and_is_no_fault_of_the_gateway(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, broken: bytes, token: str | None, path: str
) -> None:
    async with raw(gateway) as client:
        await client.open_websocket(handshake(gateway, path, token=token))
        await client.send(broken)
        received = await client.read_to_the_end()
    assert close_code(received) in {1002, 1007, 1009, None}
    assert faults(caplog) == []


async def test_a_frame_that_is_too_large_is_closed_with_1009(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url, headers=gateway.headers()) as client:
        await client.receive()
        await client.send("x" * 30_000)
        ended = await client.wait_closed()
    assert ended.code == 1009


async def test_a_missed_heartbeat_is_closed_with_1011(gateway: RunningGateway) -> None:
    async with raw(gateway) as client:
        await client.open_websocket(handshake(gateway))
        received = await client.read_to_the_end()
    assert close_code(received) == 1011


async def test_a_connection_that_does_not_authenticate_in_time_is_closed_with_4408(gateway: RunningGateway) -> None:
    async with ChatClient.connect(gateway.ws_url) as client:
        ended = await client.wait_closed()
    assert (ended.code, ended.reason) == (4408, "no auth message came in time")


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HT", id="half a line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: gateway\r\n", id="half a head"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\nGET /", id="half a second request"),
        pytest.param(
            b"POST /channels/guide/messages HTTP/1.1\r\nHost: gateway\r\nContent-Length: 9\r\n\r\nhalf",
            id="half a body",
        ),
    ],
)
async def test_a_request_that_never_comes_does_not_hold_a_connection(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, begun: bytes
) -> None:
    async with raw(gateway) as client:
        await client.send(begun) if begun else None
        await client.read_to_the_end()
    assert faults(caplog) == []


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        pytest.param("/ws", "wrong", 401, id="a wrong token"),
        pytest.param("/socket.io/?EIO=4&transport=websocket&sid=none", None, 400, id="no such session"),
        pytest.param("/nothing", None, 403, id="no such address"),
    ],
)
async def test_a_refused_handshake_is_no_fault_of_the_gateway(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, path: str, token: str | None, status: int
) -> None:
    async with raw(gateway) as client:
        await client.send(handshake(gateway, path, token=token))
        received = await client.read_to_the_end()
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert faults(caplog) == []


FIRST_MESSAGES = {
    "an unknown type": {"type": "canary-type"},
    "an unknown field": {"type": "auth", "token": "x", "canary-field": 1},
    "a long value": {"type": "auth", "token": 5, "id": "canary" * 500},
    "a message for later": {"type": "user_message", "content": "canary"},
    "a wrong token": {"type": "auth", "token": "canary"},
    "half a character pair": '{"type": "auth", "token": "canary\\ud800"}',
    "no JSON": "canary",
}


@pytest.mark.parametrize("message", [pytest.param(message, id=name) for name, message in FIRST_MESSAGES.items()])
async def test_a_wrong_first_message_is_closed_with_4401_and_not_repeated_in_the_log(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, message: dict[str, object] | str
) -> None:
    caplog.set_level(logging.DEBUG, logger="gateway")
    async with ChatClient.connect(gateway.ws_url) as client:
        await client.send(message)
        error = await client.receive()
        ended = await client.wait_closed()
    refused = [
        msgspec.json.decode(record.getMessage()) for record in caplog.records if record.name == "gateway.websocket"
    ]
    assert error["payload"]["code"] == "unauthenticated"
    assert ended.code == 4401
    assert error["payload"]["text"].startswith(f"Not authenticated: {ended.reason}"[:120])
    assert [line["event"] for line in refused] == ["connection refused"]
    assert "canary" not in caplog.text
    assert faults(caplog) == []


async def test_the_leeway_holds_for_an_open_connection_too(llm: RunningMockLLM, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, llm.openai_url, jwt_leeway=300, expiry_interval=0.01)
    async with (
        running_gateway(settings) as gateway,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers(lifetime=-10)) as client,
    ):
        await client.receive()
        events = await client.chat("Analyse my system performance")
    assert events[-1]["type"] == "agent_completed"


async def test_a_token_that_expires_ends_its_connection_with_4401(llm: RunningMockLLM, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, llm.openai_url, expiry_interval=0.01)
    async with (
        running_gateway(settings) as gateway,
        ChatClient.connect(gateway.ws_url, headers=gateway.headers(lifetime=1)) as client,
    ):
        ended = await client.wait_closed()
    assert (ended.code, ended.reason) == (4401, "the token has expired; get a new one")
