"""Finds a rule that fires again and again while no new tool result comes."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, final

from mock_llm.requests import ModelRequest

MAX_CONVERSATIONS: Final = 1_000
MAX_RESULTS: Final = 1_000


@final
@dataclass(slots=True)
class _Watch:
    turn: int = 0
    fruitless: int = 0
    results: set[int] = field(default_factory=set)


@final
class LoopDetector:
    """Counts, for each rule and conversation, the turns that brought nothing new. Forgets the oldest conversations."""

    __slots__ = ("_watches",)

    def __init__(self) -> None:
        self._watches: OrderedDict[tuple[str, bytes], _Watch] = OrderedDict()

    def fired(self, rule: str, request: ModelRequest) -> int:
        """Note that a rule fired; returns how many turns in a row brought no new tool result."""
        if request.turn == 1:
            return 0
        key = (rule, _conversation(request))
        watch = self._watches.pop(key, None) or _Watch()
        self._watches[key] = watch
        if len(self._watches) > MAX_CONVERSATIONS:
            self._watches.popitem(last=False)
        if request.turn <= watch.turn:
            return watch.fruitless  # the same request once more is a retry, not a loop
        watch.turn = request.turn
        result = hash(request.tool_result)
        watch.fruitless = watch.fruitless + 1 if result in watch.results else 0
        if len(watch.results) >= MAX_RESULTS:
            watch.results.clear()
        watch.results.add(result)
        return watch.fruitless


def _conversation(request: ModelRequest) -> bytes:
    count = len(request.messages) - len(request.since_user)
    digest = hashlib.blake2b(digest_size=16)
    for message in request.messages[:count]:
        digest.update(message.text.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.digest()
