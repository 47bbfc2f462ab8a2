"""The inbox against its model: a plain list searched from the front."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from event_capture.inbox import Inbox
from event_capture.records import Record

NAMES = ("a", "b", "c")


def record(number: int) -> Record:
    return Record(monotonic_ns=number, wall_ns=0, connection="c")


class InboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.inbox = Inbox(capacity=5)
        self.model: list[tuple[str, Record]] = []
        self.forgotten = 0
        self.count = 0

    @rule(name=st.sampled_from(NAMES))
    def put(self, name: str) -> None:
        self.count += 1
        self.inbox.put(name, record(self.count))
        self.model.append((name, record(self.count)))
        if len(self.model) > 5:
            self.model.pop(0)
            self.forgotten += 1

    @rule(names=st.sets(st.sampled_from(NAMES)))
    def take(self, names: set[str]) -> None:
        expected = next((item for item in self.model if item[0] in names), None)
        assert self.inbox.take(names) == (expected[1] if expected else None)
        if expected:
            self.model.remove(expected)

    @rule(names=st.sets(st.sampled_from(NAMES)))
    def end_turn(self, names: set[str]) -> None:
        expected = next((place for place, item in enumerate(self.model) if item[0] in names), None)
        found = self.inbox.take_and_end_turn(names)
        assert found == (self.model[expected][1] if expected is not None else None)
        if expected is not None:
            self.model = self.model[expected + 1 :]

    @invariant()
    def sizes_agree(self) -> None:
        assert len(self.inbox) == len(self.model)
        assert self.inbox.forgotten == self.forgotten


TestInbox = InboxMachine.TestCase
TestInbox.settings = settings(deadline=None, max_examples=40)


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity: 0"):
        Inbox(0)
