"""Blocking calls in async code fail the test that makes them."""

from collections.abc import Iterator
from contextlib import contextmanager

from blockbuster import blockbuster_ctx

__all__ = ["blocking_calls_fail"]


@contextmanager
def blocking_calls_fail() -> Iterator[None]:
    """Makes `time.sleep`, file, socket, lock and SQLite calls raise `blockbuster.BlockingError` in a running loop.

    Only a running asyncio loop of the same thread is recognised: on trio the calls pass. Every async test runs on
    both backends, so the asyncio half speaks for code that both share; code that only trio runs is not watched.
    """
    with blockbuster_ctx():
        yield
