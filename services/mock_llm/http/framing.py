"""Response heads and body framing of HTTP/1.1."""

from http import HTTPStatus
from typing import Final

from mock_llm.exchange import Headers

LAST_CHUNK: Final = b"0\r\n\r\n"

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_STATUS_LINES: Final = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()}


def head(status: int, headers: Headers, *, length: int | None, keep_alive: bool) -> bytes:
    """The head of a response; a `length` of None announces chunks."""
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status]
    for name, value in headers:
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length)
    lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(lines)


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(status: int, headers: Headers, body: bytes, *, streamed: bool, keep_alive: bool) -> bytes:
    """A whole response; a streamed one is framed as a single chunk, since nobody announced its length."""
    if not streamed:
        return head(status, headers, length=len(body), keep_alive=keep_alive) + body
    return b"%b%x\r\n%b\r\n0\r\n\r\n" % (
        head(status, headers, length=None, keep_alive=keep_alive),
        len(body),
        body,
    )


def plain_refusal(status: int, reason: str) -> bytes:
    """What a peer gets that cannot even be answered in a provider's words."""
    body = reason.encode("utf-8", "replace")
    return head(status, ((b"content-type", b"text/plain; charset=utf-8"),), length=len(body), keep_alive=False) + body
