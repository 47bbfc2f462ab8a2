"""The clock stands, jumps and runs on; sleepers wake in the order of their deadlines; requests wait for their turn."""

import asyncio
from collections.abc import Callable
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from mock_llm.clock import ControlledClock
from mock_llm.http.intake import MAX_PER_TURN, Intake

pytestmark = pytest.mark.anyio


async def test_a_frozen_clock_wakes_sleepers_in_the_order_of_their_deadlines() -> None:
    clock, woken = ControlledClock(), list[float]()
    clock.freeze()
    start = clock.now()

    async def sleep(seconds: float) -> None:
        await clock.sleep_until(start + seconds)
        woken.append(seconds)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for seconds in (3.0, 1.0, 2.0):
                tasks.start_soon(sleep, seconds)
            await anyio.wait_all_tasks_blocked()
            assert clock.sleepers == 3
            for _ in range(3):
                clock.advance(1.0)
                await anyio.wait_all_tasks_blocked()
    assert woken == [1.0, 2.0, 3.0]


async def test_freezing_catches_those_who_sleep_already() -> None:
    clock = ControlledClock()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clock.sleep_until, clock.now() + 3600)
            await anyio.wait_all_tasks_blocked()
            clock.freeze()
            await anyio.wait_all_tasks_blocked()
            assert clock.sleepers == 1
            clock.advance(3600)


async def test_a_thawed_clock_runs_on_from_where_it_stood() -> None:
    clock = ControlledClock()
    clock.freeze()
    clock.advance(100)
    stood = clock.now()
    clock.thaw()
    with anyio.fail_after(60):
        await clock.sleep_until(stood + 0.01)
    assert stood + 0.01 <= clock.now() < stood + 5


async def test_a_sleeper_that_is_cancelled_leaves_nothing_behind() -> None:
    clock = ControlledClock()
    clock.freeze()
    with anyio.move_on_after(0.01):
        await clock.sleep_until(clock.now() + 1)
    assert clock.sleepers == 0


async def test_a_running_clock_cannot_be_advanced_and_no_clock_goes_back() -> None:
    clock = ControlledClock()
    with pytest.raises(ValueError, match="freeze it"):
        clock.advance(1)
    clock.freeze()
    with pytest.raises(ValueError, match="negative"):
        clock.advance(-1)


async def test_alarms_that_are_called_off_leave_nothing_behind() -> None:
    clock = ControlledClock()
    clock.freeze()
    alarms = [clock.call_at(clock.now() + 3600, lambda: None) for _ in range(1000)]
    for alarm in alarms:
        alarm.cancel()
        alarm.cancel()
    assert clock.pending == 0
    assert len(clock._alarms) < 100


async def test_an_alarm_that_fails_does_not_take_the_others_with_it() -> None:
    clock, rung = ControlledClock(), list[str]()

    def fail() -> None:
        raise ValueError("broken")

    clock.freeze()
    alarms: list[Callable[[], None]] = [partial(rung.append, "first"), fail, partial(rung.append, "last")]
    for number, callback in enumerate(alarms):
        clock.call_at(clock.now() + number, callback)
    with pytest.raises(ValueError, match="broken"):
        clock.advance(5)
    clock.advance(0)
    assert rung == ["first", "last"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the intake hands out the turns of its loop
async def test_one_turn_of_the_loop_decides_a_few_requests_and_the_rest_follow_in_order() -> None:
    loop, clock = asyncio.get_running_loop(), ControlledClock()
    intake, served = Intake(clock), list[int]()
    arrived = intake.arrival(loop)
    for number in range(3 * MAX_PER_TURN):
        intake.offer(loop, partial(served.append, number))
    assert served == list(range(MAX_PER_TURN))
    assert intake.arrival(loop) == arrived
    await anyio.lowlevel.checkpoint()
    assert served == list(range(2 * MAX_PER_TURN))
    assert intake.arrival(loop) > arrived
    with anyio.fail_after(10):
        while len(served) < 3 * MAX_PER_TURN:
            await anyio.lowlevel.checkpoint()
    assert served == sorted(served)
