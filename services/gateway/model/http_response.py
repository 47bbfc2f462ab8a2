"""One HTTP/1.1 response out of the bytes of a connection. Pure: bytes in, pieces of the body out.

Parsed by llhttp, the parser of Node.js, in C: the model's answers are what most bytes of a turn are.
"""

from collections import deque
from typing import Final, final

import httptools

MAX_HEAD: Final = 256 << 10
"""Largest head of a response, in bytes."""


class MalformedResponseError(ValueError):
    """What came is no HTTP/1.1 response, or ends before its end."""


@final
class ResponseReader:
    """Reads one response: `feed` bytes as they come, `end` when the connection is closed."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: deque[bytes] = deque()
        """Pieces of the body that have come and were not taken yet."""
        self.has_head = False
        """Whether status and headers are whole."""
        self.complete = False
        """Whether the body is, too."""
        self.reusable = False
        """Whether the connection can carry another request, once complete."""
        self._excess = False
        self._head_size = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take bytes. Raises MalformedResponseError when they are no response."""
        if not self.has_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                raise MalformedResponseError(f"the head of the response is larger than {MAX_HEAD} bytes")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise MalformedResponseError("the server switches to another protocol, which nobody asked for") from None
        except httptools.HttpParserError as error:
            if not self._excess:
                raise MalformedResponseError(f"not an HTTP/1.1 response: {error}") from None
        if self._excess:
            # Whatever comes behind the end belongs to nothing that was asked for.
            self.reusable = False

    def end(self) -> None:
        """The connection is closed. Raises MalformedResponseError when the response is not whole."""
        if self.complete:
            return
        if not self.has_head:
            raise MalformedResponseError("the server closed the connection without a response")
        if any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self.headers):
            raise MalformedResponseError("the server closed the connection in the middle of its response")
        # RFC 9112, section 6.3: without either, the body ends where the connection does.
        self.complete = True

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._excess = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header, and for trailers, which nobody needs."""
        if not self.has_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if status < 200:
            # RFC 9110, section 15.2: an interim response, which another one follows.
            self.headers.clear()
        elif not self.complete:
            self.status = status
            self.has_head = True

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if not self.complete:
            self.body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self.has_head and not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()
