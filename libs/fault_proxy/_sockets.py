"""Non-blocking sockets on both backends: streams hide what faults need, a reset, a half-close, one exact write."""

import contextlib
import socket
import struct

import anyio

__all__ = ["bind", "connect", "finish", "receive", "reset"]


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: connections to it are refused, and the port stays ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def connect(host: str, port: int) -> socket.socket:
    """A connected non-blocking socket. Raises OSError when nobody answers; cancellation closes it."""
    problem = OSError(f"no address for {host}")
    for family, kind, protocol, _, address in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, f"cannot connect to {host}:{port}")
            unbuffered(sock)
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise problem


def unbuffered(sock: socket.socket) -> None:
    """Every write leaves at once: the kernel must not join what the proxy split."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def receive(sock: socket.socket, size: int) -> bytes:
    """Up to `size` bytes, b"" at the end of the stream. Raises OSError when the connection is lost."""
    while True:
        await anyio.wait_readable(sock)
        with contextlib.suppress(BlockingIOError, InterruptedError):
            return sock.recv(size)


def reset(sock: socket.socket) -> None:
    """Closes with a RST instead of a FIN."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def finish(sock: socket.socket) -> None:
    """Sends a FIN and keeps the reading half. A peer that is gone needs none."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
