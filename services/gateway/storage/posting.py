"""From a thread to the event loop without waiting for it."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

import sniffio
import trio

Post = Callable[[Callable[[], object]], object]
"""Has a function run on the event loop soon, in the order of the calls. Called from any thread; never waits."""


def poster() -> Post:
    """What posts to the event loop that runs here. anyio's own ways from a thread wait for an answer."""
    if sniffio.current_async_library() == "trio":
        return trio.lowlevel.current_trio_token().run_sync_soon
    # The context of a thread says that no event loop runs in it.
    return partial(asyncio.get_running_loop().call_soon_threadsafe, context=copy_context())
