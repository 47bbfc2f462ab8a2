"""Testers and replays for code without an event loop: each runs on one of its own, in a thread."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any, Final, Literal, final

from anyio.from_thread import BlockingPortal, start_blocking_portal

from event_capture.records import Record
from event_capture.replay import ConnectionScript, Pace, replaying
from event_capture.tester import DEFAULT_TIMEOUT, ChatTester

Backend = Literal["asyncio", "trio"]
_BACKEND: Final = "asyncio"


@final
class BlockingChatTester:
    """A ChatTester whose methods block. Made by `blocking_tester`; the methods are those of ChatTester."""

    def __init__(self, tester: ChatTester, portal: BlockingPortal) -> None:
        self._tester = tester
        self._portal = portal

    @property
    def records(self) -> Iterator[Record]:
        return self._tester.records

    @property
    def events(self) -> Iterator[Any]:
        return self._tester.events

    @property
    def canary(self) -> str | None:
        return self._tester.canary

    def timeline(self) -> str:
        return self._portal.call(self._tester.timeline)

    def send(self, content: str, *, thread_id: str | None = None, **fields: Any) -> None:
        self._portal.call(partial(self._tester.send, content, thread_id=thread_id, **fields))

    def send_raw(self, message: Mapping[str, Any] | str | bytes) -> None:
        self._portal.call(self._tester.send_raw, message)

    def wait_for(self, event: str | Collection[str], timeout: float = DEFAULT_TIMEOUT) -> Record:
        return self._portal.call(self._tester.wait_for, event, timeout)

    def wait_for_completion(self, timeout: float = DEFAULT_TIMEOUT) -> Record:
        return self._portal.call(self._tester.wait_for_completion, timeout)

    def wait_until_closed(self, timeout: float = DEFAULT_TIMEOUT) -> Record:
        return self._portal.call(self._tester.wait_until_closed, timeout)

    def reconnect(self, *, resume: bool = True, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._portal.call(partial(self._tester.reconnect, resume=resume, timeout=timeout))

    def drop(self) -> None:
        self._portal.call(self._tester.drop)


@contextmanager
def blocking_tester(url: str, *, backend: Backend = _BACKEND, **settings: Any) -> Iterator[BlockingChatTester]:
    """A connected tester for code without an event loop. Parameters and errors as for ChatTester.

    Args:
        backend: the event loop that it runs on.
    """
    with start_blocking_portal(backend) as portal:
        tester = ChatTester(url, **settings)
        context: AbstractAsyncContextManager[ChatTester] = tester
        with portal.wrap_async_context_manager(context) as entered:
            yield BlockingChatTester(entered, portal)


@contextmanager
def blocking_replay(
    scripts: Sequence[ConnectionScript], *, pace: Pace | None = None, backend: Backend = _BACKEND
) -> Iterator[str]:
    """Serve a recording as a gateway for as long as the block runs. Yields its address.

    Args:
        scripts: what to play; see `scripts_of`.
        pace: how time passes.
        backend: the event loop that it runs on.
    """
    with (
        start_blocking_portal(backend) as portal,
        portal.wrap_async_context_manager(replaying(scripts, pace=pace)) as (url, _),
    ):
        yield url
