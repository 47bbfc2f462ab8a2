"""The proxy between a real client and a real server, over loopback sockets, on both backends."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fault_proxy import Cut, Direction, Ending, FaultProxy, FaultProxyError

pytestmark = pytest.mark.anyio

LIMIT = 20  # seconds; a deadline for what must happen, never a wait


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """A server that sends back what it gets, then ends its stream when the client ended its own."""

    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            try:
                async for data in stream:
                    await stream.send(data)
                await stream.send_eof()
            except (
                anyio.BrokenResourceError,
                anyio.ClosedResourceError,
                OSError,
            ):  # OSError: trio, where the peer reset
                return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  an attribute of a stream, no query
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def proxied_echo(*, buffer_bytes: int = 65536, max_connections: int = 64) -> AsyncIterator[FaultProxy]:
    async with echo_server() as port:
        with anyio.fail_after(LIMIT):
            async with FaultProxy(
                "127.0.0.1", port, buffer_bytes=buffer_bytes, max_connections=max_connections
            ) as proxy:
                yield proxy


async def exchange(proxy: FaultProxy, data: bytes) -> bytes:
    """Sends everything, ends the stream, returns everything that comes back."""
    received = bytearray()
    async with await anyio.connect_tcp(proxy.host, proxy.port) as client, anyio.create_task_group() as tasks:

        async def send() -> None:
            if data:
                await client.send(data)
            await client.send_eof()

        tasks.start_soon(send)
        async for chunk in client:
            received += chunk
    return bytes(received)


async def receive_exactly(client: anyio.abc.ByteReceiveStream, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += await client.receive(size - len(received))
    return received


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=3000),
    split=st.one_of(st.none(), st.integers(1, 700)),
    rate=st.one_of(st.none(), st.integers(30_000, 10_000_000)),
    buffer_bytes=st.integers(1, 4096),
)
async def test_bytes_come_through_exactly_whatever_the_split_and_the_pace(
    data: bytes, split: int | None, rate: int | None, buffer_bytes: int
) -> None:
    async with proxied_echo(buffer_bytes=buffer_bytes) as proxy:
        proxy.split(split)
        proxy.throttle(rate)
        assert await exchange(proxy, data) == data


async def test_without_faults_a_large_stream_comes_through_whole() -> None:
    data = bytes(range(256)) * 4096
    async with proxied_echo() as proxy:
        assert await exchange(proxy, data) == data
        statistics = await proxy.until(lambda now: len(now.ended) == 1)
    flow = statistics.connection(1).to_client
    assert (flow.received, flow.buffered, flow.delivered, flow.finished) == (len(data), 0, len(data), True)
    assert statistics.connection(1).ending is Ending.FINISHED


async def test_a_split_makes_as_many_writes_as_it_says() -> None:
    async with proxied_echo() as proxy:
        proxy.split(1, Direction.TO_CLIENT)
        assert await exchange(proxy, b"streamproof") == b"streamproof"
        statistics = await proxy.until(lambda now: len(now.ended) == 1)
    assert statistics.connection(1).to_client.writes == len(b"streamproof")


async def test_a_throttle_takes_at_least_the_time_of_its_pace() -> None:
    async with proxied_echo() as proxy:
        proxy.throttle(10_000, Direction.TO_CLIENT)
        started = anyio.current_time()
        assert await exchange(proxy, bytes(3000)) == bytes(3000)
        # All but the last portion of 200 bytes is paced.
        assert anyio.current_time() - started >= 0.27


async def test_a_delay_holds_bytes_back_for_its_length() -> None:
    async with proxied_echo() as proxy:
        proxy.delay(0.2, Direction.TO_SERVER)
        started = anyio.current_time()
        async with await anyio.connect_tcp(proxy.host, proxy.port) as client:
            await client.send(b"ping")
            assert await client.receive() == b"ping"
        assert anyio.current_time() - started >= 0.2


async def test_a_stall_holds_what_comes_and_resume_lets_it_go() -> None:
    async with proxied_echo() as proxy:
        proxy.stall(Direction.TO_CLIENT)
        async with await anyio.connect_tcp(proxy.host, proxy.port) as client:
            await client.send(b"held")
            held = await proxy.until(lambda now: bool(now.live) and now.live[0].to_client.buffered == 4)
            assert held.connection(1).to_client.delivered == 0
            proxy.resume(Direction.TO_CLIENT)
            assert await client.receive() == b"held"


async def test_a_stall_after_n_bytes_lets_exactly_n_through() -> None:
    async with proxied_echo() as proxy:
        proxy.stall(Direction.TO_CLIENT, after_bytes=3)
        async with await anyio.connect_tcp(proxy.host, proxy.port) as client:
            await client.send(b"abcdef")
            assert await receive_exactly(client, 3) == b"abc"
            now = await proxy.until(lambda now: now.live[0].to_client.buffered == 3)
            assert now.connection(1).to_client.delivered == 3


async def test_a_stalled_direction_holds_no_more_than_its_buffer() -> None:
    async with proxied_echo(buffer_bytes=1000) as proxy:
        proxy.stall(Direction.TO_SERVER)
        async with await anyio.connect_tcp(proxy.host, proxy.port) as client:
            await client.send(bytes(50_000))
            now = await proxy.until(lambda now: bool(now.live) and now.live[0].to_server.buffered == 1000)
            assert now.connection(1).to_server.received == 1000


async def test_a_cut_with_fin_is_an_end_of_stream_for_the_client() -> None:
    async with proxied_echo() as proxy, await anyio.connect_tcp(proxy.host, proxy.port) as client:
        await client.send(b"once")
        assert await receive_exactly(client, 4) == b"once"
        proxy.cut(Cut.FIN)
        with pytest.raises(anyio.EndOfStream):
            await client.receive()
        await client.aclose()
        assert (await proxy.until(lambda now: len(now.ended) == 1)).connection(1).ending is Ending.CUT_FIN


async def test_a_cut_with_rst_is_a_reset_for_the_client() -> None:
    async with proxied_echo() as proxy, await anyio.connect_tcp(proxy.host, proxy.port) as client:
        await client.send(b"once")
        assert await receive_exactly(client, 4) == b"once"
        proxy.cut(Cut.RST)
        with pytest.raises(anyio.BrokenResourceError) as raised:
            await client.receive()
        assert isinstance(raised.value.__cause__, ConnectionResetError)
        assert (await proxy.until(lambda now: len(now.ended) == 1)).connection(1).ending is Ending.CUT_RST


@pytest.mark.parametrize("after", [0, 1, 5])
async def test_a_cut_after_n_bytes_delivers_exactly_n(after: int) -> None:
    async with proxied_echo() as proxy:
        proxy.cut_after(after, Direction.TO_CLIENT)
        assert await exchange(proxy, b"0123456789") == b"0123456789"[:after]


async def test_a_half_close_ends_one_direction_and_leaves_the_other() -> None:
    async with proxied_echo() as proxy:
        proxy.cut_after(4, Direction.TO_CLIENT, Cut.HALF)
        async with await anyio.connect_tcp(proxy.host, proxy.port) as client:
            await client.send(b"12345678")
            assert await receive_exactly(client, 4) == b"1234"
            with pytest.raises(anyio.EndOfStream):
                await client.receive()
            await client.send(b"more")
            now = await proxy.until(lambda now: now.live[0].to_server.delivered == 12)
            assert now.connection(1).ending is None


async def test_a_cut_of_one_connection_leaves_the_others() -> None:
    async with proxied_echo() as proxy, await anyio.connect_tcp(proxy.host, proxy.port) as first:
        await proxy.until(lambda now: now.accepted == 1)
        async with await anyio.connect_tcp(proxy.host, proxy.port) as second:
            await proxy.until(lambda now: now.accepted == 2)
            proxy.cut(Cut.FIN, connection=1)
            with pytest.raises(anyio.EndOfStream):
                await first.receive()
            await second.send(b"alive")
            assert await receive_exactly(second, 5) == b"alive"


async def test_faults_can_be_set_for_a_connection_that_is_still_to_come() -> None:
    async with proxied_echo() as proxy:
        proxy.cut_after(2, Direction.TO_CLIENT, connection=2)
        assert await exchange(proxy, b"first") == b"first"
        assert await exchange(proxy, b"second") == b"se"
        assert await exchange(proxy, b"third") == b"third"


async def test_refused_connections_are_refused_until_accepted_again_on_the_same_port() -> None:
    async with proxied_echo() as proxy:
        async with await anyio.connect_tcp(proxy.host, proxy.port) as live:
            await live.send(b"a")
            assert await live.receive() == b"a"
            proxy.refuse()
            with pytest.raises(OSError, match=r".") as raised:
                await anyio.connect_tcp(proxy.host, proxy.port)
            assert isinstance(raised.value.__cause__ or raised.value, ConnectionRefusedError)
            await live.send(b"b")
            assert await live.receive() == b"b"
        proxy.accept()
        assert await exchange(proxy, b"back") == b"back"


async def test_an_unreachable_server_resets_the_client_and_is_counted() -> None:
    with socket.socket() as closed:  # bound, not listening: connections to it are refused
        closed.bind(("127.0.0.1", 0))
        async with FaultProxy("127.0.0.1", closed.getsockname()[1]) as proxy:
            client = await anyio.connect_tcp(proxy.host, proxy.port)
            async with client:
                with anyio.fail_after(LIMIT), pytest.raises(anyio.BrokenResourceError):
                    await client.receive()
            statistics = await proxy.until(lambda now: len(now.ended) == 1)
    assert statistics.connection(1).ending is Ending.UPSTREAM_UNREACHABLE


async def test_a_client_that_resets_is_a_lost_client() -> None:
    async with proxied_echo() as proxy:
        client = await anyio.connect_tcp(proxy.host, proxy.port)
        await client.send(b"x")
        await client.receive()
        raw = client.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610  as above
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await anyio.aclose_forcefully(client)
        statistics = await proxy.until(lambda now: len(now.ended) == 1)
    assert statistics.connection(1).ending is Ending.CLIENT_LOST


async def test_more_connections_than_the_limit_wait_for_a_place() -> None:
    async with proxied_echo(max_connections=1) as proxy, await anyio.connect_tcp(proxy.host, proxy.port) as first:
        await proxy.until(lambda now: len(now.live) == 1)
        async with await anyio.connect_tcp(proxy.host, proxy.port) as second:
            await second.send(b"later")
            await first.send(b"now")
            assert await receive_exactly(first, 3) == b"now"
            assert proxy.statistics().accepted == 1
            await first.aclose()
            assert await receive_exactly(second, 5) == b"later"


async def test_leaving_the_block_ends_every_connection_and_frees_the_port() -> None:
    async with proxied_echo() as proxy:
        client = await anyio.connect_tcp(proxy.host, proxy.port)
        await proxy.until(lambda now: len(now.live) == 1)
    async with client:
        with anyio.fail_after(LIMIT), pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await client.receive()
    statistics = proxy.statistics()
    assert (statistics.live, statistics.ended[0].ending) == ((), Ending.PROXY_CLOSED)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((proxy.host, proxy.port))


async def test_cancelling_the_body_closes_the_proxy() -> None:
    async with echo_server() as port:
        with anyio.CancelScope() as scope:
            async with FaultProxy("127.0.0.1", port) as proxy, await anyio.connect_tcp(proxy.host, proxy.port):
                await proxy.until(lambda now: len(now.live) == 1)
                scope.cancel()
                await anyio.sleep_forever()
    assert proxy.statistics().live == ()


async def test_it_is_used_once() -> None:
    async with proxied_echo() as proxy:
        pass
    with pytest.raises(FaultProxyError, match="used once"):
        await proxy.__aenter__()


async def test_only_as_many_ended_connections_are_remembered_as_asked_for() -> None:
    async with echo_server() as port, FaultProxy("127.0.0.1", port, remembered=2) as proxy:
        with anyio.fail_after(LIMIT):
            for _ in range(3):
                await exchange(proxy, b"x")
            statistics = await proxy.until(lambda now: now.accepted == 3 and not now.live)
    assert [connection.number for connection in statistics.ended] == [2, 3]
    with pytest.raises(LookupError):
        statistics.connection(1)
