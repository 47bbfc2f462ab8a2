"""An interrupted stream is the uninterrupted one, or the first place where it is not is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from event_capture.records import Record
from event_capture.resume import ResumeReport, compare_resumed
from event_capture.vocabulary import builtin_vocabularies, load_vocabulary
from unit.event_capture.streams import TURN, Stream

VOCABULARY = load_vocabulary("agent_turn")
WHOLE = Stream().open().event("welcome", run=None, seq=None, thread_id=None).events(*TURN).close()
EVENTS = [record for record in WHOLE if isinstance(record.data, dict) and record.data.get("seq")]


def interrupted(*pieces: list[Record]) -> list[Record]:
    """The same events over one connection per piece."""
    return [
        replace(record, connection=f"c-{number}", user="ada") for number, piece in enumerate(pieces) for record in piece
    ]


def compare(records: list[Record]) -> ResumeReport:
    return compare_resumed(WHOLE, records, VOCABULARY)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 6))
def test_a_stream_cut_anywhere_and_resumed_in_order_is_equal(first: int, second: int) -> None:
    one, two = sorted((first, second))
    report = compare(interrupted(WHOLE[:1], EVENTS[:one], EVENTS[one:two], EVENTS[two:]))
    assert report.equal
    assert report.events == len(TURN)


def test_an_event_that_came_twice_is_a_duplicate() -> None:
    report = compare(interrupted(EVENTS[:3], EVENTS[2:]))
    assert report.first is not None
    assert (report.first.kind, report.first.index, report.first.other) == ("duplicate", 3, 2)
    assert len(report.differences) == 1


def test_an_event_that_was_lost_in_the_gap() -> None:
    report = compare(interrupted(EVENTS[:3], EVENTS[4:]))
    assert [difference.kind for difference in report.differences] == ["gap", "changed"]
    assert report.first is not None
    assert (report.first.expected, report.first.found) == (5, 6)


def test_an_end_that_never_came() -> None:
    report = compare(interrupted(EVENTS[:-1]))
    assert report.first is not None
    assert report.first.kind == "missing"
    assert "agent_completed" in report.explain()


def test_the_first_difference_has_its_pointer() -> None:
    changed = replace(EVENTS[4], data=EVENTS[4].data | {"payload": {"text": "other words"}})
    report = compare(interrupted(EVENTS[:4], [changed, *EVENTS[5:]]))
    assert report.first is not None
    assert (report.first.pointer, report.first.found) == ("/payload/text", "other words")


def test_more_than_the_whole_is_too_much() -> None:
    extra = replace(EVENTS[-1], data=EVENTS[-1].data | {"seq": EVENTS[-1].data["seq"] + 1})
    report = compare(interrupted(EVENTS, [extra]))
    assert [difference.kind for difference in report.differences] == ["extra"]


def test_fields_that_may_differ_can_be_left_out() -> None:
    changed = [replace(record, data=record.data | {"timestamp": "2027-01-01T00:00:00.000Z"}) for record in EVENTS]
    pieces = interrupted(changed[:2], changed[2:])
    assert not compare(pieces).equal
    assert compare_resumed(WHOLE, pieces, VOCABULARY, ignoring=["timestamp"]).equal


def test_another_turn_that_went_alike_is_equal_but_for_its_ids() -> None:
    other = Stream("ada", thread="another", start=10**12).open().events(*TURN, run="run-9").close()
    other = interrupted(other[:4], other[4:])
    assert not compare_resumed(WHOLE, other, VOCABULARY).equal
    assert compare_resumed(WHOLE, other, VOCABULARY, same_log=False).equal


@pytest.mark.parametrize(("pieces", "equal"), [(["Hel", "lo"], True), (["Hello"], True), (["Hell"], False)])
def test_a_text_may_come_in_other_pieces(pieces: list[str], equal: bool) -> None:
    def answer(*texts: str) -> list[Record]:
        stream = Stream()
        for text in texts:
            stream.event("partial_result", payload={"text": text})
        return stream.event("agent_completed").records

    joining = {"partial_result": "payload.text"}
    resumed = answer(*pieces)
    report = compare_resumed(answer("H", "ello"), interrupted(resumed[:1], resumed[1:]), VOCABULARY, joining=joining)
    assert report.equal is equal


def test_a_recording_that_was_never_interrupted_proves_nothing() -> None:
    report = compare(interrupted(EVENTS))
    assert (report.equal, report.differences) == (False, ())
    assert report.explain() == (
        "nothing is proven: the interrupted recording has events on one connection only, so nothing was resumed"
    )


@pytest.mark.parametrize("name", builtin_vocabularies())
def test_recordings_without_events_that_have_a_place_prove_nothing(name: str) -> None:
    vocabulary = load_vocabulary(name)
    unplaced = Stream().raw({"type": "a", "event": "a"}).records
    for whole, resumed in ((unplaced, []), ([], []), (unplaced, unplaced)):
        report = compare_resumed(whole, resumed, vocabulary)
        assert not report.equal
        assert "nothing is proven" in report.explain()


def test_an_event_without_a_place_that_is_lost_or_comes_twice_is_a_difference() -> None:
    farewell = Stream().event("agent_completed", seq=None).records
    pieces = interrupted(EVENTS[:3], EVENTS[3:])
    lost = compare_resumed([*WHOLE, *farewell], pieces, VOCABULARY)
    assert [(each.kind, each.message) for each in lost.differences] == [
        ("missing", "agent_completed (no sequence number) never came")
    ]
    twice = compare_resumed([*WHOLE, *farewell], [*pieces, *farewell, *farewell], VOCABULARY)
    assert [each.kind for each in twice.differences] == ["extra"]
    assert compare_resumed([*WHOLE, *farewell], [*pieces, *farewell], VOCABULARY).equal


def test_events_of_no_thread_are_counted_aside() -> None:
    report = compare(interrupted(WHOLE[:4], [WHOLE[1]], WHOLE[4:]))
    assert report.equal
    assert report.aside == (1, 2)
    assert "1 and 2 events beside the stream not compared" in report.explain()


def test_an_answer_to_what_was_asked_again_is_counted_aside() -> None:
    again = Stream().event("message_accepted", seq=None).records
    report = compare([*interrupted(EVENTS[:3], EVENTS[3:]), *again])
    assert report.equal
    assert report.aside == (1, 1)


def two_threads() -> tuple[list[Record], list[Record]]:
    one, two = (Stream(thread=name).events("agent_started", "agent_completed").records for name in "AB")
    return one, two


def test_two_threads_may_lie_between_each_other_in_another_way() -> None:
    (a1, a2), (b1, b2) = two_threads()
    assert compare_resumed([a1, b1, a2, b2], interrupted([a1], [a2, b1, b2]), VOCABULARY).equal


def test_a_difference_in_one_of_two_threads_is_found_in_its_place() -> None:
    (a1, a2), (b1, b2) = two_threads()
    changed = replace(b2, data=b2.data | {"payload": {}})
    report = compare_resumed([a1, b1, a2, b2], interrupted([a1, b1], [changed, a2]), VOCABULARY)
    assert [(each.kind, each.index, each.pointer) for each in report.differences] == [("changed", 2, "/payload/text")]


def test_what_came_twice_in_the_uninterrupted_recording_is_not_overlooked() -> None:
    assert not compare_resumed([*WHOLE, EVENTS[-1]], interrupted(EVENTS[:3], EVENTS[3:]), VOCABULARY).equal
