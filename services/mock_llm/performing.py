"""From frames, timing, barriers and a fault to the steps of an exchange."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from mock_llm.exchange import CloseEarly, Flush, RefuseFor, Send, Silence, SleepUntil, Step, TearDown, WaitAt
from mock_llm.scenario.durations import seconds
from mock_llm.scenario.faults import (
    AnyFault,
    BadJson,
    ByteSplit,
    Disconnect,
    DuplicateEvent,
    EmptyData,
    NoFinishReason,
    PlacedFault,
    RefuseConnections,
    Reset,
    SlowDrip,
    Stall,
    StreamError,
)
from mock_llm.scenario.model import Hold, Timing
from mock_llm.seeds import Identity
from mock_llm.wire.template import Frame, FrameKind

MAX_WRITE: Final = 64 * 1024  # frames that leave together are joined up to about so many bytes

_PACED: Final = (FrameKind.CONTENT, FrameKind.ARGUMENTS)


@final
@dataclass(slots=True)
class Chunk:
    """One write to come: bytes, how many events they complete, when they leave, which barrier comes before."""

    data: bytes
    events: int
    offset: float
    holds: tuple[str, ...] = ()


def departures(frames: tuple[Frame, ...], timing: Timing, identity: Identity, speed: float = 1.0) -> Iterator[float]:
    """When each frame leaves, in seconds after the request; never earlier than the frame before it.

    A `speed` of 2 halves every time.
    """
    moment = seconds(timing.first_token)
    jitter = seconds(timing.jitter)
    delay = None if timing.chunk_delay is None else seconds(timing.chunk_delay)
    per_token = 0.0 if timing.tokens_per_second is None else 1 / timing.tokens_per_second
    random = identity.random("jitter") if jitter else None
    schedule = iter(timing.schedule)
    latest = 0.0
    begun = False
    for frame in frames:
        leaves = moment
        if frame.kind in _PACED:
            if begun:
                moment += max(frame.tokens, 1) * per_token if delay is None else delay
            begun = True
            moment = seconds(next(schedule, moment)) if timing.schedule else moment
            leaves = moment + (random.uniform(0, jitter) if random is not None else 0.0)
        latest = max(latest, leaves)
        yield latest / speed


def chunks(
    frames: tuple[Frame, ...],
    stamped: Iterable[bytes],
    timing: Timing,
    holds: tuple[Hold, ...],
    identity: Identity,
    speed: float = 1.0,
) -> Iterator[Chunk]:
    """The frames as writes, each with its time and the barriers before it; made when they are asked for."""
    last = len(frames) - 1
    held: dict[int, tuple[str, ...]] = {}
    for hold in holds:
        index = min(hold.after_event, last)
        held[index] = (*held.get(index, ()), hold.barrier)
    for index, (data, offset) in enumerate(zip(stamped, departures(frames, timing, identity, speed), strict=True)):
        yield Chunk(data, index + 1, offset, held.get(index, ()))


def perform(plan: Iterable[Chunk]) -> Iterator[Step]:
    """Steps of a stream that goes well. Frames that leave together become one write."""
    now = 0.0
    pending: list[bytes] = []
    events = 0
    for chunk in plan:
        if pending and (chunk.offset > now or chunk.holds):
            yield Send(b"".join(pending), events)
            pending.clear()
        if chunk.offset > now:
            now = chunk.offset
            yield SleepUntil(now)
        for barrier in chunk.holds:
            yield WaitAt(barrier)
        pending.append(chunk.data)
        events = chunk.events
    if pending:
        yield Send(b"".join(pending), events)


def perform_paced(stamped: Iterable[bytes], moments: Iterable[float]) -> Iterator[Step]:
    """`perform` for a stream without barriers. Thousands of pieces per second pass here, so it makes no chunks."""
    now = 0.0
    pending = b""
    events = 0
    for data, moment in zip(stamped, moments, strict=True):
        if pending and (moment > now or len(pending) >= MAX_WRITE):
            yield Send(pending, events)
            pending = b""
        if moment > now:
            now = moment
            yield SleepUntil(now)
        pending += data
        events += 1
    if pending:
        yield Send(pending, events)


def perform_fault(plan: list[Chunk], frames: tuple[Frame, ...], fault: AnyFault, event: bytes) -> list[Step]:
    """Steps of a stream that meets a fault; `event` is what a fault adds to the stream, in the provider's form."""
    if isinstance(fault, RefuseConnections):
        return [RefuseFor(seconds(fault.duration))]
    if isinstance(fault, Disconnect | Reset | StreamError | Stall | BadJson | EmptyData):
        return _placed(plan, frames, fault, event)
    if isinstance(fault, ByteSplit | SlowDrip):
        interval = seconds(fault.interval) if isinstance(fault, SlowDrip) else 0.0
        return list(_drip(plan, fault.size, interval))
    if isinstance(fault, DuplicateEvent):
        index = min(fault.event, len(plan)) - 1
        return list(perform([*plan[: index + 1], *plan[index:]]))
    dropped = FrameKind.FINISH if isinstance(fault, NoFinishReason) else FrameKind.DONE
    return list(perform(chunk for chunk, frame in zip(plan, frames, strict=True) if frame.kind is not dropped))


