"""The server itself: bad peers, slow peers, vanished peers, pipelining, start and stop."""

import json
import socket

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute

from integration.mock_llm.stories import EVERYTHING, saying
from mock_llm.scenario import RefuseConnections, Timing
from mock_llm.server import _bound
from mock_llm.settings import MockLLMSettings
from mock_llm.testing import RunningMockLLM, mock_llm_in_thread, running_mock_llm

pytestmark = pytest.mark.anyio

BODY = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()


def _request(body: bytes = BODY, path: str = "/v1/chat/completions") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


async def _connect(llm: RunningMockLLM) -> anyio.abc.SocketStream:
    host, _, port = llm.url.removeprefix("http://").rpartition(":")
    return await anyio.connect_tcp(host, int(port))


async def _read_all(stream: anyio.abc.SocketStream) -> bytes:
    found = bytearray()
    with anyio.fail_after(30):
        try:
            while True:
                found += await stream.receive()
        except anyio.EndOfStream:
            return bytes(found)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n", b"413"),
    ],
)
async def test_a_peer_that_breaks_the_rules_is_told_and_dropped(sent: bytes, status: bytes) -> None:
    async with running_mock_llm(EVERYTHING) as llm, await _connect(llm) as stream:
        await stream.send(sent)
        assert (await _read_all(stream)).startswith(b"HTTP/1.1 " + status)


async def test_requests_in_one_write_are_answered_in_order() -> None:
    bodies = [BODY.replace(b'"m"', b'"model-%d"' % number) for number in range(3)]
    async with running_mock_llm(saying("x")) as llm, await _connect(llm) as stream:
        close = _request(bodies[2]).replace(b"host: x", b"host: x\r\nconnection: close")
        await stream.send(_request(bodies[0]) + _request(bodies[1]) + close)
        found = await _read_all(stream)
        assert [found.index(b"model-%d" % number) for number in range(3)] == sorted(
            found.index(b"model-%d" % number) for number in range(3)
        )
        assert found.count(b"HTTP/1.1 200 OK") == 3


async def test_a_client_that_waits_for_a_continue_gets_one() -> None:
    async with running_mock_llm(saying("x")) as llm, await _connect(llm) as stream:
        head, _, body = _request().partition(b"\r\n\r\n")
        await stream.send(head + b"\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n")
        with anyio.fail_after(60):
            assert (await stream.receive()).startswith(b"HTTP/1.1 100")
        await stream.send(body)
        assert b"[DONE]" in await _read_all(stream)


async def test_a_client_that_never_reads_does_not_grow_memory() -> None:
    scenario = saying(tuple("x" * 10_000 for _ in range(800)))
    async with (
        running_mock_llm(scenario) as llm,
        await _connect(llm) as stream,
        httpx.AsyncClient(base_url=llm.url) as other,
    ):
        # A fixed buffer: else the kernel would let it grow with what comes.
        stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # noqa: S610
        await stream.send(_request().replace(b"host: x", b"host: x\r\nconnection: close"))
        for _ in range(50):
            # Every round trip gives the server a turn in which it could go on writing.
            await other.get("/health")
        entry = llm.requests()[0]
        # The kernel's buffers take a few MiB; the rest of the eight is not even made.
        assert (entry.state, entry.events_sent < entry.events_total // 2) == ("open", True)
        assert (await _read_all(stream)).count(b"data: ") == entry.events_total
        assert entry.state == "done"


async def test_clients_that_connect_and_vanish_leave_nothing_behind() -> None:
    async with running_mock_llm(saying("x", timing=Timing(first_token="1h"))) as llm, httpx.AsyncClient() as client:

        async def vanish(count: int) -> None:
            for number in range(count):
                async with await _connect(llm) as stream:
                    if number % 2:
                        await stream.send(_request())

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(vanish, 50)
        with anyio.fail_after(60):
            while "mock_llm_connections 1.0" not in (await client.get(f"{llm.url}/metrics")).text:
                await anyio.lowlevel.checkpoint()
        assert llm.clock.pending == 0
        assert {entry.state for entry in llm.requests() if entry.protocol} == {"disconnected"}


async def test_too_many_connections_are_told_so() -> None:
    settings = MockLLMSettings(max_connections=1)
    async with running_mock_llm(EVERYTHING, settings) as llm, await _connect(llm) as first:
        await first.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        await first.receive()
        async with await _connect(llm) as second:
            assert (await _read_all(second)).startswith(b"HTTP/1.1 503")


async def test_an_idle_connection_is_closed() -> None:
    settings = MockLLMSettings(idle_seconds=0.05)
    async with running_mock_llm(EVERYTHING, settings) as llm, await _connect(llm) as stream:
        assert await _read_all(stream) == b""


async def test_refused_connections_come_back_on_the_same_port() -> None:
    scenario = saying("x", fault=RefuseConnections(duration="100ms"))
    async with running_mock_llm(scenario) as llm, httpx.AsyncClient(base_url=llm.url) as client:
        with pytest.raises(httpx.TransportError):
            await client.post("/v1/chat/completions", content=BODY)
        with pytest.raises(httpx.ConnectError):
            await client.get("/health")
        with anyio.fail_after(60):
            while True:
                try:
                    assert (await client.get("/health")).status_code == 200
                    break
                except httpx.ConnectError:
                    await anyio.sleep(0.01)


async def test_stopping_closes_the_streams_under_way() -> None:
    scenario = saying("x", timing=Timing(first_token="1h"))
    with anyio.fail_after(60):
        async with running_mock_llm(scenario) as llm:
            stream = await _connect(llm)
            await stream.send(_request())
            assert (await stream.receive()).startswith(b"HTTP/1.1 200")
        async with stream:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        assert llm.requests()[0].state == "disconnected"


def test_a_synchronous_test_gets_a_server_in_a_thread() -> None:
    with mock_llm_in_thread(EVERYTHING, backend="trio") as llm, httpx.Client(base_url=llm.url) as client:
        assert client.post("/v1/chat/completions", content=BODY).status_code == 200


async def test_an_address_in_use_is_an_error_of_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MockLLMSettings(port=taken.getsockname()[1])
        with pytest.raises(BaseExceptionGroup) as caught:
            async with running_mock_llm(EVERYTHING, settings):
                pass
        assert caught.group_contains(OSError)


def test_no_event_waits_for_the_acknowledgement_of_the_one_before() -> None:
    with _bound(socket.AF_INET, "127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
