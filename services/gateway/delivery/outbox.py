"""The frames that wait to be written to one connection: bounded in bytes, with text merged for a slow reader.

Below `coalesce_bytes` every event goes out as it is. Above, a piece of text joins the piece before it when both belong
to the same run and nothing lies between them. Anything else is kept as it is, and beyond `max_bytes` the reader is too
slow to be served.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import anyio
import msgspec
from msgspec import UNSET, structs

from chat_protocol.decoding import encode
from chat_protocol.events import AgentThinking, AnyEvent, PartialResult
from gateway.errors import OutboxFullError

_LARGEST_MERGE: Final = 32 << 10
"""A merged text grows no further than this, in characters, so that merging stays cheap."""


@dataclass(slots=True)
class _Waiting:
    frame: str
    size: int
    event: PartialResult | AgentThinking | None = None
    """The event, when text may join it."""
    texts: list[str] | None = None
    """Its text and what has joined it; `frame` is stale once there are several."""
    length: int = 0


@final
class Outbox:
    """A queue from the event loop's callbacks to one writer task.

    Args:
        max_bytes: most UTF-8 bytes that may wait.
        coalesce_bytes: bytes beyond which adjacent pieces of text are merged.
    """

    def __init__(self, max_bytes: int, *, coalesce_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._coalesce_bytes = coalesce_bytes
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._merged = 0
        self._closed = False
        self._changed = anyio.Event()
        # Events are large, and most connections never have anyone wait for room.
        self._drained: anyio.Event | None = None
        self._leaving: _Waiting | None = None
        """What `get` handed out last: whether it was written is not known before the next `get`."""

    @property
    def waiting_bytes(self) -> int:
        """UTF-8 bytes that wait."""
        return self._bytes

    @property
    def merged(self) -> int:
        """Events that have joined another one so far."""
        return self._merged

    @property
    def unsent(self) -> Iterator[str]:
        """The frames that may not have been written, in their order: the one that is being written, then what waits."""
        for waiting in (self._leaving, *self._waiting):
            if waiting is not None:
                yield waiting.frame if waiting.texts is None else _encode_merged(waiting)

    def put(self, frame: str, event: AnyEvent | None = None) -> None:
        """Add a frame. Never waits.

        Args:
            frame: what to write.
            event: what the frame holds, when it may be merged.

        Raises:
            OutboxFullError: the reader has fallen too far behind; the frame was not taken.
        """
        if self._closed:
            return
        mergeable = event if isinstance(event, PartialResult | AgentThinking) else None
        if mergeable is not None and self._bytes >= self._coalesce_bytes and self._merge(mergeable):
            return
        size = _size(frame)
        self._make_room(size)
        self._waiting.append(_Waiting(frame, size, mergeable))
        self._bytes += size
        self._changed.set()

    def must_wait(self, frame: str) -> bool:
        """Whether the frame is so large that it fits only once others are written, however quickly they are read."""
        return len(frame) * 2 > self._max_bytes and self._waiting_for(_size(frame))

    async def wait_for_room(self, frame: str) -> None:
        """Wait until less than half of the budget is used and the frame fits. For a replay, which can wait."""
        size = _size(frame)
        while not self._closed and (self._bytes * 2 >= self._max_bytes or self._waiting_for(size)):
            self._drained = anyio.Event()
            await self._drained.wait()

    def close(self) -> None:
        """Take nothing more; `get` still hands out what waits."""
        self._closed = True
        self._changed.set()
        self._tell_drained()

    def discard(self) -> None:
        """Drop what waits and take nothing more."""
        self._waiting.clear()
        self._bytes = 0
        self.close()

    async def get(self) -> str | None:
        """The next frame, waiting for it; None once closed and empty."""
        self._leaving = None
        while not self._waiting:
            if self._closed:
                return None
            self._changed = anyio.Event()
            await self._changed.wait()
        first = self._leaving = self._waiting.popleft()
        self._bytes -= first.size
        if self._bytes * 2 < self._max_bytes:
            self._tell_drained()
        return first.frame if first.texts is None else _encode_merged(first)

    def _tell_drained(self) -> None:
        if self._drained is not None:
            self._drained.set()

    def _waiting_for(self, size: int) -> bool:
        # A single frame is always taken, or one beyond the budget could never be sent at all; then it does not count
        # against those that follow it.
        if not self._waiting:
            return False
        first = self._waiting[0].size
        return self._bytes - (first if first > self._max_bytes else 0) + size > self._max_bytes

    def _make_room(self, size: int) -> None:
        if self._waiting_for(size):
            raise OutboxFullError(f"{self._bytes} bytes are unread, the limit is {self._max_bytes}")

    def _merge(self, event: PartialResult | AgentThinking) -> bool:
        last = self._waiting[-1] if self._waiting else None
        if last is None or last.event is None or not _adjacent(last.event, event):
            return False
        if last.texts is None:
            last.texts = [last.event.payload.text]
            last.length = len(last.event.payload.text)
        text = event.payload.text
        if last.length + len(text) > _LARGEST_MERGE:
            return False
        # What JSON makes of the text is not known before it is written, so its escaped form is counted.
        size = len(msgspec.json.encode(text)) - 2
        self._make_room(size)
        first_seq = last.event.seq if last.event.first_seq is UNSET else last.event.first_seq
        last.event = structs.replace(event, first_seq=first_seq)
        last.texts.append(text)
        last.length += len(text)
        last.size += size
        self._bytes += size
        self._merged += 1
        return True


def _adjacent(earlier: PartialResult | AgentThinking, later: PartialResult | AgentThinking) -> bool:
    return (
        type(earlier) is type(later)
        and earlier.run_id == later.run_id
        and earlier.seq is not UNSET
        and later.seq == earlier.seq + 1
    )


def _encode_merged(waiting: _Waiting) -> str:
    if waiting.event is None or waiting.texts is None:
        return waiting.frame
    payload = structs.replace(waiting.event.payload, text="".join(waiting.texts))
    return encode(structs.replace(waiting.event, payload=payload)).decode()


def _size(frame: str) -> int:
    return len(frame) if frame.isascii() else len(frame.encode("utf-8", "surrogatepass"))