def _placed(plan: list[Chunk], frames: tuple[Frame, ...], fault: PlacedFault, event: bytes) -> list[Step]:
    before, after = cut(plan, place(fault, plan, frames))
    steps = list(perform(before))
    events = before[-1].events if before else 0
    if isinstance(fault, Disconnect):
        return [*steps, CloseEarly()]
    if isinstance(fault, Reset):
        return [*steps, TearDown()]
    if isinstance(fault, StreamError):
        return [*steps, Send(event, events + 1)]
    if isinstance(fault, Stall):
        if fault.duration is None:
            return [*steps, Silence(None)]
        wait = seconds(fault.duration)
        later = (Chunk(each.data, each.events, each.offset + wait, each.holds) for each in after)
        return [*steps, Silence(wait), *perform(later)]
    later = (Chunk(each.data, each.events + 1, each.offset, each.holds) for each in after)
    return [*steps, Send(event, events + 1), *perform(later)]


def _drip(plan: list[Chunk], size: int, interval: float) -> Iterator[Step]:
    moment = 0.0
    for chunk in plan:
        for barrier in chunk.holds:
            yield WaitAt(barrier)
        for start in range(0, len(chunk.data), size):
            moment = max(moment + interval, chunk.offset)
            if moment:
                yield SleepUntil(moment)
            last = start + size >= len(chunk.data)
            yield Send(chunk.data[start : start + size], chunk.events - (0 if last else 1))
            yield Flush()


def place(fault: PlacedFault, plan: list[Chunk], frames: tuple[Frame, ...]) -> int:
    """The byte of the body at which a fault strikes."""
    ends: list[int] = []
    total = 0
    for chunk in plan:
        total += len(chunk.data)
        ends.append(total)
    if fault.after_byte is not None:
        return min(fault.after_byte, total)
    if fault.inside_tool_call is not None:
        return _inside_call(fault.inside_tool_call - 1, plan, frames, ends)
    if fault.inside_character:
        for chunk, end in zip(plan, ends, strict=True):
            for index, byte in enumerate(chunk.data):
                if byte >= 0xC0:
                    return end - len(chunk.data) + index + 1
        return total
    count = fault.after_event or 0
    return ends[min(count, len(ends)) - 1] if count else 0


def _inside_call(call: int, plan: list[Chunk], frames: tuple[Frame, ...], ends: list[int]) -> int:
    mine = [index for index, frame in enumerate(frames) if frame.kind is FrameKind.ARGUMENTS and frame.call == call]
    if not mine:
        return ends[-1]
    middle = mine[(len(mine) - 1) // 2]
    return ends[middle] if len(mine) > 1 else ends[middle] - len(plan[middle].data) // 2


def cut(plan: list[Chunk], byte: int) -> tuple[list[Chunk], list[Chunk]]:
    """Split the writes at a byte of the body, through the middle of one if need be."""
    before: list[Chunk] = []
    for index, chunk in enumerate(plan):
        if byte >= len(chunk.data):
            before.append(chunk)
            byte -= len(chunk.data)
            continue
        if not byte:
            return before, plan[index:]
        before.append(Chunk(chunk.data[:byte], chunk.events - 1, chunk.offset, chunk.holds))
        return before, [Chunk(chunk.data[byte:], chunk.events, chunk.offset), *plan[index + 1 :]]
    return before, []
