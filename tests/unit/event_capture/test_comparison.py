"""What differs between two contracts, by meaning, and between two recordings, run by run."""

import pytest

from event_capture.comparison import compare_contracts, compare_recordings
from event_capture.contract import load_contract, parse_contract
from event_capture.vocabulary import load_vocabulary
from unit.event_capture.streams import TURN, contract_of, turn

VOCABULARY = load_vocabulary("agent_turn")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("require: busy or pong", "require: pong or busy"),
        ("within: total within 2s", "within: total within 2000ms"),
        ("require: busy", "require: busy per run"),
        ("require: [busy, pong]", "require: [pong, busy]"),
        ("order: busy before pong before draining", "order: [pong before draining, busy before pong]"),
        ("count: busy exactly once", "count: busy exactly 1"),
        ("same: payload.model", "same: payload.model per run"),
    ],
)
def test_contracts_that_say_the_same_in_other_words_do_not_differ(one: str, two: str) -> None:
    assert compare_contracts(contract_of(one), contract_of(two)) == ()


def test_a_contract_that_only_extends_another_does_not_differ_from_it() -> None:
    assert compare_contracts(load_contract("agent_turn"), parse_contract("name: mine\nextends: agent_turn\n")) == ()


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        ("within: total within 2s", "within: total within 3s", ["~ within: total within 2s -> total within 3s"]),
        ("require: busy", "require: [busy, pong]", ["+ require: pong"]),
        ("require: [busy, pong]", "require: busy", ["- require: pong"]),
        ("require: busy", "require: busy unless pong", ["~ require: busy -> busy unless pong"]),
        ("count: busy at most 1", "count: busy at most 2", ["~ count: busy at most 1 -> busy at most 2"]),
        ("require: busy", "closed: true\nrequire: busy", ["~ closed: false -> true"]),
    ],
)
def test_what_contracts_demand_otherwise(one: str, two: str, said: list[str]) -> None:
    assert [str(change) for change in compare_contracts(contract_of(one), contract_of(two))] == said


def test_recordings_with_the_same_events_are_alike_whatever_their_ids_and_times() -> None:
    found = compare_recordings(turn(*TURN), turn(*TURN, user="bob", pace=7), VOCABULARY)
    assert found.alike
    assert found.timing == ("run 1: 500 ms -> 3.5e-05 ms",)


def test_the_first_event_that_differs_is_named_per_run() -> None:
    found = compare_recordings(turn(*TURN), turn(*TURN[:2], *TURN[4:]), VOCABULARY)
    assert [str(difference) for difference in found.differences] == ["run 1, event 3: tool_executing -> partial_result"]
    assert [str(change) for change in found.counts] == ["~ tool_executing: 1 -> 0", "~ tool_completed: 1 -> 0"]
    assert not found.alike
