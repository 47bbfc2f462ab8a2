"""Drafts of contracts: what good recordings have in common, with the evidence for it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.contract import parse_contract
from event_capture.errors import RecordingError
from event_capture.inference import infer
from event_capture.records import Record
from event_capture.samples import sample_recording
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


@pytest.mark.parametrize("records", [[], Stream().open().close(), Stream().open().ask().close()])
def test_nothing_is_inferred_from_nothing(records: list[Record]) -> None:
    with pytest.raises(RecordingError, match="nothing to infer from"):
        infer([records], VOCABULARY)


def test_fields_that_no_event_has_are_evidence_of_nothing() -> None:
    stream = Stream().open()
    for _ in range(2):
        stream.raw({"type": "agent_started"}).raw({"type": "agent_completed"})
    sections = {clause.section for clause in infer([stream.close()], VOCABULARY).contract.clauses}
    assert not sections & {"monotonic", "same", "isolate"}


def test_evidence_counts_the_events_that_have_the_field() -> None:
    stream = Stream().open().raw({"type": "agent_started"}).event("agent_completed", run=None, user_id=None)
    text = infer([stream.close()], VOCABULARY).yaml()
    assert "- seq rises per thread  # in 1 event\n" in text
    assert "isolate" not in text


def test_a_greeting_is_no_run() -> None:
    stream = Stream().open().event("welcome", run=None, thread_id=None).events(*TURN).event("pong", run=None)
    draft = infer([stream.close()], VOCABULARY)
    assert draft.runs == 1
    assert "first: agent_started" in [str(clause) for clause in draft.contract.clauses]


def test_a_greeting_before_runs_without_ids_is_no_run_either() -> None:
    stream = Stream().open().raw({"type": "welcome"})
    for _ in range(2):
        stream.raw({"type": "agent_started"}).raw({"type": "agent_completed"}).raw({"type": "pong"})
    draft = infer([stream.close()], VOCABULARY)
    assert draft.runs == 2
    assert not any({"welcome", "pong"} & set(clause.events()) for clause in draft.contract.clauses)


@pytest.mark.parametrize(
    "name", ["two words", "when", "a,b", "new\nline", "sent:vote", "nothing", "\u2028", "\ud800", "\x1b"]
)
def test_an_event_that_no_clause_can_name_is_left_out_with_a_remark(name: str) -> None:
    draft = infer([turn("agent_started", name, "agent_completed")], VOCABULARY)
    assert draft.left_out == (name,)
    assert f"# No clause can name these events: {name!a}\n" in draft.yaml()
    assert set(parse_contract(draft.yaml()).clauses) == set(draft.contract.clauses)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3))
def test_a_draft_can_be_read_whatever_events_are_called(names: list[str]) -> None:
    text = infer([turn("agent_started", *names, "agent_completed")], VOCABULARY).yaml()
    assert check(parse_contract(text), turn("agent_started", *names, "agent_completed")).passed


def test_events_that_the_vocabulary_does_not_know_are_listed() -> None:
    assert "\nevents:\n- citation\n" in infer([turn("agent_started", "citation", "agent_completed")], VOCABULARY).yaml()


def test_each_clause_has_the_evidence_of_its_own_section() -> None:
    text = infer([sample_recording("openai_realtime")], load_vocabulary("openai_realtime")).yaml()
    require, _, rest = text.partition("count:")
    assert "- response.created  # in 1 of 1 runs\n" in require
    assert "- response.created  # response.created 1 of 1\n" in rest


def test_progress_counts_the_clauses_that_are_put_to_the_test() -> None:
    seen: list[tuple[int, int]] = []
    infer(GOOD, VOCABULARY, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_streams_without_ids_are_cut_into_runs_where_they_end() -> None:
    stream = Stream().open()
    for _ in range(3):
        stream.raw({"type": "agent_started"}).raw({"type": "agent_completed"})
    draft = infer([stream.close()], VOCABULARY)
    assert draft.runs == 3
    assert "last: agent_completed" in [str(clause) for clause in draft.contract.clauses]
