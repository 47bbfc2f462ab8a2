"""A TCP server that completes a WebSocket handshake and then sends exactly the bytes a test gives it."""

import base64
import hashlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

Script = Callable[[anyio.abc.ByteStream], Awaitable[object]]

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def text_frame(payload: str | bytes, *, opcode: int = 0x1, fin: bool = True) -> bytes:
    """One unmasked server frame. RFC 6455, section 5.2."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = bytes([(0x80 if fin else 0) | opcode])
    if len(data) < 126:
        return first + bytes([len(data)]) + data
    if len(data) < 65536:
        return first + bytes([126]) + len(data).to_bytes(2, "big") + data
    return first + bytes([127]) + len(data).to_bytes(8, "big") + data


def close_frame(code: int, reason: str = "") -> bytes:
    return text_frame(code.to_bytes(2, "big") + reason.encode(), opcode=0x8)


async def read_request(stream: anyio.abc.ByteStream) -> bytes:
    """The handshake request, head only."""
    return await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", 65536)


def handshake_answer(request: bytes, *, subprotocol: str = "") -> bytes:
    """What accepts this handshake request. RFC 6455, section 4.2.2."""
    key = next(
        line.partition(b":")[2].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())  # noqa: S324  the RFC's choice, not a secret
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode() if subprotocol else b""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + chosen + b"\r\n"
    )


async def shake_hands(stream: anyio.abc.ByteStream, *, subprotocol: str = "", trailing: bytes = b"") -> bytes:
    """Answer the handshake, with `trailing` in the same packet. Returns the request."""
    request = await read_request(stream)
    await stream.send(handshake_answer(request, subprotocol=subprotocol) + trailing)
    return request


async def read_text(stream: anyio.abc.ByteStream) -> bytes:
    """The payload of the next short text frame of the client, unmasked. RFC 6455, section 5.2."""
    buffered = BufferedByteReceiveStream(stream)
    first, length = await buffered.receive_exactly(2)
    assert (first, length & 0x80) == (0x81, 0x80), "not a masked text frame in one piece"
    mask = await buffered.receive_exactly(4)
    payload = await buffered.receive_exactly(length & 0x7F) if length & 0x7F else b""
    assert not buffered.buffer, "the client sent more than one frame at once"
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


async def read_until_end(stream: anyio.abc.ByteStream) -> bytes:
    """Everything the client still sends, until it closes the socket."""
    received = b""
    with suppress(anyio.BrokenResourceError):
        async for chunk in stream:
            received += chunk
    return received


@asynccontextmanager
async def raw_server(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve `script` to every client on a free port of 127.0.0.1. Yields the address."""

    async def handle(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):  # the client left first
                await script(stream)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  anyio's method, not Django's
        served = TLSListener(listener, tls, standard_compatible=False) if tls is not None else listener
        tasks.start_soon(served.serve, handle)
        yield f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}/ws"
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def stalled_server() -> AsyncIterator[str]:
    """A server that completes the handshake and never reads again. A plain socket: event loops read ahead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            with listener.accept()[0] as client:
                client.sendall(handshake_answer(client.recv(65536)))
                done.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, serve)
            try:
                yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
            finally:
                done.set()
