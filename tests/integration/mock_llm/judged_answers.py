"""Every answer of every mock model of a test goes through the SDKs' own models and helpers.

The engine is where all answers come from, whichever server or driver sends them, so that is where they are noted; a
test needs to do nothing for it. Answers with a fault are left out: they are meant to be wrong.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

import pytest

from mock_llm.engine import MockModel
from mock_llm.exchange import Exchange, Send, Step
from mock_llm.http.request import HttpRequest

_HANDLE = MockModel.handle


@final
@dataclass(slots=True)
class Noted:
    """One answer as it left the engine; `finished` says whether all of it was asked for."""

    protocol: str
    stream: bool
    parts: list[bytes] = field(default_factory=list)
    finished: bool = False

    def problems(self) -> list[str]:
        """What the SDKs find wrong with it."""
        # The SDKs take a second to import, which a test that emits nothing need not spend.
        from integration.mock_llm.sdk_judges import judge_stream, judge_whole

        body = b"".join(self.parts)
        if self.stream:
            found = judge_stream(self.protocol, body, finished=self.finished)
        else:
            found = judge_whole(self.protocol, body) if self.finished else []
        return [f"{self.protocol} {'stream' if self.stream else 'answer'}: {problem}" for problem in found]


@contextmanager
def judged_answers() -> Iterator[list[Noted]]:
    """Note every answer given within the block, and judge them all at its end. A block inside a block judges its own.

    Raises:
        AssertionError: an SDK does not take one of them as it is.
    """
    noted: list[Noted] = []

    def noting(model: MockModel, request: HttpRequest) -> Exchange:
        exchange = _HANDLE(model, request)
        _note(exchange, noted)
        return exchange

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MockModel, "handle", noting)
        yield noted
    problems = [problem for each in _different(noted) for problem in each.problems()]
    assert not problems, "\n".join(problems[:10])


def _note(exchange: Exchange, noted: list[Noted]) -> None:
    entry = exchange.entry
    if entry is None or entry.protocol is None or entry.fault is not None or exchange.status != 200:
        return
    answer = Noted(entry.protocol, exchange.streamed)
    noted.append(answer)
    if exchange.body is not None:
        answer.parts.append(exchange.body)
        answer.finished = True
    else:
        exchange.steps = _passing(exchange.steps, answer)


def _passing(steps: Iterable[Step], answer: Noted) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Send):
            answer.parts.append(step.data)
        yield step
    answer.finished = True


def _different(noted: list[Noted]) -> Iterable[Noted]:
    """Each body once: a test that asks the same two hundred times shows as much with one."""
    return {(each.protocol, each.stream, each.finished, b"".join(each.parts)): each for each in noted}.values()
