"""Follows a server's bytes from frame to frame, for what WebSocket libraries do not tell. Sans-I/O, bounded.

They drop what comes after a close frame, and forget a message that they refuse. A header of a frame says where the next
one begins, so nothing more has to be understood here. RFC 6455, section 5.2.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, final

_END_OF_HEAD: Final = b"\r\n\r\n"
_SWITCHING: Final = b"HTTP/1.1 101"
_CONTINUATION, _TEXT, _BINARY, _CLOSE = 0x0, 0x1, 0x2, 0x8
_LENGTH_BYTES: Final = {126: 2, 127: 8}
_MASK_BYTES: Final = 4
"""A server must not mask; one that does is refused by the library, and should not confuse the scanner before that."""


@final
@dataclass(slots=True)
class Message:
    """A message as far as it has arrived."""

    is_text: bool
    payload: bytearray = field(default_factory=bytearray)
    announced: int = 0
    """Bytes of its frames so far, as their headers say."""


@final
class FrameScanner:
    """Takes a server's bytes in any pieces, its answer to the handshake first.

    Args:
        largest: largest message, in bytes.
        keep: whether to keep messages for `first_unread`; who does takes them out with `read`.
    """

    def __init__(self, largest: int, *, keep: bool = False) -> None:
        self.after_close = 0
        """Bytes so far that came after a close frame."""
        self.too_big = False
        """A header announced a message larger than `largest`. Nothing behind it is looked at."""
        self._largest = largest
        self._keep = keep
        self._messages: deque[Message] = deque()
        self._message: Message | None = None
        """The message whose last frame has not begun, or has not ended."""
        self._in_data = False
        self._final = False
        self._closing = False
        self._closed = False
        self._accepted: bool | None = None
        """Whether the answer to the handshake, once it is there, said yes. Frames follow only then."""
        self._pending = b""
        """The unfinished answer, which the libraries bound, or an unfinished header."""
        self._left = 0
        """Bytes of the current frame that are still to come."""

    def first_unread(self) -> Message | None:
        """The oldest message that was not taken out, which may be incomplete."""
        return self._messages[0] if self._messages else None

    def read(self) -> None:
        """The library has handed over a message: forget it."""
        if self._messages:
            self._messages.popleft()

    def feed(self, data: bytes) -> int:
        """Take the next bytes. Returns how many of them come before the header that announces too much."""
        if self.too_big:
            return 0
        if self._accepted is False:
            return len(data)
        skipped = len(self._pending)
        data, self._pending = self._pending + data, b""
        position = 0
        if self._accepted is None:
            position = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
            if position < len(_END_OF_HEAD):
                self._pending = data
                return len(data) - skipped
            self._accepted = data.startswith(_SWITCHING)
            if not self._accepted:
                return len(data) - skipped
        return max(0, self._frames(data, position) - skipped)

    def _frames(self, data: bytes, position: int) -> int:
        while position < len(data):
            if self._closed:
                self.after_close += len(data) - position
                return len(data)
            if self._left == 0:
                header = self._header(data, position)
                if header < 0:
                    self._pending = data[position:]
                    return len(data)
                if self.too_big:
                    return position
                position += header
            taken = min(self._left, len(data) - position)
            if self._keep and self._in_data and self._message is not None:
                self._message.payload += data[position : position + taken]
            position += taken
            self._left -= taken
            if self._left == 0:
                self._end_frame()
        return position

    def _header(self, data: bytes, position: int) -> int:
        """Read the header at this position. Returns its length; -1 when it is not all there."""
        if len(data) - position < 2:
            return -1
        opcode, length = data[position] & 0x0F, data[position + 1] & 0x7F
        size = 2 + _LENGTH_BYTES.get(length, 0)
        if len(data) - position < size:
            return -1
        if size > 2:
            length = int.from_bytes(data[position + 2 : position + size], "big")
        self._left = length + (_MASK_BYTES if data[position + 1] & 0x80 else 0)
        self._closing = opcode == _CLOSE
        self._in_data = opcode in (_CONTINUATION, _TEXT, _BINARY)
        if self._in_data:
            self._final = bool(data[position] & 0x80)
            self._begin_data(opcode, length)
        return size

    def _begin_data(self, opcode: int, length: int) -> None:
        if opcode != _CONTINUATION:
            self._message = Message(is_text=opcode == _TEXT)
            if self._keep:
                self._messages.append(self._message)
        if self._message is not None:
            self._message.announced += length
            self.too_big = self._message.announced > self._largest

    def _end_frame(self) -> None:
        self._closed = self._closing
        if self._in_data and self._final:
            self._message = None
