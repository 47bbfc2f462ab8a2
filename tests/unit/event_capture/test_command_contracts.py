"""`streamproof infer`, `diff` and `mutate`."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from event_capture.contract import load_contract
from event_capture.testing import streamproof
from unit.event_capture.streams import TURN, Stream, turn, write


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


def test_recordings_are_compared_by_names_alone_on_demand(good: Path, tmp_path: Path) -> None:
    records = turn(*TURN)
    other = replace(records[2], data=records[2].data | {"payload": {"text": "other"}})
    changed = write(tmp_path / "changed.jsonl", [*records[:2], other, *records[3:]])
    done = streamproof("diff", good, changed)
    assert done.returncode == 1
    assert "run 1, event 1, agent_started at /payload/text: 'words of agent_started' -> 'other'" in done.stdout
    assert streamproof("diff", "--names-only", good, changed).returncode == 0


@pytest.mark.parametrize("order", [1, -1])
def test_a_recording_that_is_missing_is_said_to_be_missing(good: Path, tmp_path: Path, order: int) -> None:
    done = streamproof("diff", *[str(tmp_path / "nope.jsonl"), str(good)][::order])
    assert done.returncode == 2
    assert "nope.jsonl: cannot be read: No such file or directory" in done.stderr


@pytest.fixture
def cut(good: Path) -> Path:
    good.write_bytes(good.read_bytes() + b'{"monotonic_ns": 17, "wal')
    return good


@pytest.mark.parametrize("command", ["infer", "mutate", "diff", "delays"])
def test_a_last_line_that_is_cut_off_is_noted_once(cut: Path, command: str) -> None:
    lines = len(turn(*TURN)) + 1
    done = streamproof(command, cut, *([cut] if command == "diff" else []))
    told = [line for line in done.stderr.splitlines() if f":{lines}: the last line is cut off and left out" in line]
    assert len(told) == (2 if command == "diff" else 1)


@pytest.mark.parametrize("command", ["infer", "mutate"])
def test_what_must_come_is_not_learned_from_a_recording_that_was_cut_off(
    cut: Path, command: str, tmp_path: Path
) -> None:
    for path, why in (
        (cut, "its last line is cut off"),
        (write(tmp_path / "open.jsonl", turn(*TURN)[:-1]), "has no close record"),
    ):
        done = streamproof(command, path)
        assert done.returncode == 2
        assert f"not seen to its end: {why}" in done.stderr.replace("connection 'ada-1' ", "")
        assert streamproof(command, path, "--ending", "complete").returncode == 0


def test_nothing_is_drafted_from_an_empty_recording(tmp_path: Path) -> None:
    done = streamproof("infer", write(tmp_path / "empty.jsonl", Stream().open().close()))
    assert (done.returncode, done.stdout) == (2, "")


def test_a_contract_and_a_recording_are_not_compared(good: Path) -> None:
    assert streamproof("diff", "agent_turn", good).returncode == 2
