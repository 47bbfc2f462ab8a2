"""From the log to live events, whatever the order of commits, pages and resumes: no gap and no repeat."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.delivery.following import Following
from gateway.storage.schema import ThreadAddress

ADDRESS = ThreadAddress("tenant", "user", "thread")


def test_a_live_event_that_is_not_the_next_one_sends_back_to_the_log() -> None:
    following = Following(ADDRESS, after_seq=3, live=True)
    assert not following.published(5)
    assert not following.live


def test_an_event_that_was_seen_is_not_handed_out_again() -> None:
    following = Following(ADDRESS, after_seq=3, live=True)
    assert not following.published(3)
    assert not following.replayed(2)


class FollowingMachine(RuleBasedStateMachine):
    """A log that grows, publishes what it committed a moment later, and a client that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.committed = 0
        self.published = 0
        self.start = 0
        self.received: list[int] = []
        self.following = Following(ADDRESS, after_seq=0, live=False)

    @rule(number=st.integers(1, 4))
    def commit(self, number: int) -> None:
        self.committed += number

    @precondition(lambda self: self.published < self.committed)
    @rule()
    def publish(self) -> None:
        self.published += 1
        if self.following.published(self.published):
            self.received.append(self.published)

    @precondition(lambda self: not self.following.live)
    @rule(size=st.integers(1, 3))
    def read_a_page(self, size: int) -> None:
        page = range(self.following.seq + 1, self.committed + 1)[:size]
        for seq in page:
            if self.following.replayed(seq):
                self.received.append(seq)
        if not page:
            self.following.reached_end()

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        self.start = data.draw(st.integers(0, self.committed))
        self.received.clear()
        self.following.restart(after_seq=self.start)

    @invariant()
    def what_was_received_has_no_gap_and_no_repeat(self) -> None:
        assert self.received == list(range(self.start + 1, self.start + 1 + len(self.received)))

    def teardown(self) -> None:
        while self.published < self.committed:
            self.publish()
        for _ in range(self.committed + 2):
            if not self.following.live:
                self.read_a_page(3)
        assert self.start + len(self.received) == self.committed


TestFollowingMachine = FollowingMachine.TestCase
TestFollowingMachine.settings = settings(max_examples=40, stateful_step_count=40)
