"""The shaper decides on numbers alone: whatever the faults, bytes leave exactly once, in order, not too early."""

from hypothesis import given
from hypothesis import strategies as st

from fault_proxy import Cut, Faults
from fault_proxy.shaping import CutNow, Hold, Pass, Shaper, Wait

RATES = st.one_of(st.none(), st.floats(1, 1e6))
SPLITS = st.one_of(st.none(), st.integers(1, 2000))


def run(faults: Faults, total: int, arrived_at: float = 0.0) -> tuple[list[tuple[float, int]], object]:
    """Lets `total` bytes leave on a clock that jumps to where the shaper wants it; returns the writes and the end."""
    shaper, now, writes = Shaper(), arrived_at, []
    while shaper.passed < total:
        decision = shaper.decide(faults, waiting=total - shaper.passed, arrived_at=arrived_at, now=now)
        match decision:
            case Pass(size):
                writes.append((now, size))
                shaper.left(size, faults, now)
            case Wait(seconds):
                assert seconds > 0
                # The least step a float can take: a wait below it would not move the clock.
                now = max(now + seconds, now + 1e-9)
            case _:
                return writes, decision
    return writes, None


@given(total=st.integers(1, 5000), delay=st.floats(0, 10), rate=RATES, split=SPLITS)
def test_everything_leaves_whatever_the_delay_the_pace_and_the_split(
    total: int, delay: float, rate: float | None, split: int | None
) -> None:
    writes, end = run(Faults(delay=delay, bytes_per_second=rate, split=split), total)
    assert end is None
    assert sum(size for _, size in writes) == total


@given(total=st.integers(1, 5000), delay=st.floats(0, 10), rate=RATES, split=SPLITS)
def test_no_byte_leaves_before_its_delay(total: int, delay: float, rate: float | None, split: int | None) -> None:
    writes, _ = run(Faults(delay=delay, bytes_per_second=rate, split=split), total)
    assert min(at for at, _ in writes) >= delay - 1e-9


@given(total=st.integers(1, 5000), rate=st.floats(1, 1e6), split=SPLITS)
def test_the_pace_is_kept_over_the_whole(total: int, rate: float, split: int | None) -> None:
    writes, _ = run(Faults(bytes_per_second=rate, split=split), total)
    last_at, last_size = writes[-1]
    ideal = (total - last_size) / rate
    assert abs(last_at - ideal) <= ideal * 1e-6 + 1e-6 * len(writes)


@given(total=st.integers(1, 5000), split=st.integers(1, 2000))
def test_no_write_is_larger_than_the_split(total: int, split: int) -> None:
    writes, _ = run(Faults(split=split), total)
    assert max(size for _, size in writes) <= split


@given(total=st.integers(1, 5000), stop=st.integers(0, 5000), split=SPLITS)
def test_a_stall_acts_on_the_exact_byte(total: int, stop: int, split: int | None) -> None:
    writes, end = run(Faults(stall_after=stop, split=split), total)
    assert sum(size for _, size in writes) == min(total, stop)
    assert (end == Hold()) == (total > stop)


@given(total=st.integers(1, 5000), stop=st.integers(0, 5000), kind=st.sampled_from(Cut))
def test_a_cut_acts_on_the_exact_byte(total: int, stop: int, kind: Cut) -> None:
    writes, end = run(Faults(cut_after=stop, cut=kind), total)
    assert sum(size for _, size in writes) == min(total, stop)
    assert (end == CutNow(kind)) == (total > stop)


def test_a_cut_is_due_before_any_byte_waits() -> None:
    assert Shaper().decide(Faults(cut_after=0), waiting=0, arrived_at=0, now=0) == CutNow(Cut.FIN)


def test_a_cut_comes_before_a_stall_at_the_same_byte() -> None:
    faults = Faults(cut_after=0, stall_after=0)
    assert Shaper().decide(faults, waiting=1, arrived_at=0, now=0) == CutNow(Cut.FIN)


def test_nothing_waiting_means_hold() -> None:
    assert Shaper().decide(Faults(), waiting=0, arrived_at=0, now=0) == Hold()


def test_the_end_of_the_stream_is_delayed_like_a_byte() -> None:
    assert Shaper().may_finish(Faults(delay=2), arrived_at=5, now=6) == Wait(1)
    assert Shaper().may_finish(Faults(delay=2), arrived_at=5, now=7) is None


def test_the_end_of_the_stream_is_stalled_like_a_byte() -> None:
    assert Shaper().may_finish(Faults(stall_after=0), arrived_at=0, now=9) == Hold()
