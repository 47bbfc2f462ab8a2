"""Frames become steps: in order, on time, cut at the exact byte."""

import random

from hypothesis import given
from hypothesis import strategies as st

from mock_llm.exchange import CloseEarly, Send, Silence, SleepUntil, Step, TearDown, WaitAt
from mock_llm.performing import chunks, cut, departures, perform, perform_fault
from mock_llm.scenario import (
    AnyFault,
    ByteSplit,
    Disconnect,
    DuplicateEvent,
    Hold,
    NoDone,
    NoFinishReason,
    Reset,
    SlowDrip,
    Stall,
    StreamError,
    Timing,
)
from mock_llm.seeds import IdentitySource
from mock_llm.wire.template import Frame, FrameKind

IDENTITY = IdentitySource(1, "test").next(b"/", b"")
FRAMES = (
    Frame(b"<open>", FrameKind.OPENING),
    Frame("<één>".encode(), FrameKind.CONTENT, 1),
    Frame(b"<two>", FrameKind.CONTENT, 2),
    Frame(b"<args-1>", FrameKind.ARGUMENTS, 1, 0),
    Frame(b"<args-2>", FrameKind.ARGUMENTS, 1, 0),
    Frame(b"<finish>", FrameKind.FINISH),
    Frame(b"<done>", FrameKind.DONE),
)
DATA = [frame.data for frame in FRAMES]
WHOLE = b"".join(DATA)
AT_ONCE = Timing()


def _steps(timing: Timing = AT_ONCE, holds: tuple[Hold, ...] = ()) -> list[Step]:
    return list(perform(chunks(FRAMES, DATA, timing, holds, IDENTITY)))


def _faulty(fault: AnyFault, timing: Timing = AT_ONCE) -> list[Step]:
    return perform_fault(list(chunks(FRAMES, DATA, timing, (), IDENTITY)), FRAMES, fault, b"<error>")


def _sent(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


def test_a_stream_without_pauses_is_one_write() -> None:
    assert _steps() == [Send(WHOLE, 7)]


def test_pieces_leave_at_deadlines_counted_from_the_request() -> None:
    offsets = list(departures(FRAMES, Timing(first_token=1.0, tokens_per_second=10), IDENTITY))
    assert [round(offset, 3) for offset in offsets] == [1.0, 1.0, 1.2, 1.3, 1.4, 1.4, 1.4]


def test_a_speed_of_two_halves_every_time() -> None:
    timing = Timing(first_token=1.0, chunk_delay=0.5)
    assert list(departures(FRAMES, timing, IDENTITY, 2.0)) == [
        each / 2 for each in departures(FRAMES, timing, IDENTITY)
    ]


def test_a_schedule_is_kept_piece_by_piece() -> None:
    timing = Timing(schedule=(0.1, "200ms", 0.7))
    assert list(departures(FRAMES, timing, IDENTITY)) == [0.0, 0.1, 0.2, 0.7, 0.7, 0.7, 0.7]


@given(st.floats(0, 2), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
def test_times_never_go_back_and_jitter_is_bounded(first: float, delay: float, jitter: float, seed: int) -> None:
    identity = IdentitySource(seed, "j").next(b"/", b"")
    calm = list(departures(FRAMES, Timing(first_token=first, chunk_delay=delay), identity))
    shaken = list(departures(FRAMES, Timing(first_token=first, chunk_delay=delay, jitter=jitter), identity))
    assert shaken == sorted(shaken)
    assert all(0 <= late - due <= jitter + 1e-9 for due, late in zip(calm, shaken, strict=True))


def test_a_hold_waits_after_exactly_so_many_events() -> None:
    assert _steps(holds=(Hold(barrier="b", after_event=2),)) == [
        Send(b"".join(DATA[:2]), 2),
        WaitAt("b"),
        Send(b"".join(DATA[2:]), 7),
    ]


@given(st.integers(0, len(WHOLE) + 5))
def test_a_cut_loses_no_byte(byte: int) -> None:
    before, after = cut(list(chunks(FRAMES, DATA, Timing(), (), IDENTITY)), byte)
    assert b"".join(chunk.data for chunk in before) == WHOLE[:byte]
    assert b"".join(chunk.data for chunk in before + after) == WHOLE


@given(st.integers(0, 9))
def test_a_fault_after_event_n_sends_exactly_n_events(count: int) -> None:
    steps = _faulty(Disconnect(after_event=count))
    assert _sent(steps) == b"".join(DATA[:count])
    assert steps[-1] == CloseEarly()


@given(st.integers(0, len(WHOLE)))
def test_a_fault_after_byte_n_sends_exactly_n_bytes(byte: int) -> None:
    steps = _faulty(Reset(after_byte=byte))
    assert _sent(steps) == WHOLE[:byte]
    assert steps[-1] == TearDown()


def test_a_fault_inside_a_character_splits_its_bytes() -> None:
    assert _sent(_faulty(Disconnect(inside_character=True))) == b"<open><\xc3"


def test_a_fault_inside_a_tool_call_leaves_its_arguments_unfinished() -> None:
    assert _sent(_faulty(Disconnect(inside_tool_call=1))).endswith(b"<args-1>")


def test_an_error_event_is_the_last_thing_sent() -> None:
    assert _faulty(StreamError(after_event=1)) == [Send(b"<open>", 1), Send(b"<error>", 2)]


def test_a_stall_with_an_end_delays_all_that_follows() -> None:
    steps = _faulty(Stall(after_event=6, duration="2s"), Timing(first_token=1.0))
    assert steps == [SleepUntil(1.0), Send(b"".join(DATA[:6]), 6), Silence(2.0), SleepUntil(3.0), Send(b"<done>", 7)]


def test_the_finish_or_the_end_can_be_left_out() -> None:
    assert _sent(_faulty(NoFinishReason())) == WHOLE.replace(b"<finish>", b"")
    assert _sent(_faulty(NoDone())) == WHOLE.replace(b"<done>", b"")


def test_a_duplicate_event_comes_twice_in_a_row() -> None:
    assert _sent(_faulty(DuplicateEvent(event=3))) == WHOLE.replace(b"<two>", b"<two><two>")


@given(st.integers(1, 60), st.booleans())
def test_small_writes_lose_nothing(size: int, slow: bool) -> None:
    fault: AnyFault = SlowDrip(size=size, interval="1ms") if slow else ByteSplit(size=size)
    steps = _faulty(fault)
    assert _sent(steps) == WHOLE
    assert max(len(step.data) for step in steps if isinstance(step, Send)) <= size


def test_what_is_drawn_for_one_purpose_does_not_shift_another() -> None:
    first = IDENTITY.random("jitter").random()
    IDENTITY.random("chaos").random()
    assert IDENTITY.random("jitter").random() == first
    assert isinstance(IDENTITY.random("x"), random.Random)
