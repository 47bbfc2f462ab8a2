"""`streamproof infer`, `diff` and `mutate`."""

from pathlib import Path

import pytest

from event_capture.contract import load_contract
from event_capture.testing import streamproof
from unit.event_capture.streams import TURN, turn, write


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.jsonl", turn(*TURN))


def test_an_inferred_contract_can_be_checked_with(good: Path, tmp_path: Path) -> None:
    assert streamproof("infer", good, "--output", tmp_path / "draft.yaml").returncode == 0
    assert load_contract(tmp_path / "draft.yaml").clauses
    assert streamproof("check", good, "--contract", tmp_path / "draft.yaml").returncode == 0


def test_mutation_prints_a_rate_per_clause_and_the_rest(good: Path) -> None:
    done = streamproof("mutate", good)
    assert done.returncode == 0
    assert "100%          1 / 1          require: agent_thinking unless error_event" in done.stdout
    assert "(100%)" in done.stdout
    assert "  drop partial_result (record 6)" in done.stdout
    assert done.stderr == ""


def test_mutation_of_a_bad_recording_is_bad_input(tmp_path: Path) -> None:
    done = streamproof("mutate", write(tmp_path / "bad.jsonl", turn("agent_started")))
    assert done.returncode == 2
    assert "does not satisfy the contract" in done.stderr


def test_recordings_that_are_alike_and_that_are_not(good: Path, tmp_path: Path) -> None:
    assert streamproof("diff", good, good).returncode == 0
    done = streamproof("diff", good, write(tmp_path / "other.jsonl", turn(*TURN[:-1], "error_event")))
    assert done.returncode == 1
    assert "run 1, event 6: agent_completed -> error_event" in done.stdout


def test_contracts_are_compared_by_meaning(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nextends: agent_turn\nrequire: partial_result\n")
    done = streamproof("diff", "agent_turn", tmp_path / "mine.yaml")
    assert done.returncode == 1
    assert done.stdout == "+ require: partial_result\n"


def test_a_contract_and_a_recording_are_not_compared(good: Path) -> None:
    assert streamproof("diff", "agent_turn", good).returncode == 2
