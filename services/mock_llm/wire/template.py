"""Frames rendered once and stamped per request.

Rendering JSON per request or per chunk costs more than everything else together. So a reply is rendered once into
frames with slots, and each request only fills the slots: ids, times, the model's name, the prompt's token count. A slot
is a NUL byte and a letter; JSON never holds a NUL byte, so text cannot imitate one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, final

HEAD: Final = b"\x00h"  # what every frame of a Chat Completions stream starts with
BASE: Final = b"\x00i"  # the part of an id that derives from the request
MODEL: Final = b"\x00m"  # the model's name, as a JSON string
CREATED: Final = b"\x00c"  # seconds since 1970
USAGE: Final = b"\x00u"  # the usage object

Values = Mapping[bytes, bytes]


class FrameKind(Enum):
    """What a frame is for; pacing and faults look at it. FINISH carries the reason of the end."""

    OPENING = auto()
    CONTENT = auto()
    ARGUMENTS = auto()
    CLOSING = auto()
    FINISH = auto()
    USAGE = auto()
    DONE = auto()


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One event on the wire, slots included. `call` is the tool call it belongs to, from 0, or -1."""

    data: bytes
    kind: FrameKind
    tokens: int = 0
    call: int = -1


@final
class Template:
    """The frames of one answer.

    Args:
        frames: in wire order.
        primary: the slot that occurs most; stamping joins on it and looks for others only where there are any.

    `size` is the length of all frames in bytes, slots not filled.
    """

    __slots__ = ("_dynamic", "_frame_segments", "_primary", "_segments", "frames", "size")

    def __init__(self, frames: Sequence[Frame], primary: bytes) -> None:
        self.frames = tuple(frames)
        self.size = sum(len(frame.data) for frame in self.frames)
        self._primary = primary
        self._segments = b"".join(frame.data for frame in frames).split(primary)
        self._dynamic = tuple(index for index, segment in enumerate(self._segments) if b"\x00" in segment)
        self._frame_segments: tuple[list[bytes], ...] = ()

    def stamp(self, values: Values) -> bytes:
        """The whole body in one piece."""
        segments = self._segments
        if self._dynamic:
            segments = segments.copy()
            for index in self._dynamic:
                segments[index] = fill(segments[index], values)
        return values[self._primary].join(segments)

    def stamp_each(self, values: Values) -> Iterator[bytes]:
        """The body frame by frame, each stamped when it is asked for: a paced stream costs nothing up front."""
        if not self._frame_segments:
            self._frame_segments = tuple(frame.data.split(self._primary) for frame in self.frames)
        primary = values[self._primary]
        for segments in self._frame_segments:
            yield fill(primary.join(segments), values)


def fill(data: bytes, values: Values) -> bytes:
    """Replace every slot; the values themselves hold none."""
    if b"\x00" in data:
        for slot, value in values.items():
            data = data.replace(slot, value)
    return data
