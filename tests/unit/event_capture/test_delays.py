"""Delays on two clocks: what is the server's, what is the way's, and which clock lies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.command.delays import render
from event_capture.drivers.limits import ConnectionLimits
from event_capture.drivers.observer import Observer
from event_capture.recording import Recorder
from event_capture.recording.delays import Clock, ClockStep, Spread, measure_delays
from event_capture.recording.moments import format_moment
from event_capture.records import Record
from event_capture.testing import ManualClock

MS = 1_000_000
EPOCH = 1_795_000_000_000 * MS


def stamped(arrival_ms: int, stamp_ms: int, *, connection: str = "c", wall_ms: int | None = None) -> Record:
    wall = EPOCH + (wall_ms if wall_ms is not None else arrival_ms) * MS
    data = {"timestamp": format_moment(EPOCH + stamp_ms * MS)}
    return Record(monotonic_ns=arrival_ms * MS, wall_ns=wall, connection=connection, data=data)


def read(data: dict[str, object]) -> object:
    return data.get("timestamp")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 500)), min_size=1, max_size=20),
    st.integers(-(10**6), 10**6),
)
def test_a_constant_difference_of_the_clocks_changes_nothing(moves: list[tuple[int, int]], skew_ms: int) -> None:
    records, sent, arrived = [], 0, 0
    fastest = min(delay for _, delay in moves)
    for gap, delay in moves:
        sent += gap
        arrived = max(arrived, sent + delay)
        records.append(stamped(arrived, sent + skew_ms))
    measured = measure_delays(lambda: records, read)
    assert measured.server.total_ns == sum(gap for gap, _ in moves[1:]) * MS
    assert measured.transport.count == len(moves)
    offsets = [record.monotonic_ns // MS for record in records]
    best = min(offset - stamp for offset, stamp in zip(offsets, _sums(moves), strict=True))
    assert best >= fastest
    assert (
        measured.transport.largest_ns
        == max(offset - stamp - best for offset, stamp in zip(offsets, _sums(moves), strict=True)) * MS
    )
    assert not measured.steps


def _sums(moves: list[tuple[int, int]]) -> list[int]:
    total, sums = 0, []
    for gap, _ in moves:
        total += gap
        sums.append(total)
    return sums


def test_a_slow_server_and_a_slow_way_are_told_apart() -> None:
    slow_server = measure_delays(lambda: [stamped(10, 0), stamped(1010, 1000)], read)
    slow_way = measure_delays(lambda: [stamped(10, 0), stamped(1010, 10)], read)
    assert (slow_server.server.largest_ns, slow_server.transport.largest_ns) == (1000 * MS, 0)
    assert (slow_way.server.largest_ns, slow_way.transport.largest_ns) == (10 * MS, 990 * MS)


def test_a_timestamp_that_goes_back_is_named() -> None:
    measured = measure_delays(lambda: [stamped(0, 100), stamped(1, 40)], read)
    assert measured.steps == [ClockStep(Clock.SERVER, 1, "c", -60 * MS)]


def test_timestamps_of_different_connections_are_not_compared() -> None:
    records = [stamped(0, 100, connection="a"), stamped(1, 40, connection="b")]
    assert not measure_delays(lambda: records, read).steps


def test_a_wall_clock_that_was_set_is_named_and_changes_no_delay() -> None:
    records = [stamped(0, 0), stamped(10, 10, wall_ms=-5000), stamped(20, 20, wall_ms=-4990)]
    measured = measure_delays(lambda: records, read)
    assert measured.steps == [ClockStep(Clock.WALL, 1, "c", -5010 * MS)]
    assert measured.transport.largest_ns == 0


def test_records_out_of_order_are_named() -> None:
    measured = measure_delays(lambda: [stamped(10, 10), stamped(5, 10)], read)
    assert [step.clock for step in measured.steps] == [Clock.MONOTONIC]


def test_events_without_a_timestamp_are_counted() -> None:
    record = Record(monotonic_ns=0, wall_ns=0, connection="c", data={"timestamp": "yesterday"})
    assert measure_delays(lambda: [record], read).unstamped == 1


def test_clock_steps_are_bounded_and_the_rest_counted() -> None:
    records = [stamped(number, -number) for number in range(1500)]
    measured = measure_delays(lambda: records, read)
    assert (len(measured.steps), measured.more_steps) == (1000, 499)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_exact_to_two_percent(times: list[int], share: float) -> None:
    spread = Spread()
    for time in times:
        spread.add(time)
    import math

    exact = sorted(times)[max(1, math.ceil(share * len(times))) - 1]
    assert exact * 0.999 <= spread.quantile(share) <= max(exact * 1.021, 1.02)


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Spread().add(-1)


def test_the_text_names_all_three_times_and_every_step() -> None:
    text = render(measure_delays(lambda: [stamped(0, 100), stamped(1, 40)], read))
    for word in ("server", "transport", "arrival", "the server clock stepped by -60.000 ms"):
        assert word in text


def test_a_record_says_when_the_wall_clock_was_set_during_capture() -> None:
    clock = ManualClock(monotonic_ns=0, wall_ns=EPOCH)
    recorder = Recorder(clock=clock)
    observer = Observer(recorder, connection="c", user="", limits=ConnectionLimits())
    observer.text(b'{"type":"a"}')
    clock.set_wall(EPOCH - 3_000 * MS)
    observer.text(b'{"type":"b"}')
    observer.text(b'{"type":"c"}')
    assert [record.note for record in recorder.records()] == ["", "the wall clock was set by -3.000 s", ""]
