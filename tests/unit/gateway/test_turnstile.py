"""The line of the turns: one step a round, in order, and whoever gives up holds up nobody."""

from collections import Counter

import anyio
import pytest
from anyio.lowlevel import checkpoint

from gateway.turns.turnstile import Turnstile

pytestmark = pytest.mark.anyio


async def test_one_task_passes_in_each_round_in_the_order_in_which_they_came() -> None:
    turnstile = Turnstile()
    rounds = 0
    passed: list[tuple[int, int]] = []

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await checkpoint()

    async def pass_through(number: int) -> None:
        await turnstile.enter()
        passed.append((number, rounds))

    async with anyio.create_task_group() as group:
        group.start_soon(count_rounds)
        async with anyio.create_task_group() as line:
            for number in range(5):
                line.start_soon(pass_through, number)
                await checkpoint()
        group.cancel_scope.cancel()
    assert [number for number, _ in passed] == list(range(5))
    # Trio mixes the order within a round, so the count may be read before it or after.
    assert max(Counter(at for _, at in passed).values()) <= 2


async def test_whoever_gives_up_is_not_waited_for() -> None:
    turnstile = Turnstile()
    passed: list[int] = []
    scopes = [anyio.CancelScope() for _ in range(4)]

    async def pass_through(number: int) -> None:
        with scopes[number]:
            await turnstile.enter()
            passed.append(number)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(pass_through, number)
            scopes[0].cancel()
            scopes[2].cancel()
    assert set(passed) == {1, 3}
    assert turnstile.waiting == 0


async def test_nobody_waits_for_long_where_nobody_waits() -> None:
    turnstile = Turnstile()
    with anyio.fail_after(10):
        for _ in range(3):
            await turnstile.enter()
    assert turnstile.waiting == 0
