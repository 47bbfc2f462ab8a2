"""A blocking call in an async test fails it on asyncio; trio's loop is not watched."""

import time

import anyio
import anyio.to_thread
import pytest
from blockbuster import BlockingError


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_blocking_call_in_a_running_asyncio_loop_fails() -> None:
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        time.sleep(0)  # noqa: ASYNC251  the defect that is looked for


@pytest.mark.anyio
async def test_a_blocking_call_in_a_worker_thread_is_allowed() -> None:
    await anyio.to_thread.run_sync(time.sleep, 0)


def test_a_blocking_call_in_a_sync_test_is_allowed() -> None:
    time.sleep(0)


@pytest.mark.anyio
async def test_both_backends_run(anyio_backend_name: str) -> None:
    assert anyio_backend_name in {"asyncio", "trio"}
