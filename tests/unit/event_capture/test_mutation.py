"""The agent contract notices every mutation that it speaks of; the rest is listed."""

import pytest

from event_capture.contract import load_contract
from event_capture.errors import RecordingError
from event_capture.mutation import MutationReport, Operator, mutate
from event_capture.records import Record
from unit.event_capture.streams import TURN, Stream, contract_of, turn

AGENT = load_contract("agent_turn")


def two_users() -> list[Record]:
    ada = turn(*TURN, user="ada")
    bob = Stream("bob", start=50_000_000).open().ask().events(*TURN, run="run-2").close()
    return sorted([*ada, *bob], key=lambda record: record.monotonic_ns)


@pytest.fixture(scope="module")
def report() -> MutationReport:
    return mutate(two_users(), AGENT)


def test_every_mutation_that_the_agent_contract_speaks_of_is_noticed(report: MutationReport) -> None:
    assert report.missed == []
    assert len(report.spoken_of) > 40


def test_every_clause_notices_all_that_it_speaks_of(report: MutationReport) -> None:
    assert [score.clause for score in report.scores if score.noticed != score.spoken_of] == []


def test_no_clause_notices_what_it_does_not_speak_of(report: MutationReport) -> None:
    assert [score.clause for score in report.scores if score.others] == []


def test_the_only_events_that_may_be_dropped_unnoticed_are_the_optional_ones(report: MutationReport) -> None:
    dropped = {outcome.event for outcome in report.survivors if outcome.operator is Operator.DROP}
    assert dropped == {"partial_result"}


def test_every_event_that_reaches_another_user_is_noticed(report: MutationReport) -> None:
    injected = [outcome for outcome in report.outcomes if outcome.operator is Operator.INJECT]
    assert len(injected) == 2 * len(TURN)
    assert all(outcome.killed for outcome in injected)


def test_with_a_single_user_a_stranger_is_made_up() -> None:
    outcomes = mutate(turn(*TURN), AGENT).outcomes
    assert all(outcome.killed for outcome in outcomes if outcome.operator is Operator.INJECT)


def test_a_contract_that_says_little_lets_most_mutations_pass() -> None:
    report = mutate(turn(*TURN), contract_of("require: agent_started"))
    assert report.missed == []
    assert [(outcome.operator, outcome.event) for outcome in report.spoken_of] == [(Operator.DROP, "agent_started")]


def test_a_recording_that_is_not_good_is_refused() -> None:
    with pytest.raises(RecordingError, match="does not satisfy the contract"):
        mutate(turn("agent_started"), AGENT)


def test_progress_counts_to_the_end() -> None:
    steps: list[tuple[int, int]] = []
    mutants = mutate(turn(*TURN), AGENT, progress=lambda done, total: steps.append((done, total))).mutants
    assert steps[-1] == (mutants, mutants)
