"""Which turn runs next: bounded, in order within a thread, by priority within a user, fair between users."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.messages import Priority
from gateway.errors import BusyError
from gateway.identity.principal import Principal
from gateway.turns.context import Turn, UserExecutionContext
from gateway.turns.queue import QueueStatistics, TurnQueue

pytestmark = pytest.mark.anyio


def turn(name: str, *, user: str = "alice", thread: str = "t", priority: Priority = Priority.NORMAL) -> Turn:
    principal = Principal("tenant", user, frozenset(), 0)
    context = UserExecutionContext.of(principal, thread_id=thread, run_id=name, message_id=name, priority=priority)
    return Turn(context, name, 0)


class Stage:
    """Runs turns one step at a time: each begins when the queue says so and ends when the test does."""

    def __init__(self, *, per_user: int = 8, running_per_user: int = 1, running: int = 8) -> None:
        self.begun: list[str] = []
        self._ends: dict[str, anyio.Event] = {}
        self.queue = TurnQueue(self._run, per_user=per_user, running_per_user=running_per_user, running=running)

    async def _run(self, turn: Turn) -> None:
        self.begun.append(turn.content)
        self._ends[turn.content] = anyio.Event()
        await self._ends[turn.content].wait()

    def arrive(self, turn: Turn) -> Callable[[], None]:
        """Reserve a place; call what is returned when the turn is stored."""
        begins = self.queue.reserve(turn.context.address)
        return partial(self.queue.begin if begins else self.queue.submit, turn)

    async def add(self, *turns: Turn) -> None:
        for one in turns:
            self.arrive(one)()
        await anyio.wait_all_tasks_blocked()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await anyio.wait_all_tasks_blocked()

    async def end_all(self) -> None:
        while running := [name for name, end in self._ends.items() if not end.is_set()]:
            await self.end(running[0])


@asynccontextmanager
async def staged(stage: Stage) -> AsyncIterator[Stage]:
    async with anyio.create_task_group() as group:
        await group.start(stage.queue.run)
        try:
            yield stage
        finally:
            stage.queue.stop()


async def test_turns_of_a_thread_run_one_after_the_other_whatever_their_priority() -> None:
    async with staged(Stage(running_per_user=4)) as stage:
        await stage.add(turn("a"), turn("b", priority=Priority.LOW), turn("c", priority=Priority.HIGH))
        await stage.end_all()
    assert stage.begun == ["a", "b", "c"]


async def test_the_most_urgent_thread_of_a_user_goes_first() -> None:
    async with staged(Stage()) as stage:
        await stage.add(
            turn("first"),
            turn("low", thread="low", priority=Priority.LOW),
            turn("normal", thread="normal"),
            turn("high", thread="high", priority=Priority.HIGH),
        )
        await stage.end_all()
    assert stage.begun == ["first", "high", "normal", "low"]


async def test_users_take_turns() -> None:
    async with staged(Stage(running=1)) as stage:
        await stage.add(*(turn(f"greedy{number}", user="greedy", thread=str(number)) for number in range(4)))
        await stage.add(turn("modest", user="modest"))
        await stage.end_all()
    assert stage.begun.index("modest") <= 2


async def test_a_user_has_so_many_waiting_messages_and_no_more() -> None:
    alice, bob = turn("a").context.address, turn("b", user="bob").context.address
    stage = Stage(per_user=2)
    stage.queue.reserve(alice)
    stage.queue.reserve(alice)
    with pytest.raises(BusyError) as busy:
        stage.queue.reserve(alice)
    assert busy.value.retry_after_ms > 0
    stage.queue.reserve(bob)


async def test_a_place_that_was_given_back_is_free() -> None:
    address = turn("a").context.address
    stage = Stage(per_user=1)
    assert not stage.queue.reserve(address)
    stage.queue.release(address, begins=False)
    stage.queue.reserve(address)


async def test_a_running_place_that_was_given_back_goes_to_who_waits() -> None:
    async with staged(Stage(running=1)) as stage:
        address = turn("a", user="alice").context.address
        assert stage.queue.reserve(address)
        await stage.add(turn("b", user="bob"))
        assert stage.begun == []
        stage.queue.release(address, begins=True)
        await stage.end_all()
    assert stage.begun == ["b"]
    assert stage.queue.statistics == QueueStatistics(users=0, waiting=0, running=0)


async def test_a_turn_never_begins_before_one_of_its_thread_that_arrived_earlier() -> None:
    async with staged(Stage(running_per_user=4)) as stage:
        await stage.add(turn("first"))
        store_second = stage.arrive(turn("second"))
        await stage.end("first")
        # The thread is idle now, and the second is still being stored.
        store_third = stage.arrive(turn("third"))
        store_second()
        store_third()
        await anyio.wait_all_tasks_blocked()
        await stage.end_all()
    assert stage.begun == ["first", "second", "third"]


async def test_a_turn_that_holds_a_running_place_is_waited_for() -> None:
    async with staged(Stage()) as stage:
        store = stage.arrive(turn("a"))
        stage.queue.close()
        with anyio.move_on_after(0) as scope:
            await stage.queue.wait_idle()
        assert scope.cancelled_caught
        store()
        await anyio.wait_all_tasks_blocked()
        await stage.end("a")
        with anyio.fail_after(60):
            await stage.queue.wait_idle()
    assert stage.begun == ["a"]


async def test_a_withdrawn_turn_never_begins() -> None:
    async with staged(Stage()) as stage:
        waiting = turn("b", thread="other")
        await stage.add(turn("a"), waiting)
        assert stage.queue.withdraw(waiting.context.address.user_key, "b") is waiting
        await stage.end_all()
        assert not stage.queue.reserve(waiting.context.address)
        stage.queue.release(waiting.context.address, begins=False)
        stage.queue.release(waiting.context.address, begins=False)
        assert stage.queue.statistics.users == 0
    assert stage.begun == ["a"]


async def test_nothing_is_kept_of_users_who_are_done() -> None:
    async with staged(Stage()) as stage:
        await stage.add(turn("a"), turn("b", user="bob"))
        await stage.end_all()
        assert stage.queue.statistics.users == 0


async def test_a_closed_queue_lets_running_turns_end_and_starts_no_other() -> None:
    async with staged(Stage()) as stage:
        await stage.add(turn("a"), turn("b"))
        stage.queue.close()
        await stage.end("a")
        with anyio.fail_after(60):
            await stage.queue.wait_idle()
    assert stage.begun == ["a"]


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from(Priority), st.booleans()),
        min_size=1,
        max_size=14,
    ),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_every_turn_runs_once_and_in_the_order_of_its_thread(
    plan: list[tuple[str, str, Priority, bool]], running_per_user: int, running: int
) -> None:
    async def run() -> list[str]:
        stage = Stage(per_user=20, running_per_user=running_per_user, running=running)
        async with staged(stage):
            arriving: list[Callable[[], None]] = []
            for number, (user, thread, priority, commits) in enumerate(plan):
                name = f"{user}{thread}{number}"
                arriving.append(stage.arrive(turn(name, user=user, thread=thread, priority=priority)))
                if commits or number == len(plan) - 1:
                    for store in arriving:
                        store()
                    arriving.clear()
                    await anyio.wait_all_tasks_blocked()
            await stage.end_all()
        return stage.begun

    begun = anyio.run(run, backend="trio")
    assert sorted(begun) == sorted(f"{user}{thread}{number}" for number, (user, thread, *_) in enumerate(plan))
    for user in "ab":
        for thread in "xy":
            numbers = [int(name[2:]) for name in begun if name.startswith(f"{user}{thread}")]
            assert numbers == sorted(numbers)
