"""What differs between two contracts, by meaning, and between two recordings, run by run."""

from typing import Any

import pytest

from event_capture.comparison import compare_recordings
from event_capture.contract import load_contract, parse_contract
from event_capture.meaning import compare_contracts
from event_capture.records import Record
from event_capture.samples import sample_recording, samples
from event_capture.vocabulary import load_vocabulary
from unit.event_capture.streams import TURN, Stream, contract_of, turn

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
        ("same: payload.model", "same: /payload/model"),
        ("same: thread_id", "same: /thread_id"),
        ("monotonic: seq rises", "monotonic: /seq rises"),
        ("count: busy exactly once", "count: [busy at least 1, busy at most 1]"),
        ("count: busy 2 to 5", "count: [busy at most 5, busy at least 2]"),
        ("require: busy or pong", "count: pong or busy at least 1"),
        ("forbid: busy", "count: busy at most 0"),
        ("forbid: busy or pong when agent_started", "forbid: [pong when agent_started, busy when agent_started]"),
        ("order: busy before pong or draining", "order: [busy before draining, busy before pong]"),
        ("order: all busy or pong before draining", "order: [all pong before draining, all busy before draining]"),
        ("within: tool within 3s", "within: tool_executing to tool_completed by payload.tool_call_id within 3s"),
        (
            "schema: {schema: busy, is: {type: object, required: [a, b]}}",
            "schema: {schema: busy, is: {required: [b, a], type: object}}",
        ),
        (
            "schema: {schema: busy or pong, is: {enum: [{a: 1, b: 2}, 3]}}",
            "schema: [{schema: pong, is: {enum: [3, {b: 2, a: 1}]}}, {schema: busy, is: {enum: [3, {a: 1, b: 2}]}}]",
        ),
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
        ("count: busy exactly once", "count: busy at most 1", ["~ count: busy exactly 1 -> busy at most 1"]),
        ("count: busy at most 1", "count: busy exactly once", ["~ count: busy at most 1 -> busy exactly 1"]),
        ("require: busy", "forbid: busy", ["- require: busy", "+ forbid: busy"]),
        ("same: payload.user_id", "same: /user_id", ["- same: payload.user_id", "+ same: /user_id"]),
        (
            "schema: {schema: busy, is: {const: {required: [a, b]}}}",
            "schema: {schema: busy, is: {const: {required: [b, a]}}}",
            [
                (
                    '~ schema: busy per run is {"const": {"required": ["a", "b"]}}'
                    ' -> busy per run is {"const": {"required": ["b", "a"]}}'
                )
            ],
        ),
        (
            "own: {own: agent, is: [busy makes call by id]}",
            "own: {own: agent, is: [busy adds call by id]}",
            ["~ own: agent per run is busy makes call by id -> agent per run is busy adds call by id"],
        ),
        (
            "closed: true\nevents: [one, two]\nrequire: busy",
            "closed: true\nevents: [two, three]\nrequire: busy",
            ["- known event: one", "+ known event: three"],
        ),
        ("events: [one]\nrequire: busy", "events: [two]\nrequire: busy", []),
    ],
)
def test_what_contracts_demand_otherwise(one: str, two: str, said: list[str]) -> None:
    assert [str(change) for change in compare_contracts(contract_of(one), contract_of(two))] == said


def test_recordings_with_the_same_events_are_alike_whatever_their_ids_and_times() -> None:
    found = compare_recordings(turn(*TURN), turn(*TURN, user="bob", pace=7), VOCABULARY)
    assert found.alike
    assert found.timing == ("run 1: 500 ms -> 3.5e-05 ms",)


def test_a_scope_that_is_left_to_unlike_contracts_is_a_difference() -> None:
    (change,) = compare_contracts(contract_of("require: busy"), contract_of("require: busy", scope="thread"))
    assert str(change) == "~ require: busy per run -> busy per thread"


def test_vocabularies_that_read_otherwise_are_a_difference() -> None:
    vocabulary = "{{name: own, event: {event}, run: turn, begins: {begins}, words: {event}, events: [a, b]}}"
    one, two = (
        contract_of("require: a", vocabulary=vocabulary.format(event=event, begins=begins))
        for event, begins in (("type", "[a, b]"), ("kind", "a"))
    )
    assert compare_contracts(one, one) == ()
    assert [str(change) for change in compare_contracts(one, two)] == [
        "~ vocabulary, event: type -> kind",
        "~ vocabulary, begins: a, b -> a",
    ]


def test_the_name_of_a_vocabulary_and_its_words_are_no_difference() -> None:
    one, two = (
        contract_of("require: a", vocabulary=f"{{name: {name}, words: {name}, events: a}}") for name in ("x", "y")
    )
    assert compare_contracts(one, two) == ()


@pytest.mark.parametrize("name", [each.name for each in samples()])
def test_the_good_sample_and_the_bad_one_differ(name: str) -> None:
    good, bad = sample_recording(name), sample_recording(name, bad=True)
    assert compare_recordings(good, good, load_vocabulary(name)).alike
    assert not compare_recordings(good, bad, load_vocabulary(name)).alike


def test_what_stands_in_an_event_is_compared_unless_only_names_are() -> None:
    good, bad = sample_recording("ag_ui"), sample_recording("ag_ui", bad=True)
    vocabulary = load_vocabulary("ag_ui")
    assert [str(each) for each in compare_recordings(good, bad, vocabulary).differences] == [
        "run 1, event 13, RUN_FINISHED at /runId: 'run-1' -> 'run-2'"
    ]
    assert compare_recordings(good, bad, vocabulary, names_only=True).alike


def test_ids_stand_for_each_other_and_numbers_may_begin_anywhere() -> None:
    def calls(*ids: str, first: int = 1) -> list[Record]:
        stream = Stream()
        stream.seq = first
        for each in ids:
            stream.event("tool_executing", payload={"tool_call_id": each})
        return stream.records

    assert compare_recordings(calls("a", "b", "a"), calls("x", "y", "x", first=7), VOCABULARY).alike
    for other in (calls("x", "x", "x"), calls("x", "y", "z"), calls("x", "y", "y")):
        assert not compare_recordings(calls("a", "b", "a"), other, VOCABULARY).alike


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"payload": {"text": "other"}}, "/payload/text"),
        ({"payload": {}}, "/payload/text"),
        ({"seq": 9}, "/seq"),
        ({"timestamp": None}, "/timestamp"),
        ({"payload": {"text": ["words of busy"]}}, "/payload/text"),
        ({"payload": {"text": "words of busy", "more": 1}}, "/payload/more"),
    ],
)
def test_the_first_place_that_differs_in_an_event_is_named(fields: dict[str, Any], pointer: str) -> None:
    one = Stream().event("agent_started").event("busy").records
    two = Stream().event("agent_started").event("busy", **fields).records
    (difference,) = compare_recordings(one, two, VOCABULARY).differences
    assert (difference.place, difference.event, difference.pointer) == (2, "busy", pointer)


def test_the_first_event_that_differs_is_named_per_run() -> None:
    found = compare_recordings(turn(*TURN), turn(*TURN[:2], *TURN[4:]), VOCABULARY)
    assert [str(difference) for difference in found.differences] == ["run 1, event 3: tool_executing -> partial_result"]
    assert [str(change) for change in found.counts] == ["~ tool_executing: 1 -> 0", "~ tool_completed: 1 -> 0"]
    assert not found.alike
