"""Bytes to requests, without I/O, on the parser of Node.js (llhttp)."""

from typing import Final, final
from urllib.parse import unquote

import httptools

from mock_llm.http.request import HttpRequest

MAX_WAITING: Final = 16


@final
class BadRequestError(Exception):
    """The peer does not speak HTTP/1.1, or sends too much; `status` is what it gets before the connection closes."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


@final
class RequestParser:
    """Collects the requests of one connection.

    Args:
        connection: number of the connection, noted on each request.
        max_header_bytes: largest request head taken.
        max_body_bytes: largest body taken.
    """

    __slots__ = (
        "_body", "_body_bytes", "_connection", "_count", "_head_bytes", "_headers", "_max_body", "_max_head",
        "_parser", "_url", "_waiting", "expects_continue", "refused",
    )  # fmt: skip

    def __init__(self, connection: int, *, max_header_bytes: int, max_body_bytes: int) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._connection = connection
        self._max_head = max_header_bytes
        self._max_body = max_body_bytes
        self._count = 0
        self._waiting: list[HttpRequest] = []
        self.expects_continue = False
        self.refused: BadRequestError | None = None
        self._url = b""
        self._begin()

    def feed(self, data: bytes) -> list[HttpRequest]:
        """Take bytes; returns the requests that are whole now.

        Raises:
            BadRequestError: after this the connection must close.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadRequestError(400, "this server does not upgrade connections") from None
        except httptools.HttpParserError as error:
            raise self.refused or BadRequestError(400, f"not HTTP/1.1: {error}") from None
        if not self._waiting:
            return []
        found, self._waiting = self._waiting, []
        return found

    def close(self) -> None:
        """Let go of the parser, which knows this object and would keep it until the garbage collector comes."""
        del self._parser

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._begin()

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        self._headers[name.lower()] = value
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self._max_head:
            self._refuse(431, f"the request head is larger than {self._max_head} bytes")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        announced = self._headers.get(b"content-length")
        if announced is not None and int(announced) > self._max_body:
            self._refuse(413, f"the body is larger than {self._max_body} bytes")
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self.expects_continue = True

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body:
            self._refuse(413, f"the body is larger than {self._max_body} bytes")

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._count += 1
        target = self._url.decode("latin-1")
        path, _, query = target.partition("?")
        if "%" in path:
            path = unquote(path)
        self._waiting.append(
            HttpRequest(
                self._parser.get_method().decode("ascii"),
                path,
                self._headers,
                b"".join(self._body),
                query=query,
                connection=self._connection,
                number=self._count,
                keep_alive=self._parser.should_keep_alive(),
            )
        )
        self._url = b""
        if len(self._waiting) > MAX_WAITING:
            self._refuse(400, f"more than {MAX_WAITING} requests without waiting for an answer")

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self.expects_continue = False

    def _grow_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._max_head:
            self._refuse(431, f"the request head is larger than {self._max_head} bytes")

    def _refuse(self, status: int, reason: str) -> None:
        # The parser wraps what a callback raises, so the reason is kept here.
        self.refused = BadRequestError(status, reason)
        raise self.refused
