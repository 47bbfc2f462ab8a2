"""The connections to the model, against a server that says exactly what it is told to say."""

import datetime as dt
import select
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.model.transport import PooledTransport

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok"
LONG = 30.0
"""Seconds that nothing here ever takes."""


@dataclass
class Server:
    """What each connection has asked for."""

    url: str = ""
    requests: list[list[bytes]] = field(default_factory=list)
    closed: anyio.Event = field(default_factory=anyio.Event)
    """A client has closed its connection."""


Talk = Callable[[anyio.abc.ByteStream], Awaitable[None]]


@asynccontextmanager
async def served(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Answer each request on each connection by `talk`."""
    server = Server()

    async def serve_one(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            seen: list[bytes] = []
            server.requests.append(seen)
            try:
                while True:
                    seen.append(await stream.receive())
                    await talk(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                server.closed.set()

    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = tcp.extra(SocketAttribute.local_port)  # noqa: S610  a socket's, not Django's
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1/chat?a=b"
    listener = TLSListener(tcp, tls, standard_compatible=False) if tls else tcp
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve_one)
        yield server
        group.cancel_scope.cancel()


def saying(*answers: bytes) -> Talk:
    """Say the answers one after the other; after the last one, close."""
    left = list(answers)

    async def talk(stream: anyio.abc.ByteStream) -> None:
        if not left:
            raise anyio.EndOfStream
        await stream.send(left.pop(0))
        if not left:
            await stream.aclose()

    return talk


async def always_ok(stream: anyio.abc.ByteStream) -> None:
    await stream.send(ANSWER)


async def say_nothing(stream: anyio.abc.ByteStream) -> None:
    await stream.receive()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's context and a server's whose certificate it trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file: Path = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(private + pem)
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(file)
    return ssl.create_default_context(cadata=pem.decode()), there


def make_client(
    transport: PooledTransport | None = None, *, timeout: float = LONG, context: ssl.SSLContext | None = None
) -> tuple[httpx2.AsyncClient, PooledTransport]:
    transport = transport or PooledTransport(
        context or ssl.create_default_context(), max_connections=4, max_idle=2, idle_seconds=LONG
    )
    return httpx2.AsyncClient(transport=transport, timeout=timeout), transport


async def test_the_request_goes_out_as_it_was_made() -> None:
    client, _ = make_client()
    async with client, served(always_ok) as server:
        response = await client.post(server.url, content=b'{"a": 1}', headers={"x-one": "1"})
        assert (response.status_code, response.text) == (200, "ok")
    head, _, body = server.requests[0][0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat?a=b HTTP/1.1\r\n")
    assert {b"x-one: 1", b"Content-Length: 8"} <= set(head.split(b"\r\n"))
    assert body == b'{"a": 1}'


@pytest.mark.parametrize("value", ["abc\r\nX-Evil: 1", "abc\n", "a\x00b"])
async def test_a_header_that_would_begin_another_is_not_sent(value: str) -> None:
    client, _ = make_client()
    async with client, served(always_ok) as server:
        with pytest.raises(httpx2.LocalProtocolError, match="control character"):
            await client.get(server.url, headers={"Authorization": value})
    assert server.requests == []


async def test_requests_that_follow_each_other_share_a_connection() -> None:
    client, transport = make_client()
    async with client, served(always_ok) as server:
        for _ in range(3):
            await client.get(server.url)
        assert [len(seen) for seen in server.requests] == [3]
        assert transport.idle == 1
    assert transport.idle == 0


async def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    client, transport = make_client()
    async with client, served(saying(ANSWER)) as server:
        await client.get(server.url)
        await wait_until_readable(transport)
        with pytest.raises(httpx2.RemoteProtocolError, match="without a response"):
            await client.get(server.url)
        assert [len(seen) for seen in server.requests] == [1, 1]


async def wait_until_readable(transport: PooledTransport) -> None:
    raw_socket = transport._idle[0].raw_socket
    await anyio.to_thread.run_sync(select.select, [raw_socket], [], [], LONG)


async def test_a_connection_that_is_old_is_closed_and_not_used_again() -> None:
    transport = PooledTransport(ssl.create_default_context(), max_connections=4, max_idle=2, idle_seconds=-1)
    client, _ = make_client(transport)
    async with client, served(always_ok) as server:
        await client.get(server.url)
        await client.get(server.url)
        assert [len(seen) for seen in server.requests] == [1, 1]


async def test_an_answer_that_breaks_off_is_an_error_and_not_its_end() -> None:
    client, transport = make_client()
    async with client, served(saying(HALF)) as server:
        with pytest.raises(httpx2.RemoteProtocolError, match="in the middle"):
            await client.get(server.url)
    assert transport.idle == 0


async def test_an_answer_that_is_none_is_an_error() -> None:
    client, _ = make_client()
    async with client, served(saying(b"SSH-2.0-OpenSSH_9.2\r\n")) as server:
        with pytest.raises(httpx2.RemoteProtocolError, match="not an HTTP"):
            await client.get(server.url)


async def test_silence_ends_the_request_and_its_connection() -> None:
    client, transport = make_client(timeout=0.05)
    async with client, served(say_nothing) as server:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get(server.url)
        await server.closed.wait()
    assert transport.idle == 0


async def test_a_port_where_nobody_listens_is_said_to_be_unreachable(unused_port_url: str) -> None:
    client, _ = make_client()
    async with client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(unused_port_url)


async def test_a_request_that_is_cancelled_closes_its_connection_and_gives_its_place_back() -> None:
    transport = PooledTransport(ssl.create_default_context(), max_connections=1, max_idle=1, idle_seconds=LONG)
    client, _ = make_client(transport)
    async with client, served(say_nothing) as server:
        with anyio.move_on_after(0.05):
            await client.get(server.url)
        await server.closed.wait()
        with anyio.move_on_after(0.05) as scope:
            await client.get(server.url)
        assert scope.cancelled_caught
        assert len(server.requests) == 2


async def test_an_answer_left_in_the_middle_closes_its_connection() -> None:
    client, transport = make_client()
    async with client, served(saying(HALF, ANSWER)) as server:
        async with client.stream("GET", server.url):
            pass
        await server.closed.wait()
    assert transport.idle == 0


async def test_there_are_never_more_connections_than_allowed() -> None:
    transport = PooledTransport(ssl.create_default_context(), max_connections=1, max_idle=1, idle_seconds=LONG)
    client, _ = make_client(transport, timeout=0.05)
    async with client, served(always_ok) as server, client.stream("GET", server.url):
        with pytest.raises(httpx2.PoolTimeout):
            await client.get(server.url)
        assert len(server.requests) == 1


async def test_no_more_connections_are_kept_than_wanted() -> None:
    client, transport = make_client()
    async with client, served(always_ok) as server:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(client.get, server.url)
        assert transport.idle <= 2


async def test_an_encrypted_connection_is_kept_and_used_again(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    here, there = contexts
    client, _ = make_client(context=here)
    async with client, served(always_ok, there) as server:
        assert [(await client.get(server.url)).text for _ in range(2)] == ["ok", "ok"]
        assert [len(seen) for seen in server.requests] == [2]


async def test_a_server_with_a_certificate_of_nobody_is_refused(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    _, there = contexts
    client, transport = make_client()
    async with client, served(always_ok, there) as server:
        with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
            await client.get(server.url)
    assert transport.idle == 0


@pytest.mark.parametrize(
    ("method", "url"),
    [pytest.param("DELETE", "http://127.0.0.1/", id="method"), pytest.param("GET", "ftp://a/", id="scheme")],
)
async def test_what_it_does_not_speak_is_refused_by_name(method: str, url: str) -> None:
    client, _ = make_client()
    async with client:
        with pytest.raises(httpx2.UnsupportedProtocol):
            await client.request(method, url)
