"""The circuit breaker, as a state machine with a clock of its own."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.model.breaker import BreakerState, CircuitBreaker


def opened() -> CircuitBreaker:
    breaker = CircuitBreaker(failures=3, pause=10)
    for _ in range(3):
        assert breaker.admit(0)
        breaker.failed(0)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    assert opened().state(0) is BreakerState.OPEN


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = CircuitBreaker(failures=2, pause=10)
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(0)
    assert breaker.state(0) is BreakerState.CLOSED


def test_it_admits_nobody_while_open_and_says_for_how_long() -> None:
    breaker = opened()
    assert not breaker.admit(4)
    assert breaker.retry_after(4) == 6


def test_it_admits_one_trial_after_the_pause() -> None:
    breaker = opened()
    assert [breaker.admit(10), breaker.admit(10)] == [True, False]


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.admit(10)
    breaker.succeeded()
    assert breaker.state(10) is BreakerState.CLOSED


def test_a_trial_that_fails_opens_it_for_another_pause() -> None:
    breaker = opened()
    breaker.admit(10)
    breaker.failed(10)
    assert breaker.retry_after(10) == 10


def test_a_trial_that_was_given_up_lets_another_one_try() -> None:
    breaker = opened()
    breaker.admit(10)
    breaker.abandoned()
    assert breaker.admit(10)


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = CircuitBreaker(failures=2, pause=5)
        self.under_way = 0
        self.failures = 0

    @rule(seconds=st.integers(0, 6))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        state = self.breaker.state(self.now)
        admitted = self.breaker.admit(self.now)
        assert not (admitted and state is BreakerState.OPEN)
        assert admitted or state is not BreakerState.CLOSED
        self.under_way += admitted

    @rule()
    def call_succeeds(self) -> None:
        if self.under_way:
            self.under_way -= 1
            self.breaker.succeeded()
            assert self.breaker.state(self.now) is BreakerState.CLOSED

    @rule()
    def call_fails(self) -> None:
        if self.under_way:
            self.under_way -= 1
            self.breaker.failed(self.now)

    @invariant()
    def the_wait_is_never_longer_than_the_pause(self) -> None:
        assert 0 <= self.breaker.retry_after(self.now) <= 5


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=40, stateful_step_count=40)
