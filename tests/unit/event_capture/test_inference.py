"""Drafts of contracts: what good recordings have in common, with the evidence for it."""

from event_capture.contract import parse_contract
from event_capture.inference import infer
from event_capture.vocabulary import load_vocabulary
from unit.event_capture.streams import TURN, Stream, check, turn

VOCABULARY = load_vocabulary("agent_turn")
GOOD = [turn(*TURN), turn(*[name for name in TURN if name != "partial_result"]), turn("agent_started", "error_event")]


def test_a_draft_holds_for_the_recordings_it_came_from() -> None:
    draft = infer(GOOD, VOCABULARY)
    assert draft.runs == 3
    assert all(check(draft.contract, records).passed for records in GOOD)


def test_what_is_always_there_is_required_but_of_runs_that_failed() -> None:
    sentences = [str(clause) for clause in infer(GOOD, VOCABULARY).contract.clauses]
    assert "require: agent_thinking unless error_event" in sentences
    assert not any(sentence.startswith("require: partial_result") for sentence in sentences)


def test_order_pairs_budgets_and_numbers_are_found() -> None:
    sentences = [str(clause) for clause in infer(GOOD, VOCABULARY).contract.clauses]
    assert "first: agent_started" in sentences
    assert "last: agent_completed or error_event" in sentences
    assert "order: tool_executing before tool_completed" in sentences
    assert "pair: tool_executing with tool_completed by payload.tool_call_id" in sentences
    assert "within: tool within 200ms" in sentences
    assert "monotonic: seq rises without gaps per thread" in sentences
    assert "isolate: user_id per connection" in sentences


def test_a_bad_turn_violates_the_draft() -> None:
    contract = infer(GOOD, VOCABULARY).contract
    assert not check(contract, turn("agent_started", "agent_completed")).passed


def test_every_clause_carries_its_evidence_in_the_document() -> None:
    text = infer(GOOD, VOCABULARY).yaml()
    clauses = [line for line in text.splitlines() if line.startswith("- ")]
    assert all("  # " in line for line in clauses)
    assert "- agent_thinking unless error_event  # in 2 of 2 runs without error_event" in clauses
    assert set(map(str, parse_contract(text).clauses)) == set(map(str, infer(GOOD, VOCABULARY).contract.clauses))


def test_nothing_is_inferred_from_nothing() -> None:
    assert infer([[]], VOCABULARY).contract.clauses == ()


def test_streams_without_ids_are_cut_into_runs_where_they_end() -> None:
    stream = Stream().open()
    for _ in range(3):
        stream.raw({"type": "agent_started"}).raw({"type": "agent_completed"})
    draft = infer([stream.close()], VOCABULARY)
    assert draft.runs == 3
    assert "last: agent_completed" in [str(clause) for clause in draft.contract.clauses]
